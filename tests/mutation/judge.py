"""Whether the tests see a fault: those that run its line, the quickest first, in a child with its own tree."""

import ast
import contextlib
import importlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import accumulate, chain
from pathlib import Path
from typing import NoReturn

import pytest

from tests.mutation.sample import ROOT, Case, files

__all__ = ["file_of", "import_libraries", "tests_for", "verdicts"]

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
    quickest = sorted(names, key=lambda name: (stem not in file_of(name), seconds.get(name, 1.0)))
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


def file_of(test: str) -> str:
    """The file of a test."""
    return test.partition("::")[0]


def _stages(path: str, tests: list[str], seconds: dict[str, float], catches: Counter[str]) -> list[list[str]]:
    """Quick tests of the likeliest file, then of the next, then the others: few files are imported for most mutants.

    Likeliest is the file named after the mutated one, then the one that caught the most so far.
    """
    stem, package = Path(path).stem, path.partition("/")[0]

    def likely(file: str) -> tuple[bool, bool, int]:
        return (stem in file, file.startswith(f"tests/{package}/"), catches[file])

    order = sorted(dict.fromkeys(map(file_of, tests)), key=likely, reverse=True)
    heads: list[list[str]] = []
    for file in order[:2]:
        each = [test for test in tests if file_of(test) == file]  # the quickest first
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
    if not (failed and catches[file_of(failed)]):  # the first of its file that fails
        sound |= dict.fromkeys(doubtful, _status(doubtful, tree)[0] == 0)
    if not all(sound.get(test, True) for test in doubtful):
        return judge(case, tests, tree, seconds, sound, catches)
    catches[file_of(doubtful[0])] += 1
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


def import_libraries() -> None:
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
