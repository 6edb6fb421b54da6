"""Numba kernels: one GEMM stepped edge by edge (as the RTL counts), and tile by tile with DRAM behind the weight bus.

Bare integers and int64 arrays in and out, so that the kernels give the same with and without compilation. Meaning and
units are in ``sim.gemm.cycles`` and ``sim.gemm.cost``, which call them.
"""

import numpy as np
from numba import njit

__all__ = ["TICKS_PER_CYCLE", "step_cycles", "step_tiles"]

TICKS_PER_CYCLE = 1 << 24  # time of the DRAM stream, so that a rate of any bytes per cycle is an integer
_NEVER = 1 << 60  # an edge behind every GEMM


@njit(cache=True)
def step_cycles(
    tile_vectors: np.ndarray,
    tile_results: np.ndarray,
    tile_beats: np.ndarray,
    systolic: bool,
    latency: int,
    queue_depth: int,
    weights_valid: np.ndarray,
    activations_valid: np.ndarray,
    results_ready: np.ndarray,
) -> np.ndarray:
    """Step docs/architecture.md edge by edge.

    ``tile_vectors``, ``tile_results``, ``tile_beats``: activation vectors, results (0 before a last fold) and weight
    beats of each tile, in stream order. Tree: each vector of a last fold makes one result. ``systolic``: the last makes
    them all. Patterns: 0 or 1 at edge 1, 2, ...; edges beyond a pattern's end count as 1. Returns int64 (6,): cycles,
    ideal, fill_drain, weight_stall, input_stall, output_stall.
    """
    tiles = tile_vectors.size
    results_left = tile_results.sum()
    in_flight = np.full(queue_depth, _NEVER, np.int64)  # ring: edge from which each result is valid
    newest, oldest = 0, 0  # slots of the next result to be released, to be transferred
    credits = queue_depth
    loaded_tiles, shadow_beats, shadow_full = 0, 0, False
    swaps, left = 0, 0  # left: vectors of the active tile
    final_left, leaving = 0, 0  # with so many vectors left or fewer an issue is final: it releases ``leaving`` results
    restart_edge, next_final_edge = _NEVER, 0  # systolic, after a final issue: no issue; no final one before
    counts = np.zeros(6, np.int64)
    edge = 0
    while results_left > 0:
        at = edge  # index into the patterns
        edge += 1
        weight_offer = at >= weights_valid.size or weights_valid[at] != 0
        activation_offer = at >= activations_valid.size or activations_valid[at] != 0
        result_taken = at >= results_ready.size or results_ready[at] != 0

        active = left > 0
        final = left <= final_left
        room = credits >= leaving and edge >= next_final_edge
        restart = edge == restart_edge
        issue = active and activation_offer and (room or not final) and not restart
        swap = shadow_full and (not active or (issue and left == 1))
        beat = loaded_tiles < tiles and (not shadow_full or swap) and weight_offer
        valid = in_flight[oldest] <= edge

        if issue:
            cause = 1
        elif active:
            cause = 2 if restart else 5 if final and not room else 4
        elif swaps == tiles:
            cause = 5 if valid and not result_taken else 2
        elif swaps > 0:
            cause = 3
        else:
            cause = 2 if shadow_full or beat else 3
        counts[0] += 1
        counts[cause] += 1

        if valid and result_taken:
            in_flight[oldest] = _NEVER
            oldest = oldest + 1 if oldest + 1 < queue_depth else 0
            credits += 1
            results_left -= 1
        if issue:
            left -= 1
            if final:
                for result in range(leaving):
                    in_flight[newest] = edge + latency + result
                    newest = newest + 1 if newest + 1 < queue_depth else 0
                credits -= leaving
                if systolic:
                    restart_edge, next_final_edge = edge + 1, edge + leaving
        if swap:
            left = tile_vectors[swaps]
            if systolic:
                final_left, leaving = min(tile_results[swaps], 1), tile_results[swaps]
            else:
                final_left, leaving = tile_results[swaps], 1
            swaps += 1
            shadow_full = False
        if beat:
            shadow_beats += 1
            if shadow_beats == tile_beats[loaded_tiles]:
                shadow_beats, shadow_full = 0, True
                loaded_tiles += 1
    return counts


