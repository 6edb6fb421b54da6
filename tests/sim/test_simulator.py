"""Whole runs: what is executed is what the model is, causes sum, and better machines are never slower."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import ArrayConfig, load_array, sized
from hw.errors import InputError
from quant.shapes import LINEAR_KINDS, Gemm, ModelShape, load_shape
from sim.gemm.closed_form import closed_form
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob
from sim.memory import MemoryConfig, load_memory
from sim.result import CAUSES
from sim.simulator import simulate

EDGE = load_array("edge-32x32")
TINY = ModelShape(
    name="tiny", source="made up", hidden_size=24, intermediate_size=40, layers=3, heads=4, kv_heads=2, head_dim=6,
    vocab_size=50, max_positions=64,
)  # fmt: skip


def memory(bytes_per_s=1e9, latency_s=0.0):
    return MemoryConfig(
        name="m", source="test", standard="DDR4", channels=1, peak_bytes_per_s=bytes_per_s, sequential_efficiency=1,
        efficiency_source="test", latency_s=latency_s,
    )  # fmt: skip


@pytest.mark.parametrize("mac", ["ternary", "int8", "fp16"])
def test_every_multiply_of_llama2_7b_is_simulated(mac):
    """Linears: 6 476 005 376 weights (32 layers of 4 h^2 + 3 h f); attention: causal pairs x h x 2 x layers."""
    result = simulate(load_shape("llama2-7b"), EDGE.baseline(mac), load_memory("lpddr5-6400"), prefill=100, decode=7)
    prefill, decode = result.phase("prefill"), result.phase("decode")
    linear_macs = {p.name: sum(op.macs for op in p.ops if op.name in LINEAR_KINDS) for p in (prefill, decode)}
    assert linear_macs == {"prefill": 100 * 6_476_005_376, "decode": 7 * 6_476_005_376}
    attention = {
        p.name: sum(op.macs for op in p.ops if op.name.startswith("attention_") and op.macs) for p in result.phases
    }
    assert attention["prefill"] == 32 * 2 * 4096 * (100 * 101 // 2)
    assert attention["decode"] == 32 * 2 * 4096 * sum(range(101, 108))
    heads = [op.macs for p in (prefill, decode) for op in p.ops if op.name == "lm_head"]
    assert heads == [32000 * 4096, 7 * 32000 * 4096]
    assert decode.tokens == 7
    assert prefill.tokens == 100


@pytest.mark.parametrize("mac", ["ternary", "int8", "fp16"])
def test_causes_sum_to_cycles_and_actions_are_whole(mac):
    result = simulate(TINY, sized(5, 3).baseline(mac), memory(), prefill=7, decode=5, batch=3)
    for phase in result.phases:
        for op in phase.ops:
            assert set(op.causes) == set(CAUSES)
            assert sum(op.causes.values()) == op.cycles
            assert min(op.causes.values()) >= 0
            assert min(op.counts) >= 0
        assert sum(phase.causes.values()) == phase.cycles


def test_a_gemm_whose_memory_never_limits_takes_the_closed_form_and_its_descriptor_edge():
    for gemm in (Gemm(1, 4096, 4096), Gemm(7, 65, 129), Gemm(1, 1, 1), Gemm(13, 31, 37)):
        cost = gemm_cost(GemmJob(gemm), EDGE, memory(1e18))
        expected = closed_form(gemm, EDGE)
        assert cost.cycles == expected.cycles + 1
        assert cost.causes["ideal"] == expected.ideal
        # the only wait for so fast a memory is the part of a cycle before the first tile
        assert cost.causes["dram_stall"] <= 1


def test_decode_behind_a_slow_memory_takes_the_time_of_its_bytes():
    """4096 x 4096 two-bit weights are 4 MiB; at 1 byte per cycle they take 4 194 304 cycles."""
    cost = gemm_cost(GemmJob(Gemm(1, 4096, 4096)), EDGE, memory(1e9))
    assert cost.counts.dram_read_bits == 8 * 4_194_304
    assert 4_194_304 < cost.cycles < 4_194_304 + 64


def test_turnarounds_make_results_and_cache_writes_dearer():
    """64 x 64 two-byte outputs leave a buffer of 64 bytes; each written byte takes as long as three read ones."""
    array = sized(8, 8).model_copy(update={"activation_buffer_bytes": 64})
    slow = memory(1e8)
    plain, turning = (
        gemm_cost(GemmJob(Gemm(64, 64, 8), inputs_on_chip=True), array, slow.model_copy(update={"write_cost": cost}))
        for cost in (1.0, 3.0)
    )
    written = 64 * 64 * 2
    assert plain.counts == turning.counts
    assert plain.counts.dram_write_bits == 8 * written
    assert turning.cycles - plain.cycles == pytest.approx(2 * written * 10, rel=0.02)  # ten cycles per byte
    runs = [simulate(TINY, array, slow.model_copy(update={"write_cost": cost}), 9, 2) for cost in (1.0, 3.0)]
    caches = [next(op for op in run.phase("prefill").ops if op.name == "kv_cache_write") for run in runs]
    assert caches[1].cycles > 1.5 * caches[0].cycles


def test_prefill_reads_a_matrix_that_fits_the_buffer_once_and_others_once_per_token_tile():
    array = sized(8, 8).model_copy(update={"token_tile": 4, "weight_buffer_bytes": 64})
    fits = gemm_cost(GemmJob(Gemm(12, 16, 16)), array, memory())  # 4 tiles of 16 bytes
    grown = gemm_cost(GemmJob(Gemm(12, 16, 24), order="tokens"), array, memory())  # 6 tiles, three token tiles
    assert fits.counts.dram_read_bits == 8 * 64
    assert grown.counts.dram_read_bits == 8 * 96 * 3


shapes = st.builds(
    lambda heads, group, head_dim, f, layers: TINY.model_copy(
        update={
            "heads": heads * group, "kv_heads": heads, "head_dim": head_dim, "intermediate_size": f, "layers": layers
        }
    ),
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 50), st.integers(1, 3),
)  # fmt: skip
machines = st.builds(
    lambda rows, cols, buffer, mac: sized(rows, cols).model_copy(
        update={"activation_buffer_bytes": buffer, "weight_buffer_bytes": 64 * rows * cols, "vector_lanes": cols}
    ).baseline(mac),
    st.integers(1, 9), st.integers(1, 9), st.sampled_from([64, 256, 4096]),
    st.sampled_from(["ternary", "int8", "fp16"]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(shapes, machines, st.floats(1e7, 1e10), st.floats(1.0, 10.0))
def test_more_bandwidth_is_never_slower(shape, array, bandwidth, factor):
    """But for the 1 % that a GEMM may give away for less DRAM traffic (``gemm_cost``)."""
    slow = simulate(shape, array, memory(bandwidth), prefill=9, decode=3)
    fast = simulate(shape, array, memory(bandwidth * factor), prefill=9, decode=3)
    for before, after in zip(slow.phases, fast.phases, strict=True):
        assert after.cycles <= 1.01 * before.cycles


@settings(max_examples=60, deadline=None)
@given(st.builds(Gemm, *[st.integers(1, 40)] * 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))
def test_more_lanes_never_take_more_cycles_when_a_tile_loads_as_fast(gemm, rows, cols, factor):
    """The bus and the memory grow with the tile; only the deeper tree's latency may be added."""

    def cycles(width, height):
        array = ArrayConfig(
            name="a", rows=width, cols=height, weight_bus_bits=8 * width * height, adders_per_register=100
        )
        return closed_form(gemm, array).cycles - array.pipeline_latency

    assert cycles(rows * factor, cols) <= cycles(rows, cols)
    assert cycles(rows, cols * factor) <= cycles(rows, cols)


