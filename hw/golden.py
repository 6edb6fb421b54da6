"""Integer golden model of the array: what every implementation must equal bit for bit.

Contract (one token x of K inputs, trits ``t[n, k]``): ``s = max|x| / 127`` in float32, ``q = clip(round_half_even(x /
s), -127, 127)``, all-zero tokens give q = 0; ``p[n, g] = sum of t[n, k] * q[k] over group g``, exact integers.
"""

import numpy as np

__all__ = ["gemm", "group_sums", "quantize_tokens", "requantize", "tiles"]


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


def requantize(acc: np.ndarray, multiplier: np.ndarray, shift: int) -> np.ndarray:
    """int32 -> int8 by a fixed-point row scale: ``clip(round_half_even(acc * multiplier / 2**shift), -127, 127)``.

    ``acc``: ``(m, n)``; ``multiplier``: integers ``(n,)``; exact in int64.
    """
    product = acc.astype(np.int64) * np.asarray(multiplier, dtype=np.int64)
    quotient = product >> shift
    remainder = product - (quotient << shift)
    half = (1 << shift) >> 1
    up = (remainder > half) | ((remainder == half) & (quotient & 1 == 1)) if shift else np.zeros_like(product, bool)
    return np.clip(quotient + up, -127, 127).astype(np.int8)


def tiles(m: int, n: int, k: int, token_tile: int, cols: int, rows: int) -> list[tuple[slice, slice, slice]]:
    """Tiles of a GEMM in stream order: token tile (outermost), column tile, fold (innermost)."""
    return [
        (slice(i, min(i + token_tile, m)), slice(j, min(j + cols, n)), slice(h, min(h + rows, k)))
        for i in range(0, m, token_tile)
        for j in range(0, n, cols)
        for h in range(0, k, rows)
    ]
