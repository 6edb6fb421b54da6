"""``python -m tests.mutation``: a seeded sample of one-line faults, and how many the tests see.

First ``--map`` runs the suite once and keeps which test runs which line; then each mutant of the sample is judged by
the tests that run its line, the quickest first, until one fails. A runner of its own, since those of the index judge
a mutant by one fixed command (cosmic-ray) or need every test to run inside one process (mutmut): here a
mutant costs the few tests that could see it, and a kernel compiled by numba, whose lines no tracer sees, its room's.

Mutants without effect are listed in ``equivalent.yaml`` with the reason and leave the count.
"""

import argparse
import ast
import contextlib
import importlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
import yaml

from hw.artifact import write_text
from tests.documented import PAGE, render_page
from tests.mutation.line_map import merged, moved
from tests.mutation.operators import Mutant, mutants
from tests.mutation.record import recorded, write_record

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.yaml")
LINES = Path("build") / "mutation" / "lines.json"
RESULTS = Path("build") / "mutation" / "results.json"

# Files that compute numbers which users read. Gateware has its own seeded faults; commands and pages only show; bridges
# to other programs are judged by what these say, in slow tests.
FILES = (
    "energy/*.py",
    "energy/costs/*.py",
    "energy/claims/*.py",
    "energy/study/*.py",
    "energy/reports/numbers.py",
    "energy/reports/rows.py",
    "sim/*.py",
    "sim/gemm/*.py",
    "sim/kernels/*.py",
    "sim/machine/*.py",
    "sim/trace/*.py",
    "sim/reports/doublings.py",
    "sim/reports/explain.py",
    "quant/*.py",
    "quant/kv/*.py",
    "quant/methods/*.py",
    "quant/procedures/*.py",
    "quant/weights/*.py",
    "quant/weights/layouts/*.py",
    "quant/llama/*.py",
    "quant/rewrite/*.py",
    "quant/native/*.py",
    "quant/exports/*.py",
    "quant/results/*.py",
    "quant/token/*.py",
    "hw/*.py",
    "hw/token/*.py",
    "hw/gates/*.py",
    "hw/gates/designs/float_reference.py",
    "hw/gates/flow/*.py",
    "hw/synthesis/*.py",
    "hw/host/*.py",
    "hw/boards/clock.py",
    "hw/boards/capacity.py",
    "hw/boards/results.py",
)
EXCLUDED = (
    *("__main__.py", "console.py", "cli.py", "command.py", "pages.py", "progress.py", "errors.py", "completion.py"),
    *("schema.py", "verilog_command.py", "note.py", "bench_report.py", "agreement_table.py"),
    *("llama_cpp.py", "open_sta.py", "cross_check.py", "line.py"),
)
# Tests of code that numba compiles, whose lines tracers do not see. It is judged as plain Python: compiling a kernel
# takes longer than running it, and callers that are kept on disk hold what it was before.
COMPILED = {
    "sim/kernels/": ["tests/sim/kernels"],
    "hw/gates/flow/event_kernel.py": [
        *("tests/hw/gates/flow/test_event_kernel.py", "tests/hw/gates/flow/test_timing_and_energy.py"),
    ],
}
DECLARED = "tests/test_declared.py::test_what_is_declared_is_what_is_written"  # of lines that run at import
_SHARE_OF_TIME = 40.0  # seconds of tests that judge one mutant, at most
_QUICK_S = 5.0  # of the likeliest files' tests, before all others
_LIMIT_S = 400
_HEAVY = ("numpy", "numba", "pydantic", "rich.console", "torch", "safetensors.torch", "transformers", "hypothesis")
_PACKAGES = ("hw", "quant", "sim", "energy", "tests")


class Case(NamedTuple):
    """A mutant of a file."""

    path: str
    mutant: Mutant

    @property
    def key(self) -> str:
        """What stands in the list of equivalents: file, the changed line's text, and the change.

        Where the line holds what is changed before that place too, how often it does.
        """
        source, old = (ROOT / self.path).read_text(encoding="utf-8"), self.mutant.old.strip()
        line = source.splitlines()[self.mutant.line - 1].strip()
        before = source[: self.mutant.start].rpartition("\n")[2].count(old)
        which = f" (behind {before} of them)" if before else ""
        new = self.mutant.text.strip() or "nothing"
        return f"{self.path}: {line}: {' '.join(old.split())} -> {' '.join(new.split())}{which}"


def files() -> list[str]:
    """Mutated files, by path from the root."""
    found = {path for pattern in FILES for path in ROOT.glob(pattern) if path.name not in EXCLUDED}
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py")


