"""Every round of weight tiles of a GEMM stepped: what ``sim.kernels.tiles`` gives, which passes over some of them."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from sim.kernels.causes import DRAM_STALL, FILL_DRAIN, IDEAL, OUTPUT_STALL, WEIGHT_STALL, TileCounts
from sim.kernels.rounds import TICKS_PER_CYCLE, CoreTiming, DramFeed, Rounds

__all__ = ["naive_tiles"]

_LONG_AGO = -(1 << 40)  # an edge before every GEMM


class _Round(NamedTuple):
    """The tiles of one round."""

    tokens: int
    columns: int
    folds: int
    input_folds: int  # of them that may bring inputs
    first_tokens: bool
    first_columns: bool
    last_folds: bool


@njit(cache=True)
def naive_tiles(rounds: Rounds, core: CoreTiming, feed: DramFeed, positions: np.ndarray) -> TileCounts:
    """Step a GEMM to its last result.

    ``positions``: int64, positions of K in each fold where outputs are stationary: a tile takes a vector per position,
    and the last of a column tile releases a result per token. Empty where weights are: a tile takes a vector per token,
    and each of a last fold releases a result.
    """
    slot_free = np.full(feed.buffer_rounds, -feed.head_start, np.int64)  # ring: edge of the last beat out of each slot
    slot_beats = np.zeros(feed.buffer_rounds, np.int64)  # on the chain of waits to that edge
    slot_moves = np.zeros(feed.buffer_rounds, np.int64)  # DRAM's ticks on it
    dram_ticks = feed.first_word_ticks - feed.head_start * TICKS_PER_CYCLE
    dram_beats, dram_moves = 0, 0  # the same on the chain to ``dram_ticks``
    swap_beats, swap_moves = 0, 0  # and to the latest swap, which is that of the vectors behind it
    stationary = positions.size > 0  # outputs are
    loaded, swapped, done, restart = 0, 0, 0, 0
    released, leaving = _LONG_AGO, 0  # of the last column tile: edge of its last issue, its results
    counts = np.zeros(6, np.int64)  # cycles by cause
    number, moved, without_tile = 0, 0, 0
    for first_token in range(0, rounds.tokens, rounds.token_tile):
        tokens = min(rounds.token_tile, rounds.tokens - first_token)
        for first_column in range(0, rounds.column_tiles, rounds.column_cores):
            columns = min(rounds.column_cores, rounds.column_tiles - first_column)
            for first_fold in range(0, rounds.folds, rounds.fold_cores):
                folds = min(rounds.fold_cores, rounds.folds - first_fold)
                last = first_fold + folds == rounds.folds
                bring = max(0, min(folds, feed.input_folds - first_fold))
                tiles = _Round(tokens, columns, folds, bring, first_token == 0, first_column == 0, last)
                slot = number % feed.buffer_rounds
                read, written = _bytes_read(feed, tiles), _bytes_written(feed, tiles)
                arrived = 0
                if read + written > 0:
                    if slot_free[slot] * TICKS_PER_CYCLE > dram_ticks:
                        dram_ticks = slot_free[slot] * TICKS_PER_CYCLE
                        dram_beats, dram_moves = slot_beats[slot], slot_moves[slot]
                    ticks = read * feed.ticks_per_byte + written * feed.ticks_per_written_byte
                    dram_ticks += ticks
                    dram_moves += ticks if number > 0 else 0
                    arrived = -(-dram_ticks // TICKS_PER_CYCLE)
                    moved += read + written

                bus_free = max(loaded + 1, swapped) if core.double_buffer else done + 1
                load_start = max(bus_free, arrived + 1)
                beats = core.last_beats if last else core.beats
                slot_free[slot] = loaded = load_start + beats - 1
                swapped = max(loaded + 1, done)
                if number == 0:
                    counts[FILL_DRAIN] += beats + 1
                    counts[DRAM_STALL] += load_start - 1
                else:
                    waits_for_bytes = arrived + 1 >= bus_free and read + written > 0
                    load_beats, load_moves = (dram_beats, dram_moves) if waits_for_bytes else (swap_beats, swap_moves)
                    load_beats += beats
                    slot_beats[slot], slot_moves[slot] = load_beats, load_moves
                    if loaded >= done:
                        swap_beats, swap_moves = load_beats, load_moves
                    without_tile += swapped - done

                if stationary:
                    idle = max(0, done + restart - swapped)
                    issues = positions[first_fold : first_fold + folds].max()
                    free = released + leaving * core.result_interval
                    waits = max(0, free - (swapped + idle + issues)) if last else 0
                else:
                    idle, issues = 0, tokens
                    waits = issues * (core.result_interval - 1) if last else 0
                done = swapped + idle + issues + waits
                restart = 1 if stationary and last else 0
                if last:
                    released, leaving = done, tokens
                counts[IDEAL] += issues
                counts[FILL_DRAIN] += idle
                counts[OUTPUT_STALL] += waits
                number += 1
    drain = core.latency + (leaving - 1 if stationary else 0)
    counts[FILL_DRAIN] += drain
    counts[WEIGHT_STALL] = _share(without_tile, float(swap_beats), swap_moves / TICKS_PER_CYCLE)
    counts[DRAM_STALL] += without_tile - counts[WEIGHT_STALL]
    return TileCounts(
        done + drain,
        counts[IDEAL],
        counts[FILL_DRAIN],
        counts[WEIGHT_STALL],
        counts[DRAM_STALL],
        counts[OUTPUT_STALL],
        moved,
    )


@njit(cache=True)
def _share(cycles: int, part: float, other: float) -> int:
    """``cycles`` in the proportion of ``part`` to ``other``, each at most all of them; rounded down."""
    part, other = min(part, float(cycles)), min(other, float(cycles))
    return math.floor(cycles * part / (part + other)) if cycles > 0 else 0


@njit(cache=True)
def _bytes_read(feed: DramFeed, tiles: _Round) -> int:
    """Weights, scales and inputs that come with a round."""
    read = 0
    if tiles.first_tokens or not feed.weights_stay:
        read += feed.weight_bytes * tiles.columns * tiles.folds
        read += feed.scale_bytes * tiles.columns if tiles.last_folds else 0
    if tiles.first_columns or not feed.inputs_stay:
        read += feed.input_bytes * tiles.tokens * tiles.input_folds
    return read


@njit(cache=True)
def _bytes_written(feed: DramFeed, tiles: _Round) -> int:
    """Outputs that are charged with a round."""
    return feed.output_bytes * tiles.tokens * tiles.columns if tiles.last_folds else 0
