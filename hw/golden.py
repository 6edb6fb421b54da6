"""Integer golden model of the array: what every implementation must equal bit for bit.

Contract (one token x of K inputs, trits ``t[n, k]``): ``s = max|x| / 127`` in float32, ``q = clip(round_half_even(x /
s), -127, 127)``, all-zero tokens give q = 0; ``p[n, g] = sum of t[n, k] * q[k] over group g``, exact integers.
"""

from collections.abc import Sequence

import numpy as np

from hw.errors import InputError
from hw.formats import INT8_LIMIT, SCALE_BITS, SHIFT_BITS, planes_weight

__all__ = [
    "digit_limit",
    "digits",
    "fixed_point",
    "from_digits",
    "gemm",
    "group_sums",
    "hadamard",
    "hadamard_block",
    "quantize_digits",
    "quantize_tokens",
    "requantize",
    "scaled_sums",
    "tiles",
]


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


def scaled_sums(
    q: np.ndarray,
    planes: np.ndarray,
    rows: int,
    exponents: np.ndarray | None = None,
    plane_weights: Sequence[int] | None = None,
) -> np.ndarray:
    """``acc[m, n] = sum over planes and folds of w[p] * 2**exponent * sum over the fold of t[p, n, k] * q[m, k]``.

    ``q``: int8 ``(m, k)``; ``planes``: int8 ``(p, n, k)``; ``rows``: lanes, the length of a fold; ``exponents``:
    power-of-two scales, integers ``(p, folds, n)``, None for zeros; ``plane_weights``: integers ``(p,)``, None for
    ones. A group scale spans whole folds. int64.
    """
    weights = np.ones(len(planes), np.int64) if plane_weights is None else np.asarray(plane_weights, np.int64)
    sums = np.stack([weight * group_sums(q, trits, rows) for weight, trits in zip(weights, planes, strict=True)])
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


def digit_limit(count: int) -> int:
    """The largest magnitude of ``count`` balanced-ternary digits, ``(3**count - 1) / 2``: 13, 40, 121 of 3, 4, 5."""
    return planes_weight(count, digits=True)


def digits(values: np.ndarray, count: int) -> np.ndarray:
    """Balanced-ternary digits: integers ``(...)`` -> int8 ``(..., count)``, ``values = sum of 3**i * digit[i]``.

    Digit 0 is the least significant. Five digits packed ``5in8`` (``hw.trit.pack``) are the byte ``value + 121``.

    Raises:
        InputError: a value that ``count`` digits do not hold.
    """
    values = np.asarray(values, np.int64)
    limit = digit_limit(count)
    if values.size and max(-int(values.min()), int(values.max())) > limit:
        raise InputError(f"values of {count} digits must be -{limit} to {limit}, not {values.min()} to {values.max()}")
    shifted = values[..., None] + limit  # digit + 1 is then a digit of an ordinary number to base 3
    return (shifted // 3 ** np.arange(count) % 3 - 1).astype(np.int8)


def from_digits(trits: np.ndarray) -> np.ndarray:
    """The integers that ``digits`` made: int8 ``(..., count)`` -> int64 ``(...)``."""
    return np.asarray(trits, np.int64) @ 3 ** np.arange(np.shape(trits)[-1])


def quantize_digits(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """K or V for the array, a scale per vector: float32 ``(..., hd)`` -> integers ``(..., hd)``, float32 ``(...)``.

    ``s = max|x| / L`` with ``L = digit_limit(count)``, ``v = round_half_even(x / s)``; a zero vector gives zeros.
    """
    x = np.asarray(x, dtype=np.float32)
    limit = digit_limit(count)
    scale = (np.abs(x).max(axis=-1) / np.float32(limit)).astype(np.float32)
    divisor = np.where(scale > 0, scale, np.float32(1))[..., None]
    return np.clip(np.rint(x / divisor), -limit, limit).astype(np.int64), scale


def hadamard_block(size: int) -> int:
    """Length of the Walsh-Hadamard transforms over ``size`` elements: the largest power of two that divides it."""
    return size & -size


def hadamard(x: np.ndarray) -> np.ndarray:
    """Walsh-Hadamard transform along the last axis, block by block, by additions alone: ``(a, b) -> (a + b, a - b)``.

    Not normalized: with B = ``hadamard_block(hd)``, ``hadamard(q) @ hadamard(k) = B * (q @ k)`` exactly, so that the
    factor ``1 / B`` of a score goes into its scale; ``hadamard(hadamard(x)) = B * x``. Integers grow by log2(B) bits.
    """
    block = hadamard_block(np.shape(x)[-1])
    values = np.asarray(x).reshape(*np.shape(x)[:-1], -1, block)
    for half in (1 << stage for stage in range(block.bit_length() - 1)):
        pairs = values.reshape(*values.shape[:-1], -1, 2, half)
        low, high = pairs[..., 0, :], pairs[..., 1, :]
        values = np.stack([low + high, low - high], axis=-2).reshape(values.shape)
    return values.reshape(np.shape(x))


def tiles(m: int, n: int, k: int, token_tile: int, cols: int, rows: int) -> list[tuple[slice, slice, slice]]:
    """Tiles of a GEMM in stream order: token tile (outermost), column tile, fold (innermost)."""
    return [
        (slice(i, min(i + token_tile, m)), slice(j, min(j + cols, n)), slice(h, min(h + rows, k)))
        for i in range(0, m, token_tile)
        for j in range(0, n, cols)
        for h in range(0, k, rows)
    ]