def sample(count: int, seed: int, only: Sequence[str]) -> list[Case]:
    """``count`` mutants: a random file in proportion to the square root of its mutants, then one of them.

    So long files do not crowd out the many short ones.
    """
    known = equivalents()
    pools = {}
    for path in files():
        if not only or any(path.startswith(start) for start in only):
            found = mutants((ROOT / path).read_text(encoding="utf-8"))
            pools[path] = [Case(path, one) for one in found]
    chooser = random.Random(seed)
    chosen: dict[str, Case] = {}
    names = [path for path, pool in pools.items() if pool]
    weights = [len(pools[path]) ** 0.5 for path in names]
    while len(chosen) < min(count, sum(len(pool) for pool in pools.values())):
        case = chooser.choice(pools[chooser.choices(names, weights)[0]])
        if case.key not in known:
            chosen.setdefault(f"{case.path}:{case.mutant.start}:{case.mutant.text}", case)
    return list(chosen.values())


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


def equivalents() -> dict[str, str]:
    """Reason by key of the mutants that change nothing a user could see."""
    return yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) or {}


def tests_for(case: Case, lines: dict) -> list[str]:
    """Node ids or folders that judge a mutant, the quickest first behind those of the file named after it.

    Behind the tests that run its line come the others of their files: a fixture of a module, or what a cache holds,
    runs under the first test that asks for it, and the others see the same numbers.
    """
    for start, folders in COMPILED.items():
        if case.path.startswith(start):
            return [folder for folder in folders if (ROOT / folder).exists()]
    of_file = lines["lines"].get(case.path, {})
    inside = _in_a_function(case)
    declares = [] if inside else [f"{DECLARED}[{case.path.partition('/')[0]}]"]
    names = (of_file.get(str(case.mutant.line)) if inside else None) or _readers(case, lines)
    names = names or sorted({name for found in of_file.values() for name in found})
    seconds = lines["seconds"]
    package = f"tests/{case.path.partition('/')[0]}/"
    names = names or [name for name in seconds if name.startswith(package)]  # it only declares: it runs in no test
    chosen, total = [name for name in declares if name in lines["seconds"]], 0.0
    together = {name.partition("::")[0] for name in names}
    others = {name for name in seconds if name.partition("::")[0] in together} - set(names)
    stem = Path(case.path).stem
    quickest = sorted(names, key=lambda name: (stem not in _file(name), seconds.get(name, 1.0)))
    for name in [*quickest, *sorted(others, key=lambda name: seconds.get(name, 1.0))]:
        total += seconds.get(name, 1.0)
        if chosen and total > _SHARE_OF_TIME:
            break
        if name not in chosen:
            chosen.append(name)
    return chosen


def _in_a_function(case: Case) -> bool:
    """Whether the line runs when something is called; others run under the test that happens to import them first."""
    tree = ast.parse((ROOT / case.path).read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.FunctionDef) and node.body[0].lineno <= case.mutant.line <= (node.end_lineno or 0)
        for node in ast.walk(tree)
    )


def _readers(case: Case, lines: dict) -> list[str]:
    """Tests that run a line with the name that a module's line defines, such as a constant, in any file."""
    text = (ROOT / case.path).read_text(encoding="utf-8").splitlines()[case.mutant.line - 1]
    defined = re.match(r"(\w+)(: [^=]+)? = ", text.strip())
    if defined is None:
        return []
    word, found = re.compile(rf"\b{defined[1]}\b"), set()
    for path, of_file in lines["lines"].items():
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
            if word.search(line):
                found.update(of_file.get(str(number), ()))
    return sorted(found)


def _file(test: str) -> str:
    return test.partition("::")[0]


def _stages(path: str, tests: list[str], seconds: dict[str, float], catches: Counter[str]) -> list[list[str]]:
    """Quick tests of the likeliest file, then of the next, then the others: few files are imported for most mutants.

    Likeliest is the file named after the mutated one, then the one that caught the most so far.
    """
    stem, package = Path(path).stem, path.partition("/")[0]

    def likely(file: str) -> tuple[bool, bool, int]:
        return (stem in file, file.startswith(f"tests/{package}/"), catches[file])

    order = sorted(dict.fromkeys(map(_file, tests)), key=likely, reverse=True)
    heads: list[list[str]] = []
    for file in order[:2]:
        each = [test for test in tests if _file(test) == file]  # the quickest first
        sums = accumulate(seconds.get(test, 1.0) for test in each)
        heads.append([test for test, total in zip(each, sums, strict=True) if total <= _QUICK_S])
    rest = [test for test in tests if test not in chain(*heads)]
    return [stage for stage in (*heads, rest) if stage]


def judge(
    case: Case,
    tests: list[str],
    tree: Path,
    seconds: dict[str, float],
    sound: dict[str, bool],
    catches: Counter[str],
) -> str:
    """``caught``, ``survived``, ``timeout`` (caught: the fault hangs) or ``untested``.

    ``sound``: whether a test passes in ``tree`` without any fault, found for the first of each file that fails with
    one; a test that does not judges nothing. ``catches``: mutants that each file of tests caught so far.
    """
    tests = [test for test in tests if sound.get(test, True)]
    if not tests:
        return "untested"
    path = tree / case.path
    original, stamp = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(case.mutant.apply(original), encoding="utf-8")
    try:
        for stage in _stages(case.path, tests, seconds, catches):
            status, failed = _status(stage, tree, lambda: _interpret(case))
            if status:
                break
    finally:
        path.write_text(original, encoding="utf-8")
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # what is compiled of it stays valid
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) == signal.SIGALRM else "caught"
    if status == 0:
        return "survived"
    doubtful = [failed] if failed else stage  # no test failed: the packages, or a test's file, cannot be imported
    if not (failed and catches[_file(failed)]):  # the first of its file that fails
        sound |= dict.fromkeys(doubtful, _status(doubtful, tree)[0] == 0)
    if not all(sound.get(test, True) for test in doubtful):
        return judge(case, tests, tree, seconds, sound, catches)
    catches[_file(doubtful[0])] += 1
    return "caught"