@settings(max_examples=30, deadline=None)
@given(shapes, machines, st.integers(2, 5))
def test_cycles_and_actions_are_additive_over_layers(shape, array, factor):
    one = simulate(shape.model_copy(update={"layers": 1}), array, memory(), prefill=6, decode=2)
    many = simulate(shape.model_copy(update={"layers": factor}), array, memory(), prefill=6, decode=2)
    for before, after in zip(one.phases, many.phases, strict=True):
        for op, repeated in zip(before.ops, after.ops, strict=True):
            times = 1 if op.name in ("embedding", "final_norm", "lm_head") else factor
            assert repeated.cycles == times * op.cycles
            assert repeated.counts == pytest.approx(op.counts.scaled(times))


def test_a_sliding_window_bounds_products_and_cache_reads():
    """Window 4: prefill of 10 sees 1 + 2 + 3 + 7 x 4 pairs per head; a decode step 4, with 4 keys per KV head."""
    shape = TINY.model_copy(update={"sliding_window": 4})
    result = simulate(shape, sized(4, 4), memory(), prefill=10, decode=3)
    scores = {phase.name: next(op for op in phase.ops if op.name == "attention_scores") for phase in result.phases}
    assert scores["prefill"].macs == 34 * 4 * 6 * 3
    assert scores["decode"].macs == 3 * 4 * 4 * 6 * 3
    assert scores["decode"].counts.dram_read_bits == 3 * 4 * 2 * 6 * 16 * 3


