"""Slow, obvious references for the fast implementations: written from the contract, sharing no code."""

from collections.abc import Sequence

__all__ = ["gemm_cycles", "gemm_sums", "pack_2bit", "pack_5in8", "quantize_token"]


def gemm_sums(q: Sequence[Sequence[int]], trits: Sequence[Sequence[int]]) -> list[list[int]]:
    """``acc[m][n] = sum over k of q[m][k] * t[n][k]``, with Python's integers."""
    return [[sum(x * t for x, t in zip(token, row, strict=True)) for row in trits] for token in q]


def quantize_token(x: Sequence[float]) -> tuple[list[int], float]:
    """One token to int8 by the contract; ``x`` must be float32 numbers whose quotients are exact in float64."""
    scale = max(abs(v) for v in x) / 127
    return [max(-127, min(127, round(v / scale))) if scale else 0 for v in x], scale


def pack_2bit(row: Sequence[int]) -> list[int]:
    """Bytes of one row: trit i in bits 2*(i % 4) of byte i // 4; 0 = 00, +1 = 01, -1 = 11."""
    out = [0] * ((len(row) + 3) // 4)
    for i, trit in enumerate(row):
        out[i // 4] += {0: 0, 1: 1, -1: 3}[trit] * 4 ** (i % 4)
    return out


def pack_5in8(row: Sequence[int]) -> list[int]:
    """Bytes of one row: five trits per byte, the first has weight 1, the fifth 81; missing ones are zero trits."""
    padded = [*row, *[0] * (-len(row) % 5)]
    return [sum((padded[i + j] + 1) * (1, 3, 9, 27, 81)[j] for j in range(5)) for i in range(0, len(padded), 5)]


def gemm_cycles(
    array,
    m: int,
    n: int,
    k: int,
    weights: Sequence[int] = (),
    activations: Sequence[int] = (),
    results: Sequence[int] = (),
    planes: int = 1,
    row_scales: bool = False,
) -> dict[str, int]:
    """Cycles of one GEMM, whole (``"cycles"``) and by cause, stepping ``docs/architecture.md`` edge by edge.

    ``array``: anything with the fields of an ``ArrayConfig``; ``weights``, ``activations``, ``results``: the patterns
    of the three streams, bit i of edge i + 1. The folds of ``planes`` follow one another; with ``row_scales`` the last
    of them brings ``array.scale_beats`` more words.
    """
    tiles = []  # (tokens, last fold?) in stream order
    for i in range(0, m, array.token_tile):
        for _ in range(0, n, array.cols):
            for plane in range(planes):
                for h in range(0, k, array.rows):
                    tiles.append((min(array.token_tile, m - i), plane == planes - 1 and h + array.rows >= k))
    beats = [array.weight_beats + array.scale_beats * (row_scales and last) for _, last in tiles]
    loading, beat = 0, 0  # the tile whose beats are next, and how many of them came
    vectors_left = sum(tokens for tokens, _ in tiles)
    results_left = sum(tokens for tokens, last in tiles if last)
    shadow_full = active = swapped = False
    tile, token = 0, 0  # the active tile, or the next one to become active
    credits = array.result_queue_depth
    due: list[int] = []  # first edge on which each result under way may be transferred
    counts = dict.fromkeys(("cycles", "ideal", "fill_drain", "weight_stall", "input_stall", "output_stall"), 0)

    def bit(pattern: Sequence[int], edge: int) -> bool:
        return bool(pattern[edge - 1]) if edge <= len(pattern) else True

    edge = 0
    while results_left:
        edge += 1
        result_valid = bool(due) and due[0] <= edge
        result_ready = bit(results, edge)

        credit_needed = active and tiles[tile][1]
        activation_valid = vectors_left > 0 and bit(activations, edge)
        issue = activation_valid and active and (credits > 0 or not credit_needed)
        last_issue = issue and token == tiles[tile][0] - 1

        swap = shadow_full and (not active or last_issue)
        weight_valid = loading < len(tiles) and bit(weights, edge)
        beat_accepted = weight_valid and (not shadow_full or swap)

        if issue:
            cause = "ideal"
        elif vectors_left == 0:
            cause = "output_stall" if result_valid and not result_ready else "fill_drain"
        elif active:
            cause = "output_stall" if credit_needed and credits == 0 else "input_stall"
        elif not swapped and (shadow_full or beat_accepted):
            cause = "fill_drain"
        else:
            cause = "weight_stall"
        counts["cycles"] += 1
        counts[cause] += 1

        if result_valid and result_ready:
            due.pop(0)
            credits += 1
            results_left -= 1
        if issue:
            vectors_left -= 1
            token += 1
            if credit_needed:
                credits -= 1
                due.append(edge + array.pipeline_latency)
        if last_issue:
            active, token, tile = False, 0, tile + 1
        if swap:
            shadow_full, active, swapped = False, True, True
        if beat_accepted:
            beat += 1
            if beat == beats[loading]:
                loading, beat, shadow_full = loading + 1, 0, True
    return counts
