"""The token budget: cycles of a token by operation, their shares, and how busy the array is."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hw.program.instructions import OPERATIONS
from sim.token.cycles import InstructionCycles

__all__ = ["Budget", "BudgetRow", "budget_lines", "budget_of"]


class BudgetRow(NamedTuple):
    """An operation's instructions and cycles, of one token on average."""

    operation: str
    count: float
    cycles: float
    share: float


class Budget(NamedTuple):
    """Of one token on average. ``busy``: share of edges on which the array takes a vector in."""

    rows: list[BudgetRow]
    cycles: float
    busy: float
    array: float  # share of instructions that use the array

    def as_json(self) -> dict[str, object]:
        """Plain numbers."""
        rows = {row.operation: row._asdict() for row in self.rows}
        return {"cycles": self.cycles, "array_busy": self.busy, "array_share": self.array, "operations": rows}


def budget_of(tokens: Sequence[Iterable[InstructionCycles]]) -> Budget:
    """The average token of those given, operations with most cycles first."""
    counts, cycles, issues = dict.fromkeys(OPERATIONS, 0), dict.fromkeys(OPERATIONS, 0), 0
    for token in tokens:
        for one in token:
            counts[one.operation] += 1
            cycles[one.operation] += one.cycles
            issues += one.issues
    total = sum(cycles.values())
    rows = [
        BudgetRow(name, counts[name] / len(tokens), cycles[name] / len(tokens), cycles[name] / total)
        for name in sorted(OPERATIONS, key=lambda name: -cycles[name])
        if counts[name]
    ]
    gemms = sum(cycles[name] for name in ("DEQ", "SCORE", "OACC", "ARGMAX"))
    return Budget(rows, total / len(tokens), issues / total, gemms / total)


def budget_lines(budget: Budget, clock_hz: float) -> list[str]:
    """The table for the screen."""
    lines = [f"{'operation':<10} {'per token':>9} {'cycles':>12} {'share':>7}  what it does"]
    for row in budget.rows:
        what = OPERATIONS[row.operation].what
        lines.append(f"{row.operation:<10} {row.count:9.1f} {row.cycles:12,.0f} {100 * row.share:6.1f}%  {what}")
    lines.append(
        f"{'token':<10} {sum(row.count for row in budget.rows):9.1f} {budget.cycles:12,.0f}  "
        f"{clock_hz / budget.cycles:,.1f} tokens/s at {clock_hz / 1e6:g} MHz"
    )
    lines.append(
        f"the array takes a vector in on {100 * budget.busy:.1f} % of the edges; instructions that use it take "
        f"{100 * budget.array:.1f} %"
    )
    return lines