def test_lm_head_is_read_once_per_token_tile_of_sequences():
    array = sized(4, 4).model_copy(update={"token_tile": 4})
    heads = [
        next(op for op in simulate(TINY, array, memory(), 2, 1, batch).phase("decode").ops if op.name == "lm_head")
        for batch in (4, 9)
    ]
    assert [head.counts.dram_read_bits for head in heads] == [50 * 24 * 8, 3 * 50 * 24 * 8]


def test_vector_operations_of_a_decode_step_by_hand():
    """Per layer: two norms, four quantizations, RoPE, softmax over two keys, residuals, gate; one final norm."""
    decode = simulate(TINY, sized(4, 4), memory(), prefill=1, decode=1).phase("decode")
    quantize = 2 * (24 + 24 + 24 + 40)
    layer = 2 * 3 * 24 + quantize + 3 * (24 + 12) + 5 * 2 * 4 + 2 * 24 + 5 * 40
    assert decode.counts.vector_ops == 3 * layer + 3 * 24
    assert decode.counts.vector_macs == 3 * 2 * (2 * 4 * 6) + 50 * 24


@pytest.mark.parametrize("mac", ["ternary", "int8"])
def test_a_batch_repeats_attention_and_shares_weights(mac):
    array = sized(4, 4).baseline(mac)
    one, three = (simulate(TINY, array, memory(), 5, 2, batch).phase("decode") for batch in (1, 3))
    for before, after in zip(one.ops, three.ops, strict=True):
        if before.name.startswith("attention_") and before.macs:
            assert after.macs == 3 * before.macs
            assert after.counts.dram_read_bits == 3 * before.counts.dram_read_bits
        if before.name in LINEAR_KINDS:
            assert after.macs == 3 * before.macs
            assert after.counts.dram_read_bits == before.counts.dram_read_bits


def test_one_lane_model_of_primes_runs():
    shape = TINY.model_copy(update={"hidden_size": 7, "heads": 1, "kv_heads": 1, "head_dim": 1, "intermediate_size": 1})
    result = simulate(shape, sized(1, 1), memory(), prefill=1, decode=1)
    assert all(phase.cycles > 0 for phase in result.phases)


def test_statistics_say_whether_they_were_measured():
    ops = {op.name: op for op in simulate(TINY, sized(4, 4), memory(), 4, 2).phase("prefill").ops}
    assert not ops["q_proj"].statistics.measured
    assert ops["q_proj"].statistics.zero_fraction == pytest.approx(0.3101, abs=1e-4)  # P(|w| < E|w|/2), Gaussian tables
    assert ops["q_proj"].counts.array_macs_active == pytest.approx(ops["q_proj"].macs * (1 - 0.3101), rel=1e-3)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"prefill": 60, "decode": 5}, r"context must be at most 64 .* not prefill 60 \+ decode 5 = 65"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"prefill": 0}, "prefill must be at least 1, not 0"),
        ({"decode": -1}, "decode must be at least 0, not -1"),
    ],
)
def test_impossible_sizes_are_refused_with_the_numbers(sizes, message):
    with pytest.raises(InputError, match=message):
        simulate(TINY, sized(4, 4), memory(), **({"prefill": 4, "decode": 2} | sizes))


def test_a_reduction_that_could_overflow_is_refused():
    array = ArrayConfig(name="narrow", rows=2, cols=2, accumulator_bits=12)
    with pytest.raises(InputError, match="K = 24 needs accumulator_bits of at least 13, not 12"):
        simulate(TINY, array, memory(), 4, 2)
