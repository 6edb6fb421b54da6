"""NORM: RMSNorm and the int8 quantization behind it, without dividing an element.

int8 quantization cancels a common factor, so ``1 / rms`` enters the token's scale alone. Per token, x of n words:

- ``h``: the shift that brings ``max|x|`` to 15 bits (left where it is negative); ``xs = x >> h``.
- ``S = sum of xs**2 + (EPS >> 2 (h + 15))``, ``EPS = round(n * eps * 4**(f + 15))``; f: fraction bits of x. The 15 are
  there because h is at least -15: EPS is shifted right only, and keeps its bits in the smallest token.
- ``y = round_half_even((x >> h - 8) * g / 2**15)``, g the gains as int16; QUANT(y) gives q and ``s_y``.
- token scale ``((s_y * rsqrt(S)) * SF(sqrt(n) * 2**(7 - gain_fraction)))``: h and f cancel.

Error: the scale's is within ``2**-12`` of it (four floors of ``2**-15``, rsqrt ``2**-14``, squares of 15-bit numbers);
an element's half a unit of int8 and, before it, half a unit of the 24-bit y and half a unit of its gain, which counts
where one is hundreds of times smaller than the largest.
Ref: Zhang and Sennrich, Root Mean Square Layer Normalization, arXiv 1910.07467.
"""

import math
from typing import NamedTuple

import numpy as np

from hw.errors import InputError
from hw.formats import INT8_LIMIT
from hw.token.formats import bit_length, rounded, shifted
from hw.token.quantize import quantized
from hw.token.scales import Scale, constant, multiply, reciprocal_root

__all__ = ["EXTRA_BITS", "SQUARE_BITS", "Norm", "norm_constants", "normalized"]

SQUARE_BITS = 15  # magnitude of what is squared
EXTRA_BITS = 8  # more of what is multiplied by the gain
_LARGEST_SUM_BITS = 48  # of S


class Norm(NamedTuple):
    """Constants of one RMSNorm: gains int64 (n,) of 16 bits, EPS, and the constant factor of the token's scale."""

    gain: np.ndarray
    epsilon: int
    factor: Scale


def norm_constants(gain: np.ndarray, eps: float, fraction: int) -> Norm:
    """Constants for real gains ``(n,)`` and inputs of ``fraction`` fraction bits; gains to 15 bits of the largest.

    Raises:
        InputError: gains that are all zero or not finite, or an eps too large for the sum of squares.
    """
    gain = np.asarray(gain, np.float64)
    largest = float(np.abs(gain).max(initial=0.0))
    if not 0 < largest < math.inf:
        raise InputError(f"norm gains must be finite and not all zero, not up to {largest:g}")
    gain_fraction = 15 - math.frexp(largest)[1]
    if round(largest * 2.0**gain_fraction) > 32767:
        gain_fraction -= 1
    n = gain.size
    epsilon = round(n * eps * 4.0 ** (fraction + SQUARE_BITS))
    if epsilon.bit_length() >= _LARGEST_SUM_BITS:
        raise InputError(f"norm eps {eps:g} over {n} inputs must fit a sum of {_LARGEST_SUM_BITS} bits")
    factor = constant(math.sqrt(n) * 2.0 ** (15 - EXTRA_BITS - gain_fraction))
    return Norm(np.rint(gain * 2.0**gain_fraction).astype(np.int64), epsilon, factor)


def normalized(x: np.ndarray, norm: Norm, limit: int = INT8_LIMIT) -> tuple[np.ndarray, Scale]:
    """``x / rms * gain`` of words ``(m, n)``: integers within ``limit``, int64 ``(m, n)``, and real scales ``(m,)``."""
    h = bit_length(np.abs(x).max(axis=-1)) - SQUARE_BITS
    xs = shifted(x, h[:, None])
    squares = (xs * xs).sum(axis=-1) + (norm.epsilon >> 2 * (h + SQUARE_BITS))
    y = rounded(shifted(x, h[:, None] - EXTRA_BITS) * norm.gain, 15)
    q, scale = quantized(y, limit)
    return q, multiply(multiply(scale, reciprocal_root(squares)), norm.factor)
