"""``python -m tests.fuzz`` (``make fuzz``): every parser, coverage-guided by atheris; executions and findings counted.

A process per target, since libFuzzer owns the one that it runs in. What it finds is kept in ``build/fuzz/findings``, a
file for each kind of fault, and ``python -m tests.fuzz --target NAME FILE`` shows it again.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from hw.artifact import write_text
from hw.pages import markdown_table
from tests.documented import PAGE, render_page

ROOT = Path(__file__).parents[2]
BUILD = Path("build") / "fuzz"
RESULTS = Path(__file__).with_name("results.json")
_SAVE_S = 2.0


def main() -> None:
    """Run the targets that are asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="inputs to show again, of the one --target")
    parser.add_argument("--target", action="append", help="by default all")
    parser.add_argument("--runs", type=int, default=50_000, help="executions of each target (default: 50000)")
    parser.add_argument("--seconds", type=float, default=600, help="at most so long for each target (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: 0)")
    parser.add_argument("--record", action="store_true", help=f"add the executions to {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--document", action="store_true", help=f"write the table of {PAGE.relative_to(ROOT)} and end")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _fuzz(options.target[0], options.runs, options.seconds, options.seed)
        return
    from tests.fuzz.targets import TARGETS, execute

    if options.document:
        write_text(PAGE, render_page())
        return
    for path in options.files:
        print(path, "taken" if execute(TARGETS[options.target[0]], path.read_bytes()) else "refused")
    if options.files:
        return
    found = False
    for name in options.target or TARGETS:
        told = _run(name, options)
        found |= bool(told["findings"])
        print(f"{name:20} {told['executions']:9,} executions {told['seconds']:6.0f} s {len(told['findings'])} findings")
        for fault, path in told["findings"].items():
            print(f"  {fault[:160]}\n    {path}")
        if options.record:
            _record(name, told)
    raise SystemExit(1 if found else 0)


def executions_table() -> str:
    """Executions of each target, and how many of them were taken rather than refused."""
    from tests.fuzz.targets import TARGETS

    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = [
        [target.about, f"{results[name]['executions']:,}", f"{results[name]['taken']:,}"]
        for name, target in TARGETS.items()
        if name in results
    ]
    totals = [f"{sum(one[key] for one in results.values()):,}" for key in ("executions", "taken")]
    return markdown_table(["parser", "executions", "of them taken"], [*rows, ["all", *totals]])


def _run(name: str, options: argparse.Namespace) -> dict:
    """One target in a process of its own."""
    command = [sys.executable, "-m", "tests.fuzz", "--worker", "--target", name, "--runs", str(options.runs)]
    command += ["--seconds", str(options.seconds), "--seed", str(options.seed)]
    state = BUILD / f"{name}.json"
    state.unlink(missing_ok=True)
    (BUILD).mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"{name}.log", "w") as log:
        done = subprocess.run(command, stdout=log, stderr=log, check=False)
    told = json.loads(state.read_text()) if state.is_file() else {"executions": 0, "seconds": 0.0, "findings": {}}
    if done.returncode:
        told["findings"][f"the process ended with {done.returncode}"] = str(BUILD / f"{name}.log")
    return told


def _record(name: str, told: dict) -> None:
    """Executions add up over the runs that are recorded."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    before = results.get(name, {"executions": 0, "taken": 0})
    results[name] = {key: before[key] + told[key] for key in ("executions", "taken")}
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")


def _fuzz(name: str, runs: int, seconds: float, seed: int) -> None:
    """libFuzzer's loop; ends the process."""
    import atheris

    # numba compiles the functions of these, and gateware is not run: their bytecode stays as it is.
    with atheris.instrument_imports(
        include=["hw", "quant", "sim", "energy", "gguf"], exclude=["sim.kernels", "sim.gemm"]
    ):
        from tests.fuzz.targets import TARGETS, Finding, execute, seeds
    from tests.fuzz.mutations import mutate

    target, started = TARGETS[name], time.monotonic()
    told: dict = {"executions": 0, "taken": 0, "seconds": 0.0, "findings": {}}
    saved = started

    def save() -> None:
        told["seconds"] = round(time.monotonic() - started, 1)
        temporary = BUILD / f".{name}.tmp"
        temporary.write_text(json.dumps(told))
        os.replace(temporary, BUILD / f"{name}.json")

    def one(data: bytes) -> None:
        nonlocal saved
        told["executions"] += 1
        try:
            told["taken"] += execute(target, data)
        except Finding as finding:
            _keep(name, data, str(finding), told["findings"])
        if time.monotonic() - saved > _SAVE_S:
            saved = time.monotonic()
            save()
        if told["executions"] >= runs or time.monotonic() - started > seconds:
            save()
            os._exit(0)

    def other(data: bytes, most: int, number: int) -> bytes:
        chance = random.Random(number)
        if chance.random() < 0.3:
            return atheris.Mutate(data, most)
        return mutate(data, number, target.form)[:most]

    work = BUILD / "work" / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for number, data in enumerate(seeds(name)):
        (work / str(number)).write_bytes(data)
    most = max(256, *(2 * len(data) for data in seeds(name)))
    flags = [f"-max_len={most}", "-timeout=0", "-rss_limit_mb=0", f"-seed={seed + 1}", "-print_final_stats=0"]
    atheris.Setup([sys.argv[0], *flags, str(work)], one, custom_mutator=other)
    atheris.Fuzz()


def _keep(name: str, data: bytes, fault: str, findings: dict[str, str]) -> None:
    """One input for each kind of fault: the text up to its first number."""
    kind = "".join(" " if sign.isdigit() else sign for sign in fault)[:60]
    if not any(known.startswith(kind[:40]) for known in findings) and len(findings) < 20:
        path = BUILD / "findings" / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        findings[kind] = str(path)


if __name__ == "__main__":
    main()