@njit(cache=True)
def step_tiles(
    tokens: int,
    token_tile: int,
    column_tiles: int,
    folds: int,
    positions: np.ndarray,
    column_cores: int,
    fold_cores: int,
    beats: int,
    last_beats: int,
    latency: int,
    result_interval: int,
    buffer_rounds: int,
    ticks_per_byte: int,
    ticks_per_written_byte: int,
    first_word_ticks: int,
    head_start: int,
    weight_bytes: int,
    scale_bytes: int,
    weights_stay: bool,
    input_bytes: int,
    inputs_stay: bool,
    output_bytes: int,
    double_buffer: bool,
) -> np.ndarray:
    """Step one GEMM round by round; DRAM fills a weight buffer of ``buffer_rounds``, each core's bus drains it.

    A round is the tiles that the cores use together: up to ``column_cores`` column tiles, up to ``fold_cores`` folds of
    each; one core has rounds of one tile. A round's bytes arrive together, in order, one after another at
    ``ticks_per_byte``, once a slot of the buffer is free (a slot is free after its round's last beat); then ``beats``
    go over every bus as in ``step_cycles``, ``last_beats`` for the last fold of a column, whose tile brings
    ``scale_bytes`` of its rows' scales. ``weight_bytes`` of a tile are fetched in every token tile, or only in the
    first when ``weights_stay``. ``input_bytes`` per token of a fold are fetched with every round of columns, or only
    with the first when ``inputs_stay``. ``output_bytes`` per token and column tile are written at
    ``ticks_per_written_byte``, charged with the last round of folds.

    Tree: ``positions`` is empty, a tile takes a vector per token, and those of the last round of folds enter every
    ``result_interval`` cycles. Systolic grid: a tile takes a vector per position of K, ``positions`` of each fold; the
    last of a column tile releases a result per token every ``result_interval`` cycles, and an edge without issue
    follows. ``first_word_ticks``: latency of the first fetch, which starts ``head_start`` cycles before the GEMM.
    Without ``double_buffer`` a tile goes over the bus only after the last vector of the one before. Returns int64 (7,):
    cycles, ideal, fill_drain, weight_stall, dram_stall, output_stall, bytes moved.
    """
    left_buffer = np.full(buffer_rounds, -head_start, np.int64)  # ring: edge of the last beat of the round in the slot
    counts = np.zeros(7, np.int64)
    dram_ticks = first_word_ticks - head_start * TICKS_PER_CYCLE
    grid = positions.size > 0
    load_end, swap, done = 0, 0, 0
    restart, released, leaving = 0, -(1 << 40), 0  # of a grid: edge without issue, the last results and their number
    number = 0
    for first_token in range(0, tokens, token_tile):
        tile_tokens = min(token_tile, tokens - first_token)
        for column in range(0, column_tiles, column_cores):
            wide = min(column_cores, column_tiles - column)
            for fold in range(0, folds, fold_cores):
                deep = min(fold_cores, folds - fold)
                last = fold + deep == folds
                read = 0
                if first_token == 0 or not weights_stay:
                    read += weight_bytes * wide * deep + (scale_bytes * wide if last else 0)
                if column == 0 or not inputs_stay:
                    read += input_bytes * tile_tokens * deep
                written = output_bytes * tile_tokens * wide if last else 0
                slot = number % buffer_rounds
                arrived = 0
                if read + written > 0:
                    dram_ticks = max(dram_ticks, left_buffer[slot] * TICKS_PER_CYCLE)
                    dram_ticks += read * ticks_per_byte + written * ticks_per_written_byte
                    arrived = -(-dram_ticks // TICKS_PER_CYCLE)
                    counts[6] += read + written
                bus_free = max(load_end + 1, swap) if double_buffer else done + 1
                load_start = max(bus_free, arrived + 1)
                tile_beats = last_beats if last else beats
                load_end = load_start + tile_beats - 1
                left_buffer[slot] = load_end
                swap = max(load_end + 1, done)
                if number == 0:
                    counts[2] += tile_beats + 1
                    counts[4] += load_start - 1
                else:
                    gap = swap - done
                    for_dram = min(gap, load_start - bus_free)
                    counts[4] += for_dram
                    counts[3] += gap - for_dram
                if grid:
                    issues = positions[fold : fold + deep].max()
                    idle = max(0, done + restart - swap)
                    counts[2] += idle
                    done = swap + idle + issues
                    waits = max(0, released + leaving * result_interval - done) if last else 0
                    restart = 1 if last else 0
                else:
                    issues = tile_tokens
                    done = swap + issues
                    waits = issues * (result_interval - 1) if last else 0
                done += waits
                if last:
                    released, leaving = done, tile_tokens
                counts[1] += issues
                counts[5] += waits
                number += 1
    drain = latency + leaving - 1 if grid else latency
    counts[2] += drain
    counts[0] = done + drain
    return counts
