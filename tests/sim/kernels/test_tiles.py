"""The kernels: per-edge stepping equals naive machines, the closed form, and tile stepping where they overlap.

What holds for both organisations, and examples by hand of the tree; those of the grid are in ``test_grid.py``.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import ArrayConfig, sized
from quant.shapes import Gemm
from sim.gemm.closed_form import closed_form
from sim.gemm.cycles import count_cycles
from sim.gemm.tiling import TileGrid, fold_positions
from sim.kernels.causes import CycleCounts, TileCounts
from sim.kernels.rounds import TICKS_PER_CYCLE, CoreTiming, DramFeed, Rounds
from sim.kernels.tiles import step_tiles
from tests.naive_cycles import naive_cycles

pytestmark = pytest.mark.kernels


def grid(rows, cols, bus_bytes=1, **changes):
    return ArrayConfig(
        name="grid", organisation="systolic", rows=rows, cols=cols, token_tile=rows, weight_bus_bits=8 * bus_bytes,
        **changes,
    )  # fmt: skip


gemms = st.builds(Gemm, st.integers(1, 12), st.integers(1, 9), st.integers(1, 11))
trees = st.builds(
    lambda rows, cols, bus_bytes, token_tile, per_register: sized(rows, cols).model_copy(
        update={"weight_bus_bits": 8 * bus_bytes, "token_tile": token_tile, "adders_per_register": per_register}
    ),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 3),
)
grids = st.builds(grid, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
patterns = st.lists(st.integers(0, 1), max_size=120) | st.integers(1, 120).map(lambda edges: [0] * edges)
each_organisation = pytest.mark.parametrize("arrays", [trees, grids], ids=["tree", "systolic"])


@each_organisation
@settings(max_examples=300, deadline=None)
@given(st.data(), gemms, patterns, patterns, patterns)
def test_every_edge_has_the_cause_of_the_naive_machine(arrays, data, gemm, weights, activations, results):
    array = data.draw(arrays)
    counts = count_cycles(gemm, array, weights, activations, results)
    assert counts._asdict() == naive_cycles(gemm, array, weights, activations, results)


@each_organisation
@settings(max_examples=200, deadline=None)
@given(st.data(), gemms)
def test_stepping_without_stalls_is_the_closed_form(arrays, data, gemm):
    array = data.draw(arrays)
    assert count_cycles(gemm, array) == closed_form(gemm, array)


def test_one_element_gemm_by_hand():
    """One beat (edge 1), swap (2), issue (3), result transferred pipeline_latency = 1 + 0 + 1 + 1 edges later (6)."""
    array = ArrayConfig(name="lane", rows=1, cols=1, weight_bus_bits=8)
    assert count_cycles(Gemm(1, 1, 1), array) == CycleCounts(6, ideal=1, fill_drain=5, weight_stall=0)


def test_a_late_weight_beat_a_missing_vector_and_a_refused_result_by_hand():
    """Beat at edge 2 (1 stalls), swap 3, vector at 5 (4 starves), result valid at 8, taken at 9 (8 stalls)."""
    array = ArrayConfig(name="lane", rows=1, cols=1, weight_bus_bits=8)
    counts = count_cycles(Gemm(1, 1, 1), array, [0, 1], [1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 0])
    assert counts == CycleCounts(9, ideal=1, fill_drain=5, weight_stall=1, input_stall=1, output_stall=1)


def tile_step(gemm, array, **feed):
    tiles = TileGrid.of(gemm, array)
    rounds = Rounds(gemm.m, array.token_tile, tiles.column_tiles, tiles.folds)
    core = CoreTiming(array.weight_beats, array.weight_beats + array.scale_beats, array.pipeline_latency)
    positions = fold_positions(gemm.k, array.rows) if array.structure.outputs_stationary else ()
    return step_tiles(rounds, core, DramFeed(**feed), np.array(positions, np.int64))


@each_organisation
@settings(max_examples=200, deadline=None)
@given(st.data(), gemms, st.integers(1, 4))
def test_tile_stepping_without_dram_is_the_closed_form(arrays, data, gemm, buffer_tiles):
    array = data.draw(arrays)
    counts = tile_step(gemm, array, buffer_rounds=buffer_tiles)
    expected = closed_form(gemm, array)._asdict()
    assert expected.pop("input_stall") == 0
    assert counts == TileCounts(**expected, dram_stall=0, bytes_moved=0)


class SteppedDram:
    """Whole tiles fetched sequentially into a buffer, edge by edge; a call offers the weight bus a beat.

    The naive machine asks only when it would take the beat, so each offer is a beat taken.
    """

    def __init__(self, array, tiles, buffer_tiles, cycles_per_tile, first_word_cycles):
        self.beats, self.tiles = array.weight_beats, tiles
        self.buffer_tiles, self.per_tile = buffer_tiles, cycles_per_tile
        self.dram_free, self.edge, self.taken, self.arrivals = first_word_cycles, -1, 0, []

    def __call__(self, edge):
        while self.edge < edge - 1:  # fetches that start right after each edge since the last call
            self.edge += 1
            while (
                len(self.arrivals) < self.tiles
                and len(self.arrivals) - self.taken // self.beats < self.buffer_tiles
                and self.dram_free <= self.edge
            ):
                self.dram_free = self.edge + self.per_tile
                self.arrivals.append(self.dram_free)
        here = sum(arrival < edge for arrival in self.arrivals)
        offer = here > self.taken // self.beats
        self.taken += offer
        return offer


@each_organisation
@settings(max_examples=300, deadline=None)
@given(st.data(), gemms, st.integers(1, 4), st.integers(0, 20), st.integers(0, 30))
def test_tile_stepping_is_edge_stepping_behind_the_same_dram(arrays, data, gemm, buffer_tiles, per_tile, first_word):
    array = data.draw(arrays)
    tiles = TileGrid.of(gemm, array).tiles
    feed = SteppedDram(array, tiles, buffer_tiles, per_tile, first_word)
    edges = naive_cycles(gemm, array, weights=feed)
    counts = tile_step(
        gemm, array, buffer_rounds=buffer_tiles, ticks_per_byte=per_tile * TICKS_PER_CYCLE,
        first_word_ticks=first_word * TICKS_PER_CYCLE, weight_bytes=1,
    )  # fmt: skip
    for cause in ("cycles", "ideal", "fill_drain", "output_stall"):
        assert getattr(counts, cause) == edges[cause]
    assert counts.weight_stall + counts.dram_stall == edges["weight_stall"]
    assert counts.bytes_moved == tiles


@settings(max_examples=200, deadline=None)
@given(gemms, trees, st.integers(1, 4), st.integers(0, 1 << 26), st.integers(0, 1 << 26))
def test_a_faster_memory_never_delays_a_gemm(gemm, array, buffer_tiles, ticks, fewer):
    feed = {"buffer_rounds": buffer_tiles, "ticks_per_byte": ticks + fewer, "weight_bytes": 3}
    slow = tile_step(gemm, array, **feed)
    assert slow.output_stall == 0  # one core has nothing to reduce
    assert tile_step(gemm, array, **feed | {"ticks_per_byte": ticks}).cycles <= slow.cycles
    assert tile_step(gemm, array, **feed | {"buffer_rounds": buffer_tiles + 1}).cycles <= slow.cycles


def test_waits_for_a_slow_memory_are_not_charged_to_the_bus():
    """Three one-beat tiles every 10 cycles: beats at 11, 21, 31, swaps after them, one vector each, drain of 3.

    Waits: 10 before the first beat, then from vector 13 to swap 22 and from 23 to 32: 9 each.
    """
    array = ArrayConfig(name="lane", rows=1, cols=1, weight_bus_bits=8)
    counts = tile_step(Gemm(1, 3, 1), array, buffer_rounds=4, ticks_per_byte=10 * TICKS_PER_CYCLE, weight_bytes=1)
    assert counts == TileCounts(36, 3, 5, weight_stall=0, dram_stall=28, output_stall=0, bytes_moved=3)


def test_waits_for_a_slow_bus_are_not_charged_to_the_memory():
    """Three four-beat tiles from a memory of one cycle each: beats 2..5, 6..9, 10..13; vectors at 7, 11, 15."""
    array = ArrayConfig(name="row", rows=16, cols=1, weight_bus_bits=8)
    counts = tile_step(Gemm(1, 3, 16), array, buffer_rounds=4, ticks_per_byte=TICKS_PER_CYCLE, weight_bytes=1)
    drain = array.pipeline_latency
    assert counts == TileCounts(15 + drain, 3, 5 + drain, weight_stall=6, dram_stall=1, output_stall=0, bytes_moved=3)


def test_a_sink_that_takes_nothing_stops_the_array_when_its_credits_are_gone():
    """Forty vectors of one fold each; until edge 60 no result leaves, so only result_queue_depth vectors enter."""
    array = ArrayConfig(name="lane", rows=1, cols=1, weight_bus_bits=8, token_tile=64)
    counts = count_cycles(Gemm(40, 1, 1), array, results_ready=[0] * 60)
    refused = 60 - 2 - array.result_queue_depth  # edges 1 and 2 load and swap
    assert (counts.output_stall, counts.ideal) == (refused + 1, 40)  # the first credit comes back one edge later


def test_rates_need_not_be_whole_cycles():
    """Ten tiles of 3 bytes at 2 bytes per cycle, bus and array faster: 15 cycles of DRAM, then beat, swap, issue."""
    array = ArrayConfig(name="lane", rows=1, cols=1, weight_bus_bits=8)
    counts = tile_step(Gemm(1, 10, 1), array, buffer_rounds=10, ticks_per_byte=TICKS_PER_CYCLE // 2, weight_bytes=3)
    assert counts.cycles == 15 + 1 + 1 + 1 + array.pipeline_latency


fed_gemms = st.builds(Gemm, st.integers(1, 12), st.integers(1, 12), st.integers(1, 24))
feeds = st.tuples(st.integers(1, 4), st.integers(1, 1 << 27), st.integers(1, 8), st.integers(0, 30))


@each_organisation
@settings(max_examples=400, deadline=None)
@given(st.data(), fed_gemms, feeds)
def test_a_doubling_saves_at_most_twice_what_its_cause_is_charged(arrays, data, gemm, fed):
    """A bus that is not on the chain of waits could be twice as wide and save nothing but the first tile's load."""
    array = data.draw(arrays)
    buffer_tiles, ticks, tile_bytes, first_word = fed
    feed = {
        "buffer_rounds": buffer_tiles, "ticks_per_byte": 2 * ticks, "weight_bytes": tile_bytes,
        "first_word_ticks": first_word * TICKS_PER_CYCLE,
    }  # fmt: skip
    counts = tile_step(gemm, array, **feed)
    more_channels = tile_step(gemm, array, **feed | {"ticks_per_byte": ticks})
    wide = array.model_copy(update={"weight_bus_bits": 2 * array.weight_bus_bits})
    first_load = array.weight_beats - wide.weight_beats
    waits = counts.weight_stall + counts.dram_stall
    assert counts.cycles - more_channels.cycles <= 2 * counts.dram_stall + 1  # edges are whole
    assert counts.cycles - tile_step(gemm, wide, **feed).cycles <= min(waits, 2 * counts.weight_stall + 2) + first_load


