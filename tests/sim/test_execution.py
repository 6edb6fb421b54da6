"""How a run uses its machine: chunks and fusing keep the work, residence drops the traffic, single buffering waits."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import load_array, sized
from hw.errors import InputError
from quant.shapes import LINEAR_KINDS, Gemm, ModelShape, load_shape
from sim.execution import Execution
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob
from sim.memory import MemoryConfig, load_memory
from sim.simulator import simulate

LPDDR5 = load_memory("lpddr5-6400")
FAST = MemoryConfig(
    name="fast", source="test", standard="HBM3", channels=1, peak_bytes_per_s=1e18, sequential_efficiency=1,
    efficiency_source="test", latency_s=0,
)  # fmt: skip
SHAPE = ModelShape(
    name="tiny", source="made up", hidden_size=24, intermediate_size=40, layers=3, heads=4, kv_heads=2, head_dim=6,
    vocab_size=50, max_positions=64,
)  # fmt: skip


def run(prefill=13, decode=3, array=None, shape=SHAPE, **choices):
    return simulate(shape, array or sized(4, 4), LPDDR5, prefill, decode, batch=2, execution=Execution(**choices))


def macs(phase, names):
    return sum(op.macs for op in phase.ops if set(op.name.split("+")) & set(names))


@pytest.mark.parametrize("mac", ["ternary", "int8"])
@pytest.mark.parametrize("chunk", [1, 4, 5, 13, 50])
def test_chunks_of_a_prompt_do_the_same_work_once(mac, chunk):
    whole, chunked = (run(array=sized(4, 4).baseline(mac), prefill_chunk=size) for size in (None, chunk))
    before, after = whole.phase("prefill"), chunked.phase("prefill")
    for names in (LINEAR_KINDS, ["attention_scores", "attention_values"], ["lm_head"]):
        assert macs(after, names) == macs(before, names)
    assert after.tokens == before.tokens == 26
    assert after.steps == math.ceil(13 / chunk)
    assert whole.phase("decode") == chunked.phase("decode")


def test_fused_projections_do_the_same_work_with_fewer_descriptors():
    array = load_array("edge-32x32")
    apart, fused = (run(array=array, shape=load_shape("smollm2-135m"), fuse_projections=f) for f in (False, True))
    for before, after in zip(apart.phases, fused.phases, strict=True):
        assert macs(after, LINEAR_KINDS) == macs(before, LINEAR_KINDS)
        assert after.cycles < before.cycles
        assert [op.name for op in after.ops if op.unit == "array"] == [
            "q_proj+k_proj+v_proj", "o_proj", "gate_proj+up_proj", "down_proj"
        ]  # fmt: skip


def test_a_model_on_chip_reads_no_weights_from_dram():
    array = sized(4, 4).model_copy(update={"weight_buffer_bytes": 1 << 20})
    result = run(array=array, on_chip=True)
    assert all(phase.counts.dram_read_bits == phase.counts.dram_write_bits == 0 for phase in result.phases)
    assert all(phase.causes["dram_stall"] == 0 for phase in result.phases)
    assert result.phase("decode").counts.weight_buffer_read_bits > 0
    assert result.execution.on_chip


def test_a_model_that_does_not_fit_on_chip_is_refused_with_the_numbers():
    """3 layers of 2 x 24 x 24 + 2 x 12 x 24 + 3 x 24 x 40 two-bit trits, 50 x 24 x 24 bits of tables, KV of 32."""
    needed = (3 * 4608 * 2 + 50 * 24 * 24 + 2 * 3 * 12 * 32 * 16) // 8
    array = sized(4, 4).model_copy(update={"weight_buffer_bytes": needed - 1})
    with pytest.raises(InputError, match=f"weight_buffer_bytes must be at least {needed} .*, not {needed - 1} of"):
        run(array=array, on_chip=True)
    run(array=array.model_copy(update={"weight_buffer_bytes": needed}), on_chip=True)


@settings(max_examples=60, deadline=None)
@given(st.builds(Gemm, *[st.integers(1, 30)] * 3), st.integers(1, 6), st.integers(1, 6))
def test_without_double_buffering_every_tile_loads_swaps_and_runs_in_turn(gemm, rows, cols):
    array = sized(rows, cols)
    cost = gemm_cost(GemmJob(gemm, double_buffer=False, weights_on_chip=True, inputs_on_chip=True), array, FAST)
    tiles = math.ceil(gemm.n / cols) * math.ceil(gemm.k / rows)
    expected = tiles * (array.weight_beats + 1) + gemm.m * tiles + array.pipeline_latency
    assert cost.cycles == expected + 1  # the edge that accepts the descriptor
    assert cost.cycles >= gemm_cost(GemmJob(gemm, weights_on_chip=True, inputs_on_chip=True), array, FAST).cycles


@pytest.mark.parametrize(("group", "folds"), [(None, 3), (4, 5), (5, 4), (8, 3), (12, 3), (20, 3)])
def test_folds_do_not_cross_the_groups_of_a_row(group, folds):
    """K = 20 on 8 lanes; groups of 12 take two folds for the first and one for the eight columns left."""
    assert GemmJob(Gemm(1, 1, 20), group=group).folds(8) == folds
    assert GemmJob(Gemm(1, 1, 20), group=group, planes=2).folds(8) == 2 * folds


@pytest.mark.parametrize("mac", ["ternary", "fp16"])
def test_a_chunk_that_rides_along_adds_its_work_and_saves_its_weights(mac):
    """Five last tokens of a prompt of 13 beside two sequences at context 13: work adds up, weights are read once."""
    array = sized(4, 4).baseline(mac)
    mixed = run(decode=1, array=array, mixed_chunk=5).phase("mixed")
    step = run(decode=1, array=array).phase("decode")
    assert mixed.tokens == 2 + 5
    weights = sum(n * k for n, k in map(SHAPE.linear, LINEAR_KINDS)) * 3
    assert macs(mixed, LINEAR_KINDS) == (2 + 5) * weights
    pairs = 2 * 14 + sum(range(9, 14))
    assert macs(mixed, ["attention_scores"]) == pairs * 4 * 6 * 3
    alone, along = (next(op for op in phase.ops if op.name == "down_proj") for phase in (step, mixed))
    assert along.counts.dram_read_bits == alone.counts.dram_read_bits


def test_an_int8_array_may_leave_attention_and_lm_head_to_the_vector_unit():
    array = sized(4, 4).baseline("int8")
    there, here = (run(array=array, dense_products=place) for place in ("array", "vector"))
    for before, after in zip(there.phases, here.phases, strict=True):
        assert {op.unit for op in after.ops if op.name in ("attention_scores", "attention_values", "lm_head")} == {
            "vector"
        }
        assert [op.macs for op in after.ops] == [op.macs for op in before.ops]
        assert [op for op in after.ops if op.name in LINEAR_KINDS] == [
            op for op in before.ops if op.name in LINEAR_KINDS
        ]
