"""Which designs a study can tell apart: the ranges from low to high costs, carried through its ranking.

``energy.costs.tables.alike`` says when two ranges are; designs of other costs, another memory or other cells of SRAM
are priced by other tables. A figure without a range is equal to another within half a per cent.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from energy.costs.tables import Cost, alike, is_close
from energy.study.metrics import HIGH, LOW

if TYPE_CHECKING:
    from energy.study.document import Study
    from energy.study.points import StudyPoint

__all__ = ["equal", "equal_to"]

_PRICED_BY = ("costs", "memory", "sram_cells")


def equal(study: "Study", one: "StudyPoint", other: "StudyPoint", name: str) -> bool:
    """Whether ``one`` and ``other`` cannot be told apart in the metric ``name``."""
    values = [point.metrics[name] for point in (one, other)]
    if None in values or is_close(*values):  # type: ignore[arg-type]
        return True
    ends = [[point.metrics.get(name + end) for end in (LOW, "", HIGH)] for point in (one, other)]
    if None in (*ends[0], *ends[1]):
        return False
    return alike(*(Cost(*figures) for figures in ends), same_tables=_same_costs(study, one, other))  # type: ignore


def equal_to(study: "Study", best: Sequence["StudyPoint"], point: "StudyPoint") -> int:
    """Bits of the objectives in which ``point`` is the best, or cannot be told apart from it; ``best``: of each."""
    pairs = enumerate(zip(study.objectives, best, strict=True))
    return sum(equal(study, point, other, name) << bit for bit, (name, other) in pairs)


def _same_costs(study: "Study", one: "StudyPoint", other: "StudyPoint") -> bool:
    """Whether the same tables price both, which the base says where no axis does."""
    return all(one.values[name] == other.values[name] for name in study.columns if name.partition(".")[0] in _PRICED_BY)
