"""Claims: a job's share of zeros is that of every linear and of no rival; quantized weights keep their own."""

from types import SimpleNamespace

import pytest

from hw.config import load_array
from hw.errors import InputError
from quant.shapes import LINEAR_KINDS, Experts, load_shape
from sim.job import SimJob
from sim.trace.build import build_trace

SHAPE, ARRAY = load_shape("stories260K"), load_array("8x8")


def operands(shape=SHAPE, **fields):
    """Phase and linear -> zero fraction and toggle rate."""
    job = SimJob(prefill=8, decode=2, **fields)
    trace = build_trace(shape, *job.sizes, job.formats(ARRAY, shape))
    return {
        (phase.name, op.name): (op.statistics.zero_fraction, op.statistics.toggle_rate)
        for phase in trace.phases
        for op in phase.ops
        if op.kind == "linear" and op.name in LINEAR_KINDS
    }


def test_zeros_and_toggles_of_every_linear_follow_from_the_share_that_was_given():
    """A bit is set with p = (1 - 0.6) / 2 = 0.2: toggles 0.2 of a resting trit, 2 x 0.2 x 0.8 of a new one."""
    found = operands(zero_fraction=0.6)
    assert len(found) == 2 * len(LINEAR_KINDS)
    for (phase, _), (zeros, toggles) in found.items():
        assert zeros == 0.6
        assert toggles == pytest.approx(0.2 if phase == "prefill" else 0.32)


def test_without_it_weights_are_gaussian():
    assert [zeros for zeros, _ in operands().values()] == [pytest.approx(0.31, abs=1e-3)] * 2 * len(LINEAR_KINDS)


def test_experts_have_it_too():
    shape = SHAPE.model_copy(update={"experts": Experts(count=4, per_token=2, size=8)})
    assert {zeros for zeros, _ in operands(shape, zero_fraction=0.7).values()} == {0.7}


def test_rivals_multiply_whatever_their_weights_are():
    assert SimJob(zero_fraction=0.9).as_rival().zero_fraction is None


@pytest.mark.parametrize("value", [1.0, -0.1])
def test_a_share_that_cannot_be_is_refused(value):
    with pytest.raises(ValueError, match="zero_fraction"):
        SimJob(zero_fraction=value)


def test_weights_that_were_quantized_have_a_share_of_their_own():
    with pytest.raises(InputError, match=r"zero_fraction must be left out .* share of zeros is 0.4, not 0.5; or sim"):
        SimJob(zero_fraction=0.5).formats(ARRAY, SHAPE, SimpleNamespace(zero_fraction=0.4))
