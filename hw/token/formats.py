"""Widths, rounding and saturation of the whole token: the operations that every kernel is made of.

All values are int64 arrays that hold signed integers of a stated width. ``v / 2**s`` is rounded half to even where a
result is kept (``rounded``), and floored where only a shift is spent (``shifted``).
"""

from dataclasses import dataclass

import numpy as np

from hw.errors import InputError

__all__ = [
    "ACCUMULATOR_BITS",
    "FACTOR_BITS",
    "MAX_SHIFT",
    "OPERAND_BITS",
    "WORD_BITS",
    "Flags",
    "bit_length",
    "check_accumulator",
    "products",
    "rescaled",
    "rounded",
    "saturated",
    "shifted",
]

WORD_BITS = 32  # scratch memory and residual stream
OPERAND_BITS = 24  # first factor of every multiplier, signed
FACTOR_BITS = 17  # second factor, signed: an unsigned mantissa of 16 bits fits
ACCUMULATOR_BITS = 24  # of the array's sums, signed
MAX_SHIFT = 47  # of a rounding right shift


@dataclass
class Flags:
    """The sticky flag that every program's end reports: how many kernels saturated a value. Must stay 0."""

    saturated: int = 0


def rounded(v: np.ndarray, s: np.ndarray | int) -> np.ndarray:
    """``v / 2**s`` rounded half to even; ``s``: 0 and more, broadcast against ``v``."""
    if isinstance(s, int):
        return v if s == 0 else (v + ((1 << s - 1) - 1) + ((v >> s) & 1)) >> s
    some = (s > 0).astype(np.int64)
    half = (np.int64(1) << s) >> 1
    return (v + (half - some) + ((v >> s) & some)) >> s


def shifted(v: np.ndarray, s: np.ndarray | int) -> np.ndarray:
    """``floor(v / 2**s)``; a negative ``s`` shifts left."""
    s = np.clip(s, -63, 63)
    return (v << np.maximum(-s, 0)) >> np.maximum(s, 0)


def saturated(v: np.ndarray, bits: int, flags: Flags | None = None) -> np.ndarray:
    """``v`` clipped to a signed integer of ``bits`` bits; a clipped value raises the flag."""
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    if not v.size or (v.min() >= low and v.max() <= high):
        return v
    if flags is not None:
        flags.saturated += 1
    return np.clip(v, low, high)


def rescaled(v: np.ndarray, s: np.ndarray | int, bits: int, flags: Flags | None = None) -> np.ndarray:
    """``saturated(rounded(v, s), bits)`` for any ``s``: above ``MAX_SHIFT`` gives 0, below 0 saturates all but 0.

    Error of a value that is not saturated: at most half a unit.
    """
    s = np.asarray(s, np.int64)
    if s.size and s.min() >= 0 and s.max() <= MAX_SHIFT:
        return saturated(rounded(v, int(s) if s.ndim == 0 else s), bits, flags)
    inside = rounded(v, np.clip(s, 0, MAX_SHIFT))
    end = np.sign(v) << bits  # beyond either end
    return saturated(np.where(s > MAX_SHIFT, 0, np.where(s < 0, end, inside)), bits, flags)


def bit_length(v: np.ndarray) -> np.ndarray:
    """Bits of non-negative integers below ``2**53``, as ``int.bit_length``: 0 for 0."""
    return np.frexp(np.asarray(v, np.float64))[1].astype(np.int64)


def products(q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Exact ``sum_k q[..., m, k] * weights[..., n, k]``, int64 ``(..., m, n)``.

    The factors are integers in any type, ``weights`` best in float32; every partial sum must stay below ``2**24``
    (``check_accumulator`` says so), which float32 holds exactly in whatever order BLAS adds.
    """
    sums = q.astype(np.float32) @ np.swapaxes(weights.astype(np.float32, copy=False), -1, -2)
    return sums.astype(np.int64)


def check_accumulator(k: int, digits: int, what: str) -> None:
    """Refuse a sum of ``k`` int8 activations times ``digits`` balanced-ternary digits that may leave the accumulator.

    Raises:
        InputError: ``127 * k * (3**digits - 1) / 2`` is ``2**23`` or more.
    """
    largest = 127 * k * (3**digits - 1) // 2
    if largest >= 1 << ACCUMULATOR_BITS - 1:
        raise InputError(
            f"{what}: sums of {k} products of {digits} digits may reach {largest}; they must stay below "
            f"{1 << ACCUMULATOR_BITS - 1} (an accumulator of {ACCUMULATOR_BITS} bits): use fewer digits"
        )
