"""Column tiles that are passed over: the counts of every round stepped, at every balance of bus, array and DRAM."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.kernels.causes import TileCounts
from sim.kernels.rounds import TICKS_PER_CYCLE, CoreTiming, DramFeed, Rounds
from sim.kernels.tiles import step_tiles
from tests.naive_tiles import naive_tiles

pytestmark = pytest.mark.kernels

Gemm = tuple[Rounds, CoreTiming, DramFeed, np.ndarray]
WEIGHTS_STATIONARY = np.array([], np.int64)


def gemm_of(integer: Callable[[int, int], int]) -> Gemm:
    """A GEMM whose DRAM is often nearly as fast as its bus or its array, where regimes follow each other.

    ``integer``: draws a number from its first argument to its second.
    """

    def one_of(*values: int) -> int:
        return values[integer(0, len(values) - 1)]

    token_tile, folds = integer(1, 40), integer(1, 9)
    tokens = integer(1, 3 * token_tile)
    column_cores, fold_cores = integer(1, 3), integer(1, 3)
    beats = integer(1, 20)
    core = CoreTiming(
        beats=beats,
        last_beats=beats + integer(0, 8),
        latency=integer(0, 9),
        result_interval=one_of(1, 1, 2),
        double_buffer=bool(integer(0, 1)),
    )
    weight_bytes = integer(0, 32)
    balanced = one_of(beats, min(tokens, token_tile)) * TICKS_PER_CYCLE // max(weight_bytes, 1)
    per_mille = one_of(0, 500, 990, 999, 1000, 1001, 1010, 1500, 3000)
    ticks = balanced * per_mille // 1000
    feed = DramFeed(
        buffer_rounds=integer(1, 30),
        ticks_per_byte=ticks,
        ticks_per_written_byte=2 * ticks,
        first_word_ticks=integer(0, 1 << 28),
        head_start=one_of(0, 0, 1000),
        weight_bytes=weight_bytes,
        scale_bytes=integer(0, 4),
        weights_stay=bool(integer(0, 1)),
        input_bytes=integer(0, 2),
        input_folds=integer(0, folds),
        inputs_stay=bool(integer(0, 1)),
        output_bytes=integer(0, 2),
    )
    positions = [integer(1, 12) for _ in range(folds)] if integer(0, 1) else []
    rounds = Rounds(tokens, token_tile, integer(1, 120), folds, column_cores, fold_cores)
    return rounds, core, feed, np.array(positions, np.int64)


@st.composite
def gemms(draw):
    """Those that Hypothesis makes smaller until they say what is wrong."""
    return gemm_of(lambda low, high: draw(st.integers(low, high)))


def often_at_an_end(draw: random.Random) -> Callable[[int, int], int]:
    """Numbers of a range, its ends more often than others, and of a wide range small ones as often as large ones."""

    def integer(low: int, high: int) -> int:
        kind = draw.randrange(16)
        if kind < 2:
            return high if kind else low
        bits = (high - low).bit_length()
        return min(high, low + draw.getrandbits(draw.randint(1, bits))) if bits > 8 else draw.randint(low, high)

    return integer


@settings(max_examples=1000, deadline=None)
@given(gemms())
def test_passing_over_columns_changes_no_count(gemm):
    assert step_tiles(*gemm) == naive_tiles(*gemm)


@pytest.mark.slow
def test_passing_over_columns_changes_no_count_of_many_gemms():
    """Drawn without Hypothesis, whose own work is fifty times that of both countings."""
    integer = often_at_an_end(random.Random(7))
    for _ in range(200_000):
        gemm = gemm_of(integer)
        assert step_tiles(*gemm) == naive_tiles(*gemm), gemm


COLUMNS = 10**8  # which nothing steps one by one


def test_a_hundred_million_columns_behind_a_slow_bus():
    """Four beats a tile and one vector: 4 cycles each but for the first swap; DRAM of a cycle a tile is ahead."""
    feed = DramFeed(buffer_rounds=4, ticks_per_byte=TICKS_PER_CYCLE, weight_bytes=1)
    counts = step_tiles(Rounds(1, 1, COLUMNS, 1), CoreTiming(4, 4, 3), feed, WEIGHTS_STATIONARY)
    assert counts == TileCounts(
        1 + 4 * COLUMNS + 2 + 3, COLUMNS, 5 + 3, 3 * (COLUMNS - 1), 1, output_stall=0, bytes_moved=COLUMNS
    )


def test_a_hundred_million_columns_behind_a_dram_whose_tiles_are_no_whole_cycles():
    """A beat and a vector a tile, and 10/3 cycles of DRAM, which no number of tiles makes whole."""
    ticks = 10 * TICKS_PER_CYCLE // 3
    feed = DramFeed(buffer_rounds=4, ticks_per_byte=ticks, weight_bytes=1)
    counts = step_tiles(Rounds(1, 1, COLUMNS, 1), CoreTiming(1, 1, 3), feed, WEIGHTS_STATIONARY)
    last_arrival = -(-COLUMNS * ticks // TICKS_PER_CYCLE)
    cycles = last_arrival + 1 + 1 + 1 + 3  # beat, swap, vector, drain
    assert counts == TileCounts(cycles, COLUMNS, 5, 0, cycles - COLUMNS - 5, output_stall=0, bytes_moved=COLUMNS)


def test_a_hundred_million_columns_of_an_array_that_is_slower_than_bus_and_dram():
    """Nine vectors a tile, one beat, two cycles of DRAM: only the first tile is waited for."""
    feed = DramFeed(buffer_rounds=4, ticks_per_byte=2 * TICKS_PER_CYCLE, weight_bytes=1)
    counts = step_tiles(Rounds(9, 9, COLUMNS, 1), CoreTiming(1, 1, 3), feed, WEIGHTS_STATIONARY)
    assert counts == TileCounts(2 + 2 + 9 * COLUMNS + 3, 9 * COLUMNS, 2 + 3, 0, 2, output_stall=0, bytes_moved=COLUMNS)


def test_a_hundred_million_columns_in_which_dram_is_a_millionth_faster_and_gains_on_a_large_buffer():
    """The bus sets the pace, and DRAM, ahead by ever more tiles, waits for room from somewhere on."""
    feed = DramFeed(buffer_rounds=64, ticks_per_byte=4 * TICKS_PER_CYCLE - 64, weight_bytes=1)
    counts = step_tiles(Rounds(1, 1, COLUMNS, 1), CoreTiming(4, 4, 3), feed, WEIGHTS_STATIONARY)
    assert counts.cycles == 4 + 4 * COLUMNS + 2 + 3
