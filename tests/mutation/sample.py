"""Which faults are judged: the files that compute numbers, and a seeded sample of their mutants."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.mutation.operators import Mutant, mutants

__all__ = ["ROOT", "Case", "equivalents", "files", "sample"]

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.yaml")

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


def equivalents() -> dict[str, str]:
    """Reason by key of the mutants that change nothing a user could see."""
    return yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) or {}
