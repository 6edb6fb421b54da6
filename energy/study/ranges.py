"""Which designs a study can tell apart: the ranges from low to high costs, carried through its ranking.

Designs that the same tables price share their costs: what is dear for one is dear for the other. Of two such designs
one is better where it is better at both ends. Designs of other costs or another memory are better only where their
ranges do not overlap. A figure without a range is equal to another within half a per cent.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from energy.study.metrics import HIGH, LOW

if TYPE_CHECKING:
    from energy.study.document import Study
    from energy.study.points import StudyPoint

__all__ = ["equal", "equal_to"]

_EQUAL = 1.005
_PRICED_BY = ("costs", "memory", "sram_cells")


def equal(study: "Study", one: "StudyPoint", other: "StudyPoint", name: str) -> bool:
    """Whether ``one`` and ``other`` cannot be told apart in the metric ``name``."""
    values = [point.metrics[name] for point in (one, other)]
    if None in values or _close(*values):  # type: ignore[arg-type]
        return True
    lows, highs = ([point.metrics.get(name + end) for point in (one, other)] for end in (LOW, HIGH))
    if None in (*lows, *highs):
        return False
    if _same_costs(study, one, other):
        return (lows[0] - lows[1]) * (highs[0] - highs[1]) <= 0  # type: ignore[operator]
    return lows[0] <= highs[1] and lows[1] <= highs[0]  # type: ignore[operator]


def equal_to(study: "Study", best: Sequence["StudyPoint"], point: "StudyPoint") -> int:
    """Bits of the objectives in which ``point`` is the best, or cannot be told apart from it; ``best``: of each."""
    pairs = enumerate(zip(study.objectives, best, strict=True))
    return sum(equal(study, point, other, name) << bit for bit, (name, other) in pairs)


def _close(one: float, other: float) -> bool:
    return max(one, other) <= _EQUAL * min(one, other) if min(one, other) > 0 else one == other


def _same_costs(study: "Study", one: "StudyPoint", other: "StudyPoint") -> bool:
    """Whether the same tables price both, which the base says where no axis does."""
    return all(one.values[name] == other.values[name] for name in study.columns if name.partition(".")[0] in _PRICED_BY)
