"""The systolic grid by hand and in whole models; what it shares with the tree is claimed in ``test_tiles.py``."""

import pytest

from hw.config import ArrayConfig, load_array
from quant.shapes import LINEAR_KINDS, Gemm, load_shape
from sim.gemm.closed_form import closed_form
from sim.gemm.cost import gemm_cost
from sim.gemm.cycles import count_cycles
from sim.gemm.schedule import GemmJob
from sim.kernels.causes import CycleCounts
from sim.memory import load_memory
from sim.simulator import simulate
from tests.sim.kernels.test_tiles import grid

pytestmark = pytest.mark.kernels


def test_one_element_gemm_by_hand():
    """One beat (edge 1), swap (2), issue (3), result transferred cols + 4 edges later (8)."""
    assert count_cycles(Gemm(1, 1, 1), grid(1, 1)) == CycleCounts(8, ideal=1, fill_drain=7, weight_stall=0)


def test_two_columns_of_one_position_by_hand():
    """2 x 2 on a 2 x 1 grid, K = 1: beats 1 and 2, swaps 2 and 3, final issues 3 and 5 (4 is behind the wave).

    The two results of the second leave on edges 5 + 5 and 5 + 6.
    """
    counts = count_cycles(Gemm(2, 2, 1), grid(2, 1))
    assert counts == CycleCounts(11, ideal=2, fill_drain=2 + 1 + 6, weight_stall=0)


def test_a_decode_step_uses_one_row_of_the_grid():
    """1 x 4096 x 4096 on 32 x 32: 4096 positions for each of 128 column tiles, one edge between two."""
    edge = load_array("edge-32x32")
    array = ArrayConfig(**edge.model_dump() | {"organisation": "systolic", "token_tile": 32, "chain_lanes": 1})
    counts = closed_form(Gemm(1, 4096, 4096), array)
    assert counts.ideal == 128 * 4096
    assert counts.fill_drain == array.weight_beats + 1 + 127 + array.pipeline_latency
    assert counts.cycles > 3.9 * closed_form(Gemm(1, 4096, 4096), edge).cycles


@pytest.mark.parametrize("mac", ["ternary", "int8"])
def test_a_whole_model_runs_on_a_grid(mac):
    """Every multiply is there, and the sums stay in registers of the processing elements."""
    array = grid(4, 4).baseline(mac)
    result = simulate(load_shape("stories260K"), array, load_memory("lpddr5-6400"), 9, 2)
    for phase, tokens in zip(result.phases, (9, 2), strict=True):
        macs = sum(op.macs for op in phase.ops if op.name in LINEAR_KINDS)
        assert macs == tokens * load_shape("stories260K").linear_parameters
        linears = [op for op in phase.ops if op.name in LINEAR_KINDS]
        assert all(op.counts.accumulator_read_bits == op.counts.accumulator_write_bits == 0 for op in linears)
        assert all(sum(op.causes.values()) == op.cycles for op in phase.ops)


def test_operands_are_read_once_per_column_tile():
    array = grid(4, 4)
    cost = gemm_cost(GemmJob(Gemm(3, 8, 10)), array, load_memory("lpddr5-6400"))
    assert cost.counts.activation_buffer_read_bits == 2 * 3 * 10 * 8
    assert cost.counts.array_macs_padding == 2 * 10 * 16 - 3 * 8 * 10
