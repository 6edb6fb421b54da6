"""Mappings of a GEMM: each moves what it says, the best of them is chosen, a fixed one is kept or refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import ArrayConfig, sized
from hw.errors import InputError
from hw.formats import GemmFormat
from quant.shapes import Gemm, load_shape
from sim.cores import ONE_CORE
from sim.gemm.closed_form import closed_form
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob, Mapping, candidates
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
