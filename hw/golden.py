"""Integer golden model of the array: what every implementation must equal bit for bit.

Contract (one token x of K inputs, trits ``t[n, k]``): ``s = max|x| / 127`` in float32, ``q = clip(round_half_even(x /
s), -127, 127)``, all-zero tokens give q = 0; ``p[n, g] = sum of t[n, k] * q[k] over group g``, exact integers.
"""

import numpy as np

from hw.errors import InputError
from hw.formats import INT8_LIMIT, SCALE_BITS, SHIFT_BITS

__all__ = ["fixed_point", "gemm", "group_sums", "quantize_tokens", "requantize", "scaled_sums", "tiles"]


def quantize_tokens(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per-token symmetric int8: float32 ``(m, k)`` -> int8 ``(m, k)`` and float32 scales ``(m,)``.

    Ref: BitNet b1.58, per-token absmax; range -127..127 so that negation never overflows.
    """
    x = np.asarray(x, dtype=np.float32)
    scale = (np.abs(x).max(axis=-1) / np.float32(127)).astype(np.float32)
    divisor = np.where(scale > 0, scale, np.float32(1))[..., None]
    q = np.clip(np.rint(x / divisor), -127, 127).astype(np.int8)
    return q, scale


def gemm(q: np.ndarray, trits: np.ndarray) -> np.ndarray:
    """``acc[m, n] = sum_k q[m, k] * t[n, k]``: int8 ``(m, k)``, int8 ``(n, k)`` -> int64 ``(m, n)``.

    Computed in float64 by BLAS, exact because every partial sum stays below 2**53.
    """
    return np.rint(q.astype(np.float64) @ trits.astype(np.float64).T).astype(np.int64)


def group_sums(q: np.ndarray, trits: np.ndarray, group: int) -> np.ndarray:
    """``p[m, n, g]``, the exact sum of each group of ``group`` columns (the last may be short), int64."""
    starts = range(0, q.shape[-1], group)
    return np.stack([gemm(q[:, a : a + group], trits[:, a : a + group]) for a in starts], axis=-1)


def scaled_sums(q: np.ndarray, planes: np.ndarray, rows: int, exponents: np.ndarray | None = None) -> np.ndarray:
    """``acc[m, n] = sum over planes and folds of 2**exponent * sum over the fold of t[p, n, k] * q[m, k]``, int64.

    ``q``: int8 ``(m, k)``; ``planes``: int8 ``(p, n, k)``; ``rows``: lanes, the length of a fold; ``exponents``:
    power-of-two scales, integers ``(p, folds, n)``, None for zeros. A group scale spans whole folds.
    """
    sums = np.stack([group_sums(q, trits, rows) for trits in planes])  # (p, m, n, folds)
    if exponents is not None:
        sums = sums << np.moveaxis(np.asarray(exponents, np.int64), 1, 2)[:, None]
    return sums.sum(axis=(0, 3))


def requantize(
    acc: np.ndarray,
    multiplier: np.ndarray | int,
    shift: int,
    x_sum: np.ndarray | None = None,
    offset: np.ndarray | int = 0,
) -> np.ndarray:
    """``clip(round_half_even((acc * multiplier + x_sum * offset) / 2**shift), -127, 127)``, int8 ``(m, n)``.

    ``acc``: ``(m, n)`` of at most 32 bits; ``multiplier``, ``offset``: integers ``(n,)``, or one for all; ``x_sum``:
    ``(m,)``, each token's sum of activations. Exact in int64.
    """
    product = acc.astype(np.int64) * np.asarray(multiplier, dtype=np.int64)
    if x_sum is not None:
        product = product + np.asarray(x_sum, np.int64)[:, None] * np.asarray(offset, dtype=np.int64)
    quotient = product >> shift
    remainder = product - (quotient << shift)
    half = (1 << shift) >> 1
    up = (remainder > half) | ((remainder == half) & (quotient & 1 == 1)) if shift else np.zeros_like(product, bool)
    return np.clip(quotient + up, -INT8_LIMIT, INT8_LIMIT).astype(np.int8)


def fixed_point(scales: np.ndarray) -> tuple[np.ndarray, int]:
    """Real scales as the requantizer takes them: integers of ``SCALE_BITS`` bits and the shift that they share.

    ``abs(multiplier / 2**shift - scale) <= 2**-(shift + 1)``, and the largest scale has a relative error of at most
    ``2**-(SCALE_BITS - 1)`` unless all are so small that the shift is at its end.

    Raises:
        InputError: a scale of ``2**(SCALE_BITS - 1)`` or more.
    """
    scales = np.asarray(scales, np.float64)
    largest = float(np.abs(scales).max(initial=0.0))
    limit = (1 << SCALE_BITS - 1) - 1
    shift = (1 << SHIFT_BITS) - 1
    while shift and round(largest * 2.0**shift) > limit:
        shift -= 1
    if round(largest) > limit:
        raise InputError(f"scales must be at most {limit} for a multiplier of {SCALE_BITS} bits, not {largest:g}")
    return np.rint(scales * 2.0**shift).astype(np.int64), shift


def tiles(m: int, n: int, k: int, token_tile: int, cols: int, rows: int) -> list[tuple[slice, slice, slice]]:
    """Tiles of a GEMM in stream order: token tile (outermost), column tile, fold (innermost)."""
    return [
        (slice(i, min(i + token_tile, m)), slice(j, min(j + cols, n)), slice(h, min(h + rows, k)))
        for i in range(0, m, token_tile)
        for j in range(0, n, cols)
        for h in range(0, k, rows)
    ]
