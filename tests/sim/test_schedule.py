"""Mappings of a GEMM: each moves what it says, the best of them is chosen, a fixed one is kept or refused."""

import pytest

from hw.config import sized
from hw.errors import InputError
from quant.shapes import Gemm
from sim.cores import ONE_CORE
from sim.gemm import GemmJob, gemm_cost
from sim.memory import load_memory
from sim.schedule import Mapping, candidates

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