def test_the_slower_of_two_rates_is_charged_though_both_make_the_array_wait():
    """A hundred tiles of four beats: DRAM of five cycles takes all the waits, and of three cycles none."""
    array = ArrayConfig(name="row", rows=16, cols=1, weight_bus_bits=8)
    slow, fast = (
        tile_step(Gemm(1, 100, 16), array, buffer_rounds=4, ticks_per_byte=cycles * TICKS_PER_CYCLE, weight_bytes=1)
        for cycles in (5, 3)
    )
    assert (slow.weight_stall, slow.dram_stall) == (396 * 4 // 400, 5 + 396 - 396 * 4 // 400)
    assert (fast.weight_stall, fast.dram_stall) == (99 * 3, 3)


def test_rates_that_take_turns_share_the_waits():
    """One slot: four beats, then three cycles of DRAM for the next tile, and again: seven cycles, one of them ideal."""
    array = ArrayConfig(name="row", rows=16, cols=1, weight_bus_bits=8)
    feed = {"buffer_rounds": 1, "ticks_per_byte": 3 * TICKS_PER_CYCLE, "weight_bytes": 1}
    counts = tile_step(Gemm(1, 71, 16), array, **feed)
    waits = 70 * (4 + 3 - 1)
    assert (counts.weight_stall, counts.dram_stall) == (waits * 4 // 7, 3 + waits - waits * 4 // 7)
