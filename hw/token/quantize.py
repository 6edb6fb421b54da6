"""QUANT: a row of words becomes small integers and one scale, by the row's maximum and one division.

``m = max|v|``; ``x = v >> pre``, ``pre`` the shift that brings m to 23 bits; ``inv = (limit << k) // (m >> pre)``, k so
that inv has 16 bits; ``q = round_half_even(x * inv / 2**k)``, ``|q| <= limit``. The scale is ``m / limit`` as a
``Scale``. A zero row gives zeros and scale 0.

Error: ``|q - v * limit / m| <= 1/2 + limit * 2**-15 + limit * 2**-21`` (0.504 for int8): half a unit of rounding, the
floor of inv, the bits that ``pre`` drops.
Ref: BitNet b1.58 (arXiv 2402.17764), absmax per token.
"""

import numpy as np

from hw.token.formats import OPERAND_BITS, bit_length, rounded
from hw.token.scales import Scale, constant, multiply, scale_of

__all__ = ["quantized"]


def quantized(v: np.ndarray, limit: int) -> tuple[np.ndarray, Scale]:
    """Words ``(..., n)`` -> integers in ``-limit..limit``, int64 ``(..., n)``, and a scale ``(...,)`` in units of v."""
    largest = np.abs(v).max(axis=-1)
    pre = np.maximum(bit_length(largest) - (OPERAND_BITS - 1), 0)
    kept = np.maximum(largest >> pre, 1)
    k = 15 + bit_length(kept) - limit.bit_length()
    inverse = (np.int64(limit) << k) // kept
    small = (inverse >> 15) ^ 1  # 15 bits: one more is there to be had
    k = k + small
    inverse = (np.int64(limit) << k) // kept
    q = rounded((v >> pre[..., None]) * inverse[..., None], k[..., None])
    return q, multiply(scale_of(largest), constant(1 / limit))
