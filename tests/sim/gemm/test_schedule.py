"""Mappings of a GEMM: each moves what it says, the best of them is chosen, a fixed one is kept or refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import ArrayConfig, sized
from hw.errors import InputError
from hw.formats import GemmFormat
from quant.shapes import Gemm, load_shape
from sim.cores import ONE_CORE, CoreGroup
from sim.gemm.closed_form import closed_form
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob, Mapping, candidates, step_mapping
from sim.memory import load_memory
from sim.simulator import simulate

LPDDR5 = load_memory("lpddr5-6400")
ARRAY = sized(8, 8).model_copy(
    update={"token_tile": 4, "weight_buffer_bytes": 96, "activation_buffer_bytes": 256}
)  # tiles of 16 bytes


def test_columns_outermost_reads_weights_once_and_inputs_once_per_block():
    """40 x 24 on 8 x 8: five column tiles of three folds; 96 bytes hold two column tiles, so three blocks."""
    job = GemmJob(Gemm(12, 40, 24))
    columns = gemm_cost(job._replace(order="columns"), ARRAY, LPDDR5)
    tokens = gemm_cost(job._replace(order="tokens"), ARRAY, LPDDR5)
    matrix, inputs = 8 * 15 * 16, 12 * 24 * 8
    assert columns.counts.dram_read_bits == matrix + 3 * inputs
    assert tokens.counts.dram_read_bits == 3 * matrix + inputs
    assert columns.causes["ideal"] == tokens.causes["ideal"] == 12 * 15
    assert columns.counts.weight_buffer_read_bits == tokens.counts.weight_buffer_read_bits


def test_the_best_of_the_tried_ones_is_chosen_and_all_are_listed():
    job = GemmJob(Gemm(12, 40, 24))
    best = gemm_cost(job, ARRAY, LPDDR5)
    fixed = {order: gemm_cost(job._replace(order=order), ARRAY, LPDDR5) for order in ("tokens", "columns")}
    assert best.cycles <= 1.01 * min(cost.cycles for cost in fixed.values())
    assert set(best.tried) == set(fixed["tokens"].tried) | set(fixed["columns"].tried)
    assert next(iter(best.tried.values())) == best.cycles


def test_decode_has_one_mapping_on_one_core():
    assert candidates(GemmJob(Gemm(1, 40, 24)), ARRAY, ONE_CORE) == [Mapping("tokens", 1, 5)]


def test_a_fixed_descriptor_is_kept():
    job = GemmJob(Gemm(12, 40, 24), order="tokens", descriptor_tokens=3)
    assert candidates(job, ARRAY, ONE_CORE) == [Mapping("tokens", 3, 5)]
    cost = gemm_cost(job, ARRAY, LPDDR5)
    assert cost.counts.weight_buffer_read_bits == 4 * 15 * ARRAY.weight_beats * ARRAY.weight_bus_bits


def test_columns_that_do_not_fit_are_refused_with_the_numbers():
    with pytest.raises(InputError, match=r"1 column tiles of K = 64 \(128 bytes\), not 96 of array '8x8'"):
        gemm_cost(GemmJob(Gemm(12, 40, 64), order="columns"), ARRAY, LPDDR5)


SLOW = LPDDR5.model_copy(
    update={"channels": 1, "peak_bytes_per_s": ARRAY.clock_hz, "sequential_efficiency": 1.0, "latency_s": 0.0}
)  # a byte per cycle


@pytest.mark.parametrize(
    ("buffer_bytes", "reads"),
    [
        (400, (1, 1)),  # a token tile's slab, 4 x (24 + 2 x 8 x 2) = 224 bytes, stays for every column tile and plane
        (223, (5, 10)),  # it does not: each plane of each of the five column tiles reads the inputs again
    ],
)
def test_inputs_that_stay_come_once_whatever_the_planes_in_bytes_and_in_time(buffer_bytes, reads):
    """12 tokens of K = 24 on 8 x 8, nothing but inputs from DRAM, a byte of which takes 32 cycles."""
    slow = SLOW.model_copy(update={"peak_bytes_per_s": ARRAY.clock_hz / 32})
    array = ARRAY.model_copy(update={"activation_buffer_bytes": buffer_bytes, "planes": 2})
    for planes, times in zip((1, 2), reads, strict=True):
        job = GemmJob(Gemm(12, 40, 24), planes, outputs_on_chip=True, weights_on_chip=True, descriptor_tokens=12)
        cost = gemm_cost(job, array, slow)
        assert cost.counts.dram_read_bits == 8 * times * 12 * 24
        fetched = 32 * times * 12 * 24  # cycles, behind which most beats of weights hide
        assert fetched <= cost.cycles < 1.2 * fetched


@settings(max_examples=150, deadline=None)
@given(
    st.builds(Gemm, st.integers(1, 20), st.integers(1, 30), st.integers(1, 40)),
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 40)),
    st.integers(16, 600),
    st.sampled_from(("tokens", "columns")),
    st.builds(CoreGroup, count=st.integers(1, 3), split=st.sampled_from(("columns", "rows"))),
    st.booleans(),
)
def test_dram_takes_time_for_the_bytes_that_are_counted(gemm, planes, group, buffer_bytes, order, cores, partly):
    array = ARRAY.model_copy(
        update={"activation_buffer_bytes": buffer_bytes, "weight_buffer_bytes": 4096, "planes": planes}
    )
    columns = tuple(max(1, gemm.k // (1 + plane)) for plane in range(planes)) if partly else ()
    job = GemmJob(gemm, planes, group, order=order, descriptor_tokens=gemm.m, plane_columns=columns)
    (mapping,) = candidates(job, array, cores)
    counts = gemm_cost(job, array, LPDDR5, cores).counts
    bits = counts.dram_read_bits + counts.dram_write_bits
    assert 8 * step_mapping(job, mapping, array, LPDDR5, cores).dram_bytes == bits


def test_a_shallow_prefetch_is_never_faster():
    slow = LPDDR5.model_copy(update={"peak_bytes_per_s": 1e8})
    cycles = [
        gemm_cost(GemmJob(Gemm(40, 40, 24), prefetch_rounds=depth, order="tokens"), ARRAY, slow).cycles
        for depth in (1, 2, 4, None)
    ]
    assert cycles == sorted(cycles, reverse=True)


@settings(max_examples=80, deadline=None)
@given(st.builds(Gemm, *[st.integers(1, 30)] * 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 5))
def test_an_array_that_requantizes_takes_the_closed_form_with_its_scales(gemm, rows, cols, planes):
    """Multipliers of 16 bits per output follow the last fold; both models of docs/architecture.md count their beats."""
    array = ArrayConfig(
        name="a", rows=rows, cols=cols, weight_bus_bits=8, results="int8", planes=planes, digits=planes > 1
    )
    job = GemmJob(gemm, planes=planes, inputs_on_chip=True, outputs_on_chip=True, weights_on_chip=True)
    expected = closed_form(gemm, array, GemmFormat(planes=planes, row_scales=True))
    cost = gemm_cost(job, array, LPDDR5)
    assert (cost.cycles, cost.causes["ideal"]) == (expected.cycles + 1, expected.ideal)


def test_scales_and_exponents_come_from_memory_with_their_weights():
    """16 x 16 on 8 x 8: four tiles of 16 bytes and eight 2-bit exponents, two columns of eight 16-bit multipliers."""
    fields = sized(8, 8).model_dump() | {"results": "int8", "group_exponent_bits": 2}
    cost = gemm_cost(GemmJob(Gemm(1, 16, 16)), ArrayConfig(**fields), LPDDR5)
    assert cost.counts.dram_read_bits == 8 * (4 * (16 + 2) + 2 * 16)


def test_requantizing_beside_the_array_frees_the_vector_unit():
    fields = sized(32, 32).model_dump() | {"vector_lanes": 1, "weight_bus_bits": 512}
    plain, beside = (
        simulate(load_shape("stories260K"), ArrayConfig(**fields | {"results": results}), LPDDR5, 9, 2).phase("prefill")
        for results in ("sums", "int8")
    )
    waits = [next(op for op in phase.ops if op.name == "q_proj").causes["vector"] for phase in (plain, beside)]
    assert waits[0] > waits[1] == 0


def test_planes_over_a_part_of_k_take_the_tiles_of_that_part():
    """K = 40 in groups of 16 on 8 rows: 5 tiles of a whole plane, 2 of one over a group, 3 of one over 24 positions."""
    whole = GemmJob(Gemm(12, 40, 40), 3, 16)
    parts = whole._replace(plane_columns=(16, 24, 40))
    assert (whole.folds(8), parts.folds(8)) == (15, 2 + 3 + 5)
    assert parts.positions(8) == (8,) * 10
    assert parts.macs == 12 * 40 * (16 + 24 + 40)
    assert gemm_cost(whole._replace(plane_columns=(40,) * 3), ARRAY, LPDDR5) == gemm_cost(whole, ARRAY, LPDDR5)
    few, many = (gemm_cost(job, ARRAY, LPDDR5) for job in (parts, whole))
    assert few.macs == few.counts.array_macs == parts.macs
    assert few.causes["ideal"] == many.causes["ideal"] * 10 // 15
    assert few.cycles < many.cycles
