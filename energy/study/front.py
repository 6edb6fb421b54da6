"""The Pareto front of two or three objectives in n log n comparisons, by a sweep over sorted rows.

Own code of twenty lines, since the libraries at hand (paretoset, pymoo) compare each row with the whole front: n
squared where most rows are on it, which a study of ten thousand designs often is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

__all__ = ["MAX_OBJECTIVES", "pareto_front"]

MAX_OBJECTIVES = 3


def pareto_front(rows: Sequence[Sequence[float]]) -> list[bool]:
    """True for each row that no other row beats: none is at most as large everywhere and smaller somewhere.

    Rows are visited in lexicographic order, so that only an earlier one can beat a row, and beats it where its second
    and third figures are at most as large. Of the earlier rows a staircase is kept: second figures that rise while
    third ones fall. The step at or below a row's second figure has the least third figure of all that could beat it.
    """
    front, seconds, thirds = set(), [], []
    for row in sorted({tuple(row) for row in rows}):
        _, second, third = (*row, 0.0)[:3]
        at = bisect_right(seconds, second)
        if at and thirds[at - 1] <= third:
            continue
        front.add(row)
        first = last = bisect_left(seconds, second)
        while last < len(thirds) and thirds[last] >= third:
            last += 1
        seconds[first:last], thirds[first:last] = [second], [third]
    return [tuple(row) in front for row in rows]
