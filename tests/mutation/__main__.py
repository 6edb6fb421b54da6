"""``python -m tests.mutation``: a seeded sample of one-line faults, and how many the tests see.

First ``--map`` runs the suite once and keeps which test runs which line; then each mutant of the sample is judged by
the tests that run its line, the quickest first, until one fails. A runner of its own, since those of the index judge
a mutant by one fixed command (cosmic-ray) or need every test to run inside one process (mutmut): here a
mutant costs the few tests that could see it, and a kernel compiled by numba, whose lines no tracer sees, its room's.

Mutants without effect are listed in ``equivalent.yaml`` with the reason and leave the count.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hw.artifact import write_text
from tests.documented import PAGE, render_page
from tests.mutation.judge import file_of, import_libraries, tests_for, verdicts
from tests.mutation.line_map import merged, moved
from tests.mutation.record import recorded, write_record
from tests.mutation.sample import ROOT, equivalents, sample

LINES = Path("build") / "mutation" / "lines.json"
RESULTS = Path("build") / "mutation" / "results.json"


def current(lines: dict, tests: set[str]) -> dict:
    """The map by today's numbers of lines and today's ``tests``."""
    found = {}
    for path, known in lines["lines"].items():
        if (ROOT / path).is_file():
            here = moved(known, lines["sources"][path], (ROOT / path).read_text(encoding="utf-8"))
            found[path] = {line: [name for name in names if name in tests] for line, names in here.items()}
    return {"lines": found, "seconds": {name: s for name, s in lines["seconds"].items() if name in tests}}


def _collected() -> set[str]:
    """Tests that there are."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-m", "not slow", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {line for line in done.stdout.splitlines() if "::" in line}


def _verdicts(seed: int) -> dict[str, dict]:
    """Row by key of what was caught of the sample that was judged last, where its seed is the same."""
    judged = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"seed": None}
    same = judged["rows"] if judged["seed"] == seed else []
    return {row["key"]: row for row in same if row["verdict"] in ("caught", "timeout")}


def draw_map(tests: Sequence[str], jobs: int) -> int:
    """Run ``tests`` once, a file at a time in ``jobs`` processes, and keep their lines; pytest's worst status."""
    named = [Path(test.partition("::")[0]) for test in tests or ["tests"]]
    found = sorted({path for name in named for path in (name.rglob("test_*.py") if name.is_dir() else [name])})
    found.sort(key=lambda path: path.stat().st_size, reverse=True)
    LINES.parent.mkdir(parents=True, exist_ok=True)

    def run(path: Path) -> tuple[Path, int]:
        part = LINES.parent / f"{'-'.join(path.parts)}.json"
        part.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutation.contexts", "--lines", str(part)]
        done = subprocess.run([*command, "-m", "not slow", str(path)], capture_output=True, text=True, check=False)
        print(f"{path}: {done.stdout.strip().rpartition(chr(10))[2]}", flush=True)
        return part, done.returncode if done.returncode != pytest.ExitCode.NO_TESTS_COLLECTED else 0

    drawn: dict = {"seconds": {}, "lines": {}, "sources": {}}
    worst = 0
    with ThreadPoolExecutor(jobs) as pool:
        for part, status in pool.map(run, found):
            worst = max(worst, status)
            if not part.is_file():
                continue
            here = json.loads(part.read_text(encoding="utf-8"))
            part.unlink()
            drawn["seconds"] |= here["seconds"]
            drawn["sources"] |= here["sources"]
            for name, numbers in here["lines"].items():
                for number, seen in numbers.items():
                    drawn["lines"].setdefault(name, {}).setdefault(number, []).extend(seen)
    before = json.loads(LINES.read_text(encoding="utf-8")) if LINES.is_file() else None
    write_text(LINES, json.dumps(merged(before, drawn) if before else drawn))
    return worst


def main(arguments: Sequence[str]) -> None:
    """Map, or judge a sample and print the survivors."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=200, help="how many mutants (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--only", nargs="*", default=[], metavar="PATH", help="files or folders to mutate")
    parser.add_argument(
        "--map",
        nargs="*",
        metavar="TEST",
        help="run these tests (default: all) once; keep their lines beside those known",
    )
    parser.add_argument("--resume", action="store_true", help="judge only what this sample's last run did not catch")
    parser.add_argument("--record", action="store_true", help="keep the sample judged last for --document, and end")
    parser.add_argument("--document", action="store_true", help=f"write the tables of docs/{PAGE.name} and end")
    parser.add_argument("--jobs", type=int, default=1, help="processes that map or judge side by side (default: 1)")
    parser.add_argument("--list", action="store_true", help="print the sample and its tests; judge nothing")
    options = parser.parse_args(arguments)
    if options.map is not None:
        if not options.map:
            LINES.unlink(missing_ok=True)
        raise SystemExit(draw_map(options.map, options.jobs))
    if options.record:
        write_record(recorded(json.loads(RESULTS.read_text(encoding="utf-8")), equivalents()))
    if options.document:
        write_text(PAGE, render_page())
    if options.record or options.document:
        return
    if not LINES.is_file():
        raise SystemExit(f"error: {LINES} is missing; run python -m tests.mutation --map first")
    tests = _collected()
    lines = current(json.loads(LINES.read_text(encoding="utf-8")), tests)
    if unknown := tests - set(lines["seconds"]):
        unmapped = " ".join(sorted({file_of(name) for name in unknown}))
        print(f"{len(unknown)} tests are not mapped and judge nothing: --map {unmapped}")
    cases = sample(options.sample, options.seed, options.only)
    import_libraries()
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    before = _verdicts(options.seed) if options.resume else {}
    found: dict[int, dict] = {}

    def keep(at: int, judged: dict) -> None:
        case = cases[at]
        found[at] = {"key": case.key, "line": case.mutant.line} | judged
        print(f"{at + 1:4d} {judged['verdict']:9s} {case.mutant.line:4d} {case.key}", flush=True)
        rows = [found[place] for place in sorted(found)]
        write_text(RESULTS, json.dumps({"seed": options.seed, "commit": commit, "rows": rows}, indent=1) + "\n")

    left = []
    for at, case in enumerate(cases):
        if options.list or case.key in before:
            keep(at, {"verdict": "listed", "tests": len(tests_for(case, lines))} if options.list else before[case.key])
        else:
            left.append(at)
    for place, judged in verdicts([cases[at] for at in left], lines, options.jobs):
        keep(left[place], judged)
    missed = [row for row in found.values() if row["verdict"] in ("survived", "untested")]
    print(f"\n{len(found) - len(missed)} of {len(found)} caught: {1 - len(missed) / max(1, len(found)):.1%}")
    for row in missed:
        print(f"  {row['verdict']}: line {row['line']}: {row['key']}")


if __name__ == "__main__":
    main(sys.argv[1:])
