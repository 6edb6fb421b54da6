"""How far an answer moves with one cost at a time: each part's costs at their low and high ends, the others typical.

Machines of one comparison are built of the same memory, cells and buffers, so that a part's cost is low in all of them
or high in all of them: what a rival takes moves with it.
"""

from energy.costs.tables import ZERO, Cost
from energy.summary import JobSummary, PhaseSummary
from hw.document import Record

__all__ = ["Sensitivity", "Swing", "answers_of", "sensitivities"]

_WHOLE = "all costs together"


class Swing(Record):
    """An answer with the costs of one part at their ends; ``low`` belongs to low costs, which may give the larger."""

    part: str
    low: float
    high: float

    @property
    def width(self) -> float:
        """How far the ends are apart."""
        return abs(self.high - self.low)


class Sensitivity(Record):
    """One answer, and what moves it, the most first; last all costs together."""

    phase: str
    rival: str = ""  # mac of the machine against which the share is saved; "": the answer is the energy itself
    typical: float  # J per token, or the share of the rival's energy that is saved
    swings: list[Swing]


def sensitivities(summary: JobSummary) -> list[Sensitivity]:
    """Of the last phase: the first machine's energy per token, and what it saves against each rival."""
    return [_sensitivity(*answer) for answer in answers_of(summary)]


def answers_of(summary: JobSummary) -> list[tuple[PhaseSummary, PhaseSummary | None, str]]:
    """Last phase of the first machine, of a rival, and the rival's mac: first without a rival, then against each."""
    own, *rivals = summary.machines
    name = own.phases[-1].name if summary.decode == 0 else "decode"
    return [(own.phase(name), None, ""), *((own.phase(name), rival.phase(name), rival.mac) for rival in rivals)]


def _sensitivity(own: PhaseSummary, rival: PhaseSummary | None, mac: str) -> Sensitivity:
    parts = [part for part, cost in own.joules_per_token.items() if cost != ZERO]
    if rival is not None:
        parts = [part for part in rival.joules_per_token if part in parts or rival.joules_per_token[part] != ZERO]
    swings = [
        Swing(part=part, low=_answer(own, rival, {part}, 0), high=_answer(own, rival, {part}, 2)) for part in parts
    ]
    swings.sort(key=lambda swing: swing.width, reverse=True)
    whole = Swing(part=_WHOLE, low=_answer(own, rival, set(parts), 0), high=_answer(own, rival, set(parts), 2))
    typical = _answer(own, rival, set(), 1)
    return Sensitivity(phase=own.name, rival=mac, typical=typical, swings=[*swings, whole])


def _answer(own: PhaseSummary, rival: PhaseSummary | None, moved: set[str], end: int) -> float:
    """J per token, or the share that is saved, with the costs of ``moved`` at ``end`` of (low, typical, high)."""
    joules = _total(own, moved, end)
    return joules if rival is None else 1 - joules / _total(rival, moved, end)


def _total(phase: PhaseSummary, moved: set[str], end: int) -> float:
    costs: dict[str, Cost] = phase.joules_per_token
    return sum(cost[end] if part in moved else cost.typical for part, cost in costs.items())