class _FirstFailure:
    """A pytest plugin that leaves the name of the first test that fails in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.path.exists():
            self.path.write_text(report.nodeid, encoding="utf-8")


def _status(tests: list[str], tree: Path, prepare: Callable[[], None] | None = None) -> tuple[int, str]:
    """How a child that runs ``tests`` ends, and the name of the first that failed in it."""
    note = tree.parent / "failed.txt"
    note.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        if prepare:
            prepare()
        _run_tests(tests, tree, _FirstFailure(note))
    _, status = os.waitpid(child, 0)
    return status, note.read_text(encoding="utf-8") if note.is_file() else ""


def _verdicts(seed: int) -> dict[str, dict]:
    """Row by key of what was caught of the sample that was judged last, where its seed is the same."""
    judged = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"seed": None}
    same = judged["rows"] if judged["seed"] == seed else []
    return {row["key"]: row for row in same if row["verdict"] in ("caught", "timeout")}


def _import_libraries() -> None:
    """What the packages and their tests import, so that a child has only them to import, from its own tree."""
    os.environ["OMP_NUM_THREADS"] = "1"
    names = [path.removesuffix(".py").replace("/", ".") for path in files()]
    for name in (*_HEAVY, *names, "torch._dynamo", "transformers.models.llama.modeling_llama"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _interpret(case: Case) -> None:
    """Run kernels as plain Python where one of them changes."""
    if any(case.path.startswith(start) for start in COMPILED):
        importlib.import_module("numba").config.DISABLE_JIT = True


def _run_tests(tests: list[str], tree: Path, watcher: _FirstFailure) -> NoReturn:
    """In a child that has the heavy libraries already and imports the packages from ``tree``."""
    signal.alarm(_LIMIT_S)
    for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
        del sys.modules[name]
    os.chdir(tree)
    sys.path[0] = str(tree)
    sys.dont_write_bytecode = True  # a changed file of the same size and second would pass for the one before
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os._exit(pytest.main(["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests], plugins=[watcher]))


class _Judge:
    """One process of those that judge: a tree of its own, and what its verdicts so far taught."""

    def __init__(self, folder: Path, lines: dict) -> None:
        own = Path(tempfile.mkdtemp(dir=folder))
        self.tree = own / "tree"
        ignored = shutil.ignore_patterns(".git", ".venv", "build", ".*cache*", ".hypothesis", ".gpu")
        shutil.copytree(ROOT, self.tree, ignore=ignored)
        if (beside := ROOT.parent / "shared").is_dir():
            (own / "shared").symlink_to(beside)  # data that some tests find beside the checkout
        self.lines = lines
        self.sound: dict[str, bool] = {}
        self.catches: Counter[str] = Counter()

    def __call__(self, case: Case) -> dict[str, str | int | float]:
        """Verdict, the file of the test that gave it, how many tests could, and the seconds that it took."""
        started, caught = time.monotonic(), self.catches.copy()
        tests = tests_for(case, self.lines)
        verdict = judge(case, tests, self.tree, self.lines["seconds"], self.sound, self.catches)
        by = next(iter(self.catches - caught), "")
        return {"verdict": verdict, "by": by, "tests": len(tests), "seconds": round(time.monotonic() - started, 1)}


_judge: _Judge  # of this process, where it judges


def _begin(folder: Path, lines: dict) -> None:
    global _judge
    _judge = _Judge(folder, lines)


def _judged(case: Case) -> dict[str, str | int | float]:
    return _judge(case)


def verdicts(cases: Sequence[Case], lines: dict, jobs: int) -> Iterator[tuple[int, dict]]:
    """Place in ``cases`` and what was found of each, as ``jobs`` processes come to them."""
    fork = multiprocessing.get_context("fork")  # the libraries are imported once
    with (
        tempfile.TemporaryDirectory(prefix="mutation-") as folder,
        ProcessPoolExecutor(jobs, fork, _begin, (Path(folder), lines)) as pool,
    ):
        places = {pool.submit(_judged, case): at for at, case in enumerate(cases)}
        for done in as_completed(places):
            yield places[done], done.result()


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
        unmapped = " ".join(sorted({_file(name) for name in unknown}))
        print(f"{len(unknown)} tests are not mapped and judge nothing: --map {unmapped}")
    cases = sample(options.sample, options.seed, options.only)
    _import_libraries()
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
