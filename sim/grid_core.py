"""Numba kernel: one GEMM stepped edge by edge on the systolic grid, as its RTL counts.

Bare integers and int64 arrays in and out; meaning and units are in ``sim.cycles``, which calls it.
"""

import numpy as np
from numba import njit

__all__ = ["step_grid_cycles"]


@njit(cache=True)
def step_grid_cycles(
    tile_tokens: np.ndarray,
    tile_positions: np.ndarray,
    tile_is_last_fold: np.ndarray,
    tile_beats: np.ndarray,
    latency: int,
    queue_depth: int,
    weights_valid: np.ndarray,
    activations_valid: np.ndarray,
    results_ready: np.ndarray,
) -> np.ndarray:
    """Step the systolic organisation of docs/architecture.md edge by edge.

    ``tile_positions``: vectors of each tile, one per position of K; ``tile_tokens``: results of a column tile.
    Everything else as in ``sim.core.step_cycles``.
    """
    tiles = tile_tokens.size
    results = 0
    for tile in range(tiles):
        if tile_is_last_fold[tile]:
            results += tile_tokens[tile]
    in_flight = np.zeros(queue_depth, np.int64)  # ring: edge from which each result is valid
    released, transferred = 0, 0
    loaded_tiles, shadow_beats, shadow_full = 0, 0, False
    active, active_tile, position, swapped = False, -1, 0, False
    final_edge, final_results = -(1 << 40), 0  # of the last final issue
    counts = np.zeros(6, np.int64)
    edge = 0
    while transferred < results:
        at = edge  # index into the patterns
        edge += 1
        weight_offer = at >= weights_valid.size or weights_valid[at] != 0
        activation_offer = at >= activations_valid.size or activations_valid[at] != 0
        result_taken = at >= results_ready.size or results_ready[at] != 0

        at_end = active and position == tile_positions[active_tile] - 1
        final = at_end and tile_is_last_fold[active_tile] != 0
        tokens = tile_tokens[active_tile]
        room = released - transferred + tokens <= queue_depth and edge >= final_edge + final_results
        restart = edge == final_edge + 1
        issue = active and not restart and (room or not final) and activation_offer
        tile_done = issue and at_end
        swap = shadow_full and (not active or tile_done)
        beat = loaded_tiles < tiles and (not shadow_full or swap) and weight_offer
        valid = transferred < released and in_flight[transferred % queue_depth] <= edge
        all_issued = not active and active_tile == tiles - 1

        if issue:
            cause = 1
        elif all_issued:
            cause = 5 if valid and not result_taken else 2
        elif active:
            cause = 2 if restart else 5 if final and not room else 4
        elif swapped:
            cause = 3
        else:
            cause = 2 if shadow_full or beat else 3
        counts[0] += 1
        counts[cause] += 1

        if valid and result_taken:
            transferred += 1
        if issue:
            position += 1
            if final:
                for result in range(tokens):
                    in_flight[(released + result) % queue_depth] = edge + latency + result
                released += tokens
                final_edge, final_results = edge, tokens
        if tile_done:
            active = False
        if swap:
            active, swapped, shadow_full = True, True, False
            active_tile += 1
            position = 0
        if beat:
            shadow_beats += 1
            if shadow_beats == tile_beats[loaded_tiles]:
                shadow_beats, shadow_full = 0, True
                loaded_tiles += 1
    return counts
