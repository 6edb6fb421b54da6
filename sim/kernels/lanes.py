"""Numba kernels of the array's data: sums as its lanes make them, and the bits that toggle at its lanes' operands.

int32 arrays in, so that nothing wraps with or without compilation. A trit comes as two masks of 0 or -1: ``nonzero``
and ``negative``; a lane's operand is ``(x & nonzero) ^ negative``, so +x, 0 or -x - 1, as in docs/architecture.md.
"""

import numpy as np
from numba import njit

__all__ = ["array_sums", "boundary_toggles", "grid_toggles", "stream_toggles"]

_OPERAND_MASK = 0xFF  # 8 bits of an operand toggle


@njit(cache=True)
def array_sums(
    q: np.ndarray, nonzero: np.ndarray, negative: np.ndarray, token_tile: int, cols: int, rows: int
) -> np.ndarray:
    """int32 ``q`` (m, k) and masks (k, n) -> int32 (m, n), tile by tile in stream order, folds accumulated.

    The caller makes sure that no sum leaves 32 bits.
    """
    m, k = q.shape
    n = nonzero.shape[1]
    results = np.zeros((m, n), np.int32)
    ones = np.zeros(cols, np.int32)
    tree = np.zeros(cols, np.int32)
    for first_token in range(0, m, token_tile):
        for first_column in range(0, n, cols):
            columns = min(cols, n - first_column)
            for first_lane in range(0, k, rows):
                lanes = min(rows, k - first_lane)
                ones[:] = 0  # what the negations of each column's tile lack
                for lane in range(first_lane, first_lane + lanes):
                    minus = negative[lane, first_column : first_column + columns]
                    for c in range(columns):
                        ones[c] -= minus[c]
                for token in range(first_token, min(first_token + token_tile, m)):
                    tree[:] = ones
                    for lane in range(first_lane, first_lane + lanes):
                        x = q[token, lane]
                        some = nonzero[lane, first_column : first_column + columns]
                        minus = negative[lane, first_column : first_column + columns]
                        for c in range(columns):
                            tree[c] += (x & some[c]) ^ minus[c]
                    for c in range(columns):
                        results[token, first_column + c] += tree[c]
    return results


@njit(cache=True)
def _ones(value: int) -> int:
    """Set bits among the 8 of an operand."""
    value &= _OPERAND_MASK
    value = value - ((value >> 1) & 0x55)
    value = (value & 0x33) + ((value >> 2) & 0x33)
    return (value + (value >> 4)) & 0x0F


@njit(cache=True)
def stream_toggles(q: np.ndarray, token_tile: int) -> np.ndarray:
    """Between consecutive tokens of a token tile, at each input: int32 (m, k) -> int64 (2, k).

    Row 0: bits that toggle; row 1: tokens that equal the one before.
    """
    m, k = q.shape
    counts = np.zeros((2, k), np.int64)
    for t in range(1, m):
        if t % token_tile:
            for lane in range(k):
                counts[0, lane] += _ones(q[t, lane] ^ q[t - 1, lane])
                counts[1, lane] += q[t, lane] == q[t - 1, lane]
    return counts


@njit(cache=True)
def boundary_toggles(
    first: np.ndarray, last: np.ndarray, nonzero: np.ndarray, negative: np.ndarray, cols: int, rows: int
) -> np.ndarray:
    """What changes where one tile follows another within a token tile, summed over all lanes.

    ``first``, ``last``: int32 (k,), the first and last token of the token tile. Lanes and columns beyond the matrix
    hold zero. Returns int64 (3,): bits that toggle at the selected operands, and at the activations before selection of
    useful lanes; useful lanes whose operand stays as it was.
    """
    n, k = nonzero.shape
    toggles = np.zeros(3, np.int64)
    folds = -(-k // rows)
    tiles = -(-n // cols) * folds
    for tile in range(1, tiles):
        column, lane = tile // folds * cols, tile % folds * rows
        column_before, lane_before = (tile - 1) // folds * cols, (tile - 1) % folds * rows
        for c in range(cols):
            here, there = column + c < n, column_before + c < n
            for r in range(rows):
                x = first[lane + r] if lane + r < k else 0
                x_before = last[lane_before + r] if lane_before + r < k else 0
                operand, operand_before = 0, 0
                if here and lane + r < k:
                    operand = (x & nonzero[column + c, lane + r]) ^ negative[column + c, lane + r]
                    toggles[1] += _ones(x ^ x_before)
                if there and lane_before + r < k:
                    operand_before = (x_before & nonzero[column_before + c, lane_before + r]) ^ negative[
                        column_before + c, lane_before + r
                    ]
                toggles[0] += _ones(operand ^ operand_before)
                if here and lane + r < k and operand == operand_before:
                    toggles[2] += 1
    return toggles


@njit(cache=True)
def grid_toggles(x: np.ndarray, nonzero: np.ndarray, negative: np.ndarray, cols: int) -> np.ndarray:
    """What changes at the elements of a systolic grid while one token passes: each holds an output and sees all K.

    ``x``: int32 (k,), the token. An element goes from an output's last position to position 0 of the output ``cols``
    further. Returns int64 (3,): bits that toggle at the selected operands and at the activations, operands that stay.
    """
    n, k = nonzero.shape
    counts = np.zeros(3, np.int64)
    for output in range(n):
        operand_before, x_before, known = 0, 0, False
        if output >= cols:
            x_before, known = x[k - 1], True
            operand_before = (x_before & nonzero[output - cols, k - 1]) ^ negative[output - cols, k - 1]
        for position in range(k):
            operand = (x[position] & nonzero[output, position]) ^ negative[output, position]
            if known:
                counts[0] += _ones(operand ^ operand_before)
                counts[1] += _ones(x[position] ^ x_before)
                counts[2] += operand == operand_before
            operand_before, x_before, known = operand, x[position], True
    return counts
