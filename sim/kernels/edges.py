"""Numba kernel: one GEMM stepped clock edge by clock edge, as the RTL counts (docs/architecture.md)."""

from typing import NamedTuple

import numpy as np
from numba import njit

from sim.kernels.causes import FILL_DRAIN, IDEAL, INPUT_STALL, OUTPUT_STALL, WEIGHT_STALL, CycleCounts

__all__ = ["ArrayTiming", "Patterns", "TileStream", "step_edges"]

_NEVER = 1 << 60  # an edge behind every GEMM


class TileStream(NamedTuple):
    """A GEMM's weight tiles in stream order: int64, one entry per tile."""

    vectors: np.ndarray  # activation vectors that it takes
    results: np.ndarray  # result beats that it makes: 0 unless it is a last fold
    beats: np.ndarray  # words that it takes on the weight bus


class ArrayTiming(NamedTuple):
    """What an array's timing depends on."""

    outputs_stationary: bool  # a last fold's last vector makes all its results; else each of its vectors makes one
    latency: int  # edges from a vector to the first that may transfer its result
    queue_depth: int  # results under way or waiting, as many as there are credits


class Patterns(NamedTuple):
    """Stalls from outside: 0 or 1 at edge 1, 2, ...; edges beyond a pattern's end count as 1. int64."""

    weights_valid: np.ndarray
    activations_valid: np.ndarray
    results_ready: np.ndarray


@njit(cache=True)
def step_edges(tiles: TileStream, array: ArrayTiming, patterns: Patterns) -> CycleCounts:
    """Step a GEMM until its last result is transferred; the cause of every edge."""
    weights_valid, activations_valid, results_ready = patterns
    counts = np.zeros(5, np.int64)  # by cause
    tile_count, results_left = tiles.vectors.size, tiles.results.sum()
    in_flight = np.full(array.queue_depth, _NEVER, np.int64)  # ring: edge from which each result is valid
    newest, oldest = 0, 0  # slots of the next result to be released, to be transferred
    credits = array.queue_depth
    loaded_tiles, shadow_beats, shadow_full = 0, 0, False
    swaps, left = 0, 0  # left: vectors of the active tile
    final_left, leaving = 0, 0  # with so many vectors left or fewer an issue is final: it releases ``leaving`` results
    restart_edge, next_final_edge = _NEVER, 0  # outputs stationary, after a final issue: no issue; no final one before
    edge = 0
    while results_left > 0:
        at = edge  # index into the patterns
        edge += 1
        weights_offered = at >= weights_valid.size or weights_valid[at] != 0
        activations_offered = at >= activations_valid.size or activations_valid[at] != 0
        results_taken = at >= results_ready.size or results_ready[at] != 0

        active = left > 0
        final = left <= final_left
        room = credits >= leaving and edge >= next_final_edge
        restart = edge == restart_edge
        issue = active and activations_offered and (room or not final) and not restart
        swap = shadow_full and (not active or (issue and left == 1))
        beat = loaded_tiles < tile_count and (not shadow_full or swap) and weights_offered
        valid = in_flight[oldest] <= edge

        if issue:
            cause = IDEAL
        elif active:
            cause = FILL_DRAIN if restart else OUTPUT_STALL if final and not room else INPUT_STALL
        elif swaps == tile_count:
            cause = OUTPUT_STALL if valid and not results_taken else FILL_DRAIN
        elif swaps > 0:
            cause = WEIGHT_STALL
        else:
            cause = FILL_DRAIN if shadow_full or beat else WEIGHT_STALL
        counts[cause] += 1

        if valid and results_taken:
            in_flight[oldest] = _NEVER
            oldest = oldest + 1 if oldest + 1 < array.queue_depth else 0
            credits += 1
            results_left -= 1
        if issue:
            left -= 1
            if final:
                for result in range(leaving):
                    in_flight[newest] = edge + array.latency + result
                    newest = newest + 1 if newest + 1 < array.queue_depth else 0
                credits -= leaving
                if array.outputs_stationary:
                    restart_edge, next_final_edge = edge + 1, edge + leaving
        if swap:
            left = tiles.vectors[swaps]
            if array.outputs_stationary:
                final_left, leaving = min(tiles.results[swaps], 1), tiles.results[swaps]
            else:
                final_left, leaving = tiles.results[swaps], 1
            swaps += 1
            shadow_full = False
        if beat:
            shadow_beats += 1
            if shadow_beats == tiles.beats[loaded_tiles]:
                shadow_beats, shadow_full = 0, True
                loaded_tiles += 1
    return CycleCounts(
        edge, counts[IDEAL], counts[FILL_DRAIN], counts[WEIGHT_STALL], counts[INPUT_STALL], counts[OUTPUT_STALL]
    )
