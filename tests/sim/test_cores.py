"""Several cores: one is today's machine, splits are counted by hand, more are never slower when memory never limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from energy.costs.sources import load_source
from energy.model import energy_of
from hw.config import ArrayConfig, load_array, sized
from hw.errors import InputError
from quant.shapes import Gemm, load_shape
from sim.cores import CoreGroup
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob
from sim.memory import MemoryConfig, load_memory
from sim.result import SimResult
from sim.simulator import simulate

EDGE = load_array("edge-32x32")
LPDDR5 = load_memory("lpddr5-6400")
FAST = MemoryConfig(
    name="fast", source="test", standard="HBM3", channels=1, peak_bytes_per_s=1e18, sequential_efficiency=1,
    efficiency_source="test", latency_s=0,
)  # fmt: skip
SPLITS = ("auto", "columns", "rows")


def on_chip(m, n, k):
    return GemmJob(Gemm(m, n, k), inputs_on_chip=True, outputs_on_chip=True, weights_on_chip=True)


def whole(**changes):
    return simulate(load_shape("stories260K"), sized(4, 4), LPDDR5, 9, 3, **changes)


@pytest.mark.parametrize("split", SPLITS)
def test_one_core_is_the_single_array_whatever_its_split(split):
    alone, grouped = whole(), whole(cores=CoreGroup(count=1, split=split))
    assert grouped.phases == alone.phases
    for before, after in zip(alone.phases, grouped.phases, strict=True):
        assert (after.cycles, after.causes["output_stall"], after.counts.reductions) == (before.cycles, 0, 0)


def test_a_column_split_by_hand():
    """Five column tiles of two folds on two cores: three rounds of two tiles, each a beat, a swap and two vectors.

    One beat per tile, two tokens: a beat and a swap, six tiles of two vectors, the drain, the descriptor's edge.
    """
    array = ArrayConfig(name="pair", rows=2, cols=1, weight_bus_bits=8)
    cost = gemm_cost(on_chip(2, 5, 4), array, FAST, CoreGroup(count=2, split="columns"))
    assert cost.cycles == 2 + 3 * 2 * 2 + array.pipeline_latency + 1
    assert (cost.counts.reductions, cost.causes["output_stall"]) == (0, 0)
    assert cost.counts.array_macs == 2 * 5 * 4


def test_a_row_split_by_hand():
    """Two column tiles of three folds on two cores: two rounds per column, partial sums of 2 tokens x 2 columns added.

    Over a link of 9 bits a vector of one 24-bit sum takes three cycles, so the two vectors of each last round take six.
    """
    array = ArrayConfig(name="pair", rows=2, cols=1, weight_bus_bits=8)
    rows = CoreGroup(count=2, split="rows")
    cost = gemm_cost(on_chip(2, 2, 6), array, FAST, rows)
    assert cost.cycles == 2 + 2 * 2 * 2 + (array.pipeline_latency + 1) + 1  # one level of adders
    assert cost.counts.reductions == 4
    narrow = gemm_cost(on_chip(2, 2, 6), array, FAST, rows.model_copy(update={"link_bits": 9}))
    assert narrow.cycles == cost.cycles + 2 * (6 - 2)
    assert narrow.causes["output_stall"] == 8
    alone = gemm_cost(on_chip(2, 2, 6), array, FAST)
    assert alone.cycles == 2 + 2 * 3 * 2 + array.pipeline_latency + 1
    moved = 4 * array.accumulator_bits
    assert cost.counts.accumulator_write_bits == alone.counts.accumulator_write_bits + moved
    assert (
        cost.counts.accumulator_read_bits == alone.counts.accumulator_read_bits
    )  # a read less per sum, one to move it


@settings(max_examples=80, deadline=None)
@given(
    st.builds(Gemm, *[st.integers(1, 40)] * 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 9),
    st.sampled_from(SPLITS),
)  # fmt: skip
def test_more_cores_are_never_slower_where_memory_never_limits(gemm, rows, cols, count, split):
    array = sized(rows, cols).model_copy(update={"weight_buffer_bytes": 1 << 20})
    job = GemmJob(gemm, inputs_on_chip=True, outputs_on_chip=True, weights_on_chip=True)
    fewer, more = (gemm_cost(job, array, FAST, CoreGroup(count=c, split=split)) for c in (count, count + 1))
    # cores that reduce add a level to the pipeline; a fold less saves a vector at least
    assert more.cycles <= fewer.cycles
    assert sum(more.causes.values()) == more.cycles
    assert more.counts.array_macs == fewer.counts.array_macs


@settings(max_examples=40, deadline=None)
@given(st.builds(Gemm, *[st.integers(1, 60)] * 3), st.integers(2, 6), st.sampled_from(["columns", "rows"]))
def test_auto_is_at_most_as_slow_as_either_split(gemm, count, split):
    auto, fixed = (gemm_cost(GemmJob(gemm), sized(4, 4), LPDDR5, CoreGroup(count=count, split=s)).cycles
                   for s in ("auto", split))  # fmt: skip
    assert auto <= 1.01 * fixed  # but for what a GEMM gives away for less DRAM traffic


def test_cores_share_the_bandwidth_of_one_memory():
    """Decode behind a slow memory: the bytes take as long for four cores as for one."""
    slow = LPDDR5.model_copy(update={"peak_bytes_per_s": 1e8, "latency_s": 0.0})
    job = GemmJob(Gemm(1, 1024, 1024))
    one, four = (gemm_cost(job, EDGE, slow, CoreGroup(count=count)) for count in (1, 4))
    assert four.counts.dram_read_bits == one.counts.dram_read_bits
    assert four.cycles == pytest.approx(one.cycles, rel=0.01)


def test_a_whole_model_gains_from_cores_and_pays_their_leakage():
    one, four = whole(), whole(cores=CoreGroup(count=4))
    for before, after in zip(one.phases, four.phases, strict=True):
        assert after.cycles < before.cycles
        assert after.counts.vector_ops == before.counts.vector_ops
        assert four.utilization(after) <= one.utilization(before)
    costs = load_source("horowitz-45nm")
    power = [
        energy_of(result, costs).phase("decode").parts["leakage"].typical / result.seconds(result.phase("decode"))
        for result in (one, four)
    ]
    logic = costs.logic_leakage_w(one.array).typical
    assert power[1] - power[0] > 3 * logic  # and three more accumulator buffers


def test_reductions_are_priced_as_adders_of_the_accumulator():
    rows = whole(cores=CoreGroup(count=4, split="rows"))
    counts, costs = rows.phase("decode").counts, load_source("horowitz-45nm")
    assert counts.reductions > 0
    array = energy_of(rows, costs).phase("decode").parts["array"].typical
    lanes = costs.mac(rows.array).energy.typical * counts.array_macs_active
    assert array - lanes == pytest.approx(counts.reductions * costs.table.integer_add(24).typical, rel=1e-6)


def test_cores_that_the_buffer_cannot_feed_are_refused_with_the_numbers():
    array = sized(4, 4).model_copy(update={"weight_buffer_bytes": 31})
    with pytest.raises(InputError, match=r"two tiles for each of 4 cores \(32 bytes\), not 31 of array '4x4'"):
        simulate(load_shape("stories260K"), array, LPDDR5, 9, 3, cores=CoreGroup(count=4))
    with pytest.raises(ValidationError):
        CoreGroup(count=0)


def test_lanes_of_vector_units_are_of_all_units_and_all_cores():
    """3 cores of 2 units of 8 lanes; attention has 16 of its own in each core, or shares theirs."""
    for own, attention in ((16, 48), (0, 48), (4, 12)):
        array = ArrayConfig(name="", rows=4, cols=4, vector_lanes=8, vector_units=2, attention_lanes=own)
        result = SimResult.model_construct(array=array, cores=CoreGroup(count=3))
        assert (result.vector_lanes, result.attention_lanes) == (48, attention)
