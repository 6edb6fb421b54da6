"""Cores at their own pace: each is a machine of its own with its share, as the naive machine runs it; refusals."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.config import ArrayConfig
from hw.errors import InputError
from quant.shapes import Experts, ModelShape, load_shape
from sim.apart import core_share, rebatched, sequences_of_cores
from sim.cores import CoreGroup
from sim.counts import ActionCounts
from sim.execution import Execution
from sim.memory import MemoryConfig
from sim.result import CAUSES
from sim.simulator import simulate
from sim.trace.build import build_trace
from tests.naive_machine import NaiveMachine

SHAPE = ModelShape(
    name="tiny", source="made up", hidden_size=12, intermediate_size=18, layers=2, heads=4, kv_heads=2, head_dim=3,
    vocab_size=21, max_positions=64,
)  # fmt: skip
MEMORY = MemoryConfig(
    name="m", source="test", standard="DDR4", channels=2, peak_bytes_per_s=2e9, sequential_efficiency=0.5,
    efficiency_source="test", write_cost=1.5, latency_s=6.5e-9,
)  # fmt: skip
ARRAY = ArrayConfig(
    name="a", rows=4, cols=4, weight_bus_bits=16, token_tile=4, vector_lanes=3, weight_buffer_bytes=1 << 16,
    activation_buffer_bytes=1 << 16,
)  # fmt: skip


def run(batch, count, array=ARRAY, shape=SHAPE, **options):
    return simulate(shape, array, MEMORY, 5, 2, batch, cores=CoreGroup(count=count, split="batch"), **options)


def naive(batch, working):
    """Phase -> op -> counts of one core with its share, written without ``core_share``."""
    buffers = {"weight_buffer_bytes": (1 << 16) // working, "activation_buffer_bytes": (1 << 16) // working}
    array = ArrayConfig(**ARRAY.model_dump() | buffers)
    machine = NaiveMachine(SHAPE, array, MEMORY.model_copy(update={"peak_bytes_per_s": 2e9 / working}))
    prefill, decode = machine.step("prefill", 5, 0, batch), {}
    for step in range(2):
        for name, counts in machine.step("decode", 1, 5 + step, batch).items():
            decode.setdefault(name, Counter()).update(counts)
    return {"prefill": prefill, "decode": decode}


@pytest.mark.parametrize(
    ("batch", "count", "split"), [(3, 2, [2, 1]), (4, 2, [2, 2]), (2, 5, [1, 1]), (7, 4, [2, 2, 2, 1])]
)
def test_every_op_is_that_of_the_naive_cores(batch, count, split):
    """Time and causes of the busiest core, actions of all."""
    assert sequences_of_cores(batch, count) == split
    result, cores = run(batch, count), [naive(size, len(split)) for size in split]
    assert (result.batch, result.cores.count, result.memory, result.array) == (batch, count, MEMORY, ARRAY)
    for phase in result.phases:
        assert phase.tokens == batch * (5 if phase.name == "prefill" else 2)
        for op in phase.ops:
            each = [core[phase.name][op.name] for core in cores]
            assert (op.cycles, op.causes) == (each[0]["cycles"], {cause: each[0][cause] for cause in CAUSES}), op.name
            for field in ActionCounts._fields:
                assert getattr(op.counts, field) == pytest.approx(sum(one[field] for one in each), rel=1e-12), op.name


def test_one_core_and_one_sequence_are_the_plain_machine():
    plain = simulate(SHAPE, ARRAY, MEMORY, 5, 2, 1)
    assert run(1, 1).phases == plain.phases
    assert run(1, 4).phases == plain.phases


@given(st.integers(1, 64), st.integers(1, 64))
def test_every_sequence_is_on_one_core_and_none_waits_for_two(batch, count):
    sequences = sequences_of_cores(batch, count)
    assert sum(sequences) == batch
    assert len(sequences) <= count
    assert max(sequences) - min(sequences) <= 1


def test_a_trace_of_fewer_sequences_is_the_trace_that_would_be_built():
    for shape in (SHAPE, load_shape("stories260K")):
        assert rebatched(build_trace(shape, 7, 3, 6), 4) == build_trace(shape, 7, 3, 4)


def test_shares_that_are_too_small_are_refused():
    """A tile of 16 trits takes 4 bytes."""
    small = ARRAY.model_copy(update={"weight_buffer_bytes": 16, "activation_port_bits": 1})
    assert core_share(small.model_copy(update={"activation_port_bits": 2}), MEMORY, 2)[0].weight_buffer_bytes == 8
    with pytest.raises(InputError, match="weight_buffer_bytes must be at least 24 for 3 cores, 8 each, not 16"):
        core_share(small, MEMORY, 3)
    with pytest.raises(InputError, match="activation_port_bits must be at least 2 for 2 cores, 1 each, not 1"):
        core_share(small, MEMORY, 2)


def test_work_that_is_no_multiple_of_the_sequences_is_refused():
    with pytest.raises(InputError, match="core_split must be auto, columns or rows with mixed_chunk, not batch"):
        run(2, 2, execution=Execution(mixed_chunk=2))
    mixture = SHAPE.model_copy(update={"experts": Experts(count=4, per_token=2, size=8)})
    with pytest.raises(InputError, match="with the experts of model 'tiny', not batch"):
        run(2, 2, shape=mixture)
