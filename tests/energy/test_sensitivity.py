"""One cost at a time: answers worked out by hand from two parts, and from a run."""

import pytest

from energy.costs.tables import Cost
from energy.job import Job, Rivals, simulate_machines
from energy.sensitivity import sensitivities
from quant.shapes import load_shape


@pytest.fixture(scope="module")
def summary():
    job = Job(model="stories260K", array="8x8", prefill=8, decode=2)
    return simulate_machines(job, load_shape("stories260K"), None, Rivals(rivals="int8"))[0]


def with_parts(summary, own, rival):
    """``summary`` whose machines take these parts, J per token."""
    machines = []
    for machine, parts in zip(summary.machines, (own, rival), strict=True):
        total = sum(parts.values(), Cost(0, 0, 0))
        phases = [
            one.model_copy(update={"joules_per_token": parts, "total_j_per_token": total}) for one in machine.phases
        ]
        machines.append(machine.model_copy(update={"phases": phases}))
    return summary.model_copy(update={"machines": machines})


def test_by_hand(summary):
    own = {"dram": Cost(1, 2, 6), "array": Cost(1, 1, 1), "host": Cost(0, 0, 0)}
    rival = {"dram": Cost(4, 8, 24), "array": Cost(2, 4, 5), "host": Cost(0, 0, 0)}
    energy, saved = sensitivities(with_parts(summary, own, rival))
    assert (energy.phase, energy.rival, energy.typical) == ("decode", "", 3)
    assert [(one.part, one.low, one.high) for one in energy.swings] == [
        ("dram", 2, 7),
        ("array", 3, 3),
        ("all costs together", 2, 7),
    ]
    assert (saved.rival, saved.typical) == ("int8", 1 - 3 / 12)
    by_part = {one.part: (one.low, one.high) for one in saved.swings}
    assert by_part == {
        "dram": (1 - 2 / 8, 1 - 7 / 28),
        "array": (1 - 3 / 10, 1 - 3 / 13),
        "all costs together": (1 - 2 / 6, 1 - 7 / 29),
    }
    assert [one.part for one in saved.swings] == ["array", "dram", "all costs together"]  # the widest first


def test_of_a_run_the_ends_are_those_of_its_total(summary):
    energy, _ = sensitivities(summary)
    total = summary.ternary.phase("decode").total_j_per_token
    whole = energy.swings[-1]
    assert (energy.typical, whole.low, whole.high) == pytest.approx((total.typical, total.low, total.high))
    moved = sum(one.high - energy.typical for one in energy.swings[:-1])
    assert moved == pytest.approx(total.high - total.typical)  # parts add up, so their swings do
