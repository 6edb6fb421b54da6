"""The systolic grid: edge stepping equals a naive machine, the recurrence and tile stepping behind the same DRAM."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import ArrayConfig, load_array
from quant.shapes import LINEAR_KINDS, Gemm, load_shape
from sim.analytic import CycleCounts, TileGrid, closed_form, fold_positions
from sim.core import TICKS_PER_CYCLE, step_tiles
from sim.cycles import count_cycles
from sim.gemm import GemmJob, gemm_cost
from sim.memory import load_memory
from sim.simulator import simulate
from tests.sim.naive_grid import naive_grid_cycles
from tests.sim.test_core import DramFeed, at_edge, patterns

pytestmark = pytest.mark.kernels


def grid(rows, cols, bus_bytes=1, **changes):
    return ArrayConfig(
        name="grid", organisation="systolic", rows=rows, cols=cols, token_tile=rows, weight_bus_bits=8 * bus_bytes,
        **changes,
    )  # fmt: skip


gemms = st.builds(Gemm, st.integers(1, 12), st.integers(1, 9), st.integers(1, 11))
grids = st.builds(grid, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))


@settings(max_examples=300, deadline=None)
@given(gemms, grids, patterns, patterns, patterns)
def test_every_edge_has_the_cause_of_the_naive_machine(gemm, array, weights, activations, results):
    expected = naive_grid_cycles(gemm, array, at_edge(weights), at_edge(activations), at_edge(results))
    counts = count_cycles(gemm, array, weights, activations, results)
    assert {name: value for name, value in counts._asdict().items() if name != "cycles" and value} == dict(expected)
    assert counts.cycles == sum(expected.values())


@settings(max_examples=200, deadline=None)
@given(gemms, grids)
def test_stepping_without_stalls_is_the_recurrence(gemm, array):
    assert count_cycles(gemm, array) == closed_form(gemm, array)


def test_one_element_gemm_by_hand():
    """One beat (edge 1), swap (2), issue (3), result transferred cols + 4 edges later (8)."""
    assert count_cycles(Gemm(1, 1, 1), grid(1, 1)) == CycleCounts(8, ideal=1, fill_drain=7, weight_stall=0)


def test_two_columns_of_one_position_by_hand():
    """2 x 2 on a 2 x 1 grid, K = 1: beats 1 and 2, swaps 2 and 3, final issues 3 and 5 (4 is behind the wave).

    The two results of the second leave on edges 5 + 5 and 5 + 6.
    """
    counts = count_cycles(Gemm(2, 2, 1), grid(2, 1))
    assert counts == CycleCounts(11, ideal=2, fill_drain=2 + 1 + 6, weight_stall=0)


def tile_step(gemm, array, buffer_tiles=1, ticks_per_byte=0, first_word_ticks=0, weight_bytes=0):
    tiles = TileGrid.of(gemm, array)
    positions = np.array(fold_positions(gemm.k, array), np.int64)
    return step_tiles(
        gemm.m, array.token_tile, tiles.column_tiles, tiles.folds, positions, 1, 1, array.weight_beats,
        array.weight_beats, array.pipeline_latency, 1, buffer_tiles, ticks_per_byte, ticks_per_byte, first_word_ticks,
        0, weight_bytes, 0, False, 0, True, 0, True,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(gemms, grids, st.integers(1, 4))
def test_tile_stepping_without_dram_is_the_recurrence(gemm, array, buffer_tiles):
    cycles, ideal, fill_drain, weight_stall, dram_stall, output_stall, moved = tile_step(gemm, array, buffer_tiles)
    assert CycleCounts(cycles, ideal, fill_drain, weight_stall, 0, output_stall) == closed_form(gemm, array)
    assert (dram_stall, moved) == (0, 0)


@settings(max_examples=200, deadline=None)
@given(gemms, grids, st.integers(1, 4), st.integers(0, 20), st.integers(0, 30))
def test_tile_stepping_is_edge_stepping_behind_the_same_dram(gemm, array, buffer_tiles, per_tile, first_word):
    tiles = TileGrid.of(gemm, array).tiles
    feed = DramFeed(array, tiles, buffer_tiles, per_tile, first_word)
    edges = naive_grid_cycles(gemm, array, feed, lambda edge: True, lambda edge: True)
    whole = tile_step(gemm, array, buffer_tiles, per_tile * TICKS_PER_CYCLE, first_word * TICKS_PER_CYCLE, 1)
    cycles, ideal, fill_drain, weight_stall, dram_stall, output_stall, moved = whole
    assert (ideal, fill_drain, output_stall) == (edges["ideal"], edges["fill_drain"], edges["output_stall"])
    assert weight_stall + dram_stall == edges["weight_stall"]
    assert (cycles, moved) == (sum(edges.values()), tiles)


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
