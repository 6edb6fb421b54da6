"""Sobol indices of an answer over the ranges of its costs: which parts' costs it varies with, alone and together.

Every part's cost takes any value between its low and its high end alike, independently of the other parts; machines of
one comparison share it, as in ``energy.sensitivity``. First order: the share of the answer's variance that goes when
the part is known. Total: the share that stays when all others are known.

Ref: Saltelli et al., Variance based sensitivity analysis of model output, Comput. Phys. Commun. 181, 2010.
"""

import numpy as np

from energy.costs.tables import ZERO
from energy.sensitivity import answers_of
from energy.summary import JobSummary, PhaseSummary
from hw.document import Record
from hw.errors import InputError

__all__ = ["SobolAnswer", "SobolIndex", "check_samples", "sobol_indices"]

_MOST = 1 << 16  # base samples: with the parts of a machine a million evaluations
_SEED = 0


class SobolIndex(Record):
    """One part's; ``confidence``: half the width of the 95 % interval."""

    part: str
    first: float
    first_confidence: float
    total: float
    total_confidence: float


class SobolAnswer(Record):
    """One answer: energy per token, or the share of a rival's that is saved; parts with the largest total first."""

    phase: str
    rival: str = ""  # "": the answer is the energy itself
    samples: int  # evaluations
    mean: float
    deviation: float  # standard deviation of the answer over the ranges
    indices: list[SobolIndex]


def check_samples(samples: int) -> None:
    """Refuse a number that Sobol's sequence has no balance at.

    Raises:
        InputError: no power of two, too few or too many.
    """
    if not 2 <= samples <= _MOST or samples & (samples - 1):
        raise InputError(f"sobol must be a power of 2 from 2 to {_MOST}, such as 1024, not {samples}")


def sobol_indices(summary: JobSummary, samples: int) -> list[SobolAnswer]:
    """Of the last phase: the first machine's energy per token, and what it saves against each rival.

    Raises:
        InputError: SALib is missing.
    """
    return [_answer(*answer, samples) for answer in answers_of(summary)]


def _answer(own: PhaseSummary, rival: PhaseSummary | None, mac: str, samples: int) -> SobolAnswer:
    try:
        from SALib.analyze import sobol as analysis
        from SALib.sample import sobol as sampling
    except ImportError:
        raise InputError("SALib is missing; install the sobol extra: pip install 'tritforge[sobol]'") from None
    machines = [own] if rival is None else [own, rival]
    parts = [
        part
        for part in (rival or own).joules_per_token
        if any(_ends(one, part)[0] < _ends(one, part)[1] for one in machines)
    ]
    if not parts:
        return SobolAnswer(phase=own.name, rival=mac, samples=0, mean=_joules(own, {}), deviation=0.0, indices=[])
    problem = {"num_vars": len(parts), "names": parts, "bounds": [[0.0, 1.0]] * len(parts)}
    points = sampling.sample(problem, samples, calc_second_order=False, seed=_SEED)
    shares = dict(zip(parts, points.T, strict=True))
    found = _joules(own, shares)
    if rival is not None:
        found = 1 - found / _joules(rival, shares)
    result = analysis.analyze(problem, found, calc_second_order=False, seed=_SEED)
    indices = [
        SobolIndex(
            part=part, first=result["S1"][at], first_confidence=result["S1_conf"][at],
            total=result["ST"][at], total_confidence=result["ST_conf"][at],
        )
        for at, part in enumerate(parts)
    ]  # fmt: skip
    indices.sort(key=lambda one: one.total, reverse=True)
    return SobolAnswer(
        phase=own.name, rival=mac, samples=len(points), mean=found.mean(), deviation=found.std(), indices=indices
    )


def _joules(phase: PhaseSummary, shares: dict[str, np.ndarray]) -> np.ndarray:
    """J per token where ``shares`` says how far each part's cost is between its ends; others are typical."""
    total = np.zeros(())
    for part, cost in phase.joules_per_token.items():
        low, high = _ends(phase, part)
        total = total + (low + (high - low) * shares[part] if part in shares else cost.typical)
    return total


def _ends(phase: PhaseSummary, part: str) -> tuple[float, float]:
    low, _, high = phase.joules_per_token.get(part, ZERO)
    return low, high
