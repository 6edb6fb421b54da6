"""The Pareto front of two or three objectives in n log n comparisons, by a sweep over sorted rows as they come.

Own code of twenty lines, since the libraries at hand (paretoset, pymoo) compare each row with the whole front: n
squared where most rows are on it, which a study of ten thousand designs often is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

__all__ = ["MAX_OBJECTIVES", "Front", "pareto_front"]

MAX_OBJECTIVES = 3


class Front:
    """The front of the rows that were added so far; others are forgotten. ``row in front``: it is one of it."""

    def __init__(self) -> None:
        self._front: set[tuple[float, ...]] = set()
        self._waiting: set[tuple[float, ...]] = set()

    def add(self, rows: Iterable[Sequence[float]]) -> None:
        """Rows that may be of the front; swept together once they are as many as it has."""
        self._waiting.update(map(tuple, rows))
        if len(self._waiting) > len(self._front):
            self._sweep()

    def __contains__(self, row: Sequence[float]) -> bool:
        """Whether no row is at most as large everywhere and smaller somewhere."""
        if self._waiting:
            self._sweep()
        return tuple(row) in self._front

    def _sweep(self) -> None:
        self._front, self._waiting = _swept(self._front | self._waiting), set()


def pareto_front(rows: Sequence[Sequence[float]]) -> list[bool]:
    """True for each row that no other row beats: none is at most as large everywhere and smaller somewhere."""
    front = Front()
    front.add(rows)
    return [row in front for row in rows]


def _swept(rows: Iterable[tuple[float, ...]]) -> set[tuple[float, ...]]:
    """Distinct rows that no other beats.

    Rows are visited in lexicographic order, so that only an earlier one can beat a row, and beats it where its second
    and third figures are at most as large. Of the earlier rows a staircase is kept: second figures that rise while
    third ones fall. The step at or below a row's second figure has the least third figure of all that could beat it.
    """
    front: set[tuple[float, ...]] = set()
    seconds: list[float] = []
    thirds: list[float] = []
    for row in sorted(rows):
        _, second, third = (*row, 0.0)[:3]
        at = bisect_right(seconds, second)
        if at and thirds[at - 1] <= third:
            continue
        front.add(row)
        first = last = bisect_left(seconds, second)
        while last < len(thirds) and thirds[last] >= third:
            last += 1
        seconds[first:last], thirds[first:last] = [second], [third]
    return front
