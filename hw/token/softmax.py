"""SCORE, EXP, OACC and ONORM: attention over blocks of tokens with a running maximum that is a power of two.

Scores are taken in log2 units with 8 fraction bits. The running maximum M of a row is an integer in those units, so a
new maximum rescales what is there by a shift. Per row, state ``M = -2**15``, ``l = 0``, ``O = 0``, and per block of B
tokens:

- SCORE: ``z = sat24(rhe(sat24(rhe(S * k.mantissa, first - k.exponent)) * q.mantissa, second - q.exponent))``, S the
  array's sum; the most negative value where the token is not to be seen.
- EXP: ``Mb = max(M, ceil(max z / 256))``, ``J = Mb - M``, ``u = z - 256 Mb``, ``p = T[u & 255] >> -(u >> 8)`` with
  ``T[i] = round(2**15 * 2**(i / 256))``; ``l = (l >> J) + sum p``.
- fold V's token scales: ``w = (p * v.mantissa) >> (fold - v.exponent)``, 24 bits; QUANT(w, 127) gives P and its scale.
- OACC: ``O = (O >> J) + rhe(sum(P * V) * scale.mantissa, third - scale.exponent)``, 32 bits.
- ONORM behind the last block: ``o = rhe(sat24(O >> pre) * r.mantissa, last - r.exponent - pre)``, ``r = 1 / l`` and
  ``pre`` the bits by which l exceeds ``spare``.

Error: p within ``2**-9`` of itself from the step of T and the rounding of z (0.14 %) and ``2**-15`` absolute from its
floor; P half a unit of 1/127 of the block's largest weight.
Ref: Milakov and Gimelshein, Online normalizer calculation for softmax, arXiv 1805.02867; TeLLMe's and FlashAttention's
blocks with a maximum rounded up to a power of two.
"""

from typing import NamedTuple

import numpy as np

from hw.formats import INT8_LIMIT
from hw.token.formats import OPERAND_BITS, WORD_BITS, Flags, bit_length, rescaled, saturated
from hw.token.quantize import quantized
from hw.token.scales import Scale, StoredScales, reciprocal, scale_of

__all__ = [
    "FIRST_MAXIMUM",
    "HIDDEN",
    "POWERS",
    "SCORE_FRACTION",
    "Exponentials",
    "accumulated",
    "exponentials",
    "normalized_output",
    "scores",
    "weighted",
]

SCORE_FRACTION = 8
FIRST_MAXIMUM = -(1 << 15)
HIDDEN = -(1 << OPERAND_BITS - 1)  # the score of a token that a row must not see
POWERS = np.rint(2.0**15 * 2.0 ** (np.arange(256) / 256)).astype(np.int64)


def scores(
    sums: np.ndarray,
    keys: StoredScales,
    queries: Scale,
    visible: np.ndarray,
    first: int,
    second: int,
    flags: Flags | None = None,
) -> np.ndarray:
    """Sums ``(..., rows, tokens)`` -> scores in 1/256 of log2 units, 24 bits.

    ``keys``: ``(..., tokens)``; ``queries``: ``(..., rows)``, with the softmax's constant folded in; ``visible``: bool.
    """
    exponent = first - keys.exponent[..., None, :]
    sums = np.where(visible, sums, 0)  # what lies in memory behind the context must not raise the flag
    t = rescaled(sums * keys.mantissa[..., None, :], exponent, OPERAND_BITS, flags)
    z = rescaled(t * queries.mantissa[..., None], second - queries.exponent[..., None], OPERAND_BITS, flags)
    return np.where(visible, z, HIDDEN)


class Exponentials(NamedTuple):
    """EXP of one block: powers ``(..., rows, tokens)`` of at most ``2**15``, and the rows' new state."""

    powers: np.ndarray
    maximum: np.ndarray  # M
    total: np.ndarray  # l
    shift: np.ndarray  # J


def exponentials(z: np.ndarray, maximum: np.ndarray, total: np.ndarray) -> Exponentials:
    """Scores ``(..., rows, tokens)`` and the rows' state -> powers and new state. A hidden token's power is 0."""
    highest = z.max(axis=-1)
    wanted = np.where(highest == HIDDEN, FIRST_MAXIMUM, -(-highest >> SCORE_FRACTION))
    new = np.maximum(maximum, wanted)
    shift = np.minimum(new - maximum, 63)
    u = z - (new << SCORE_FRACTION)[..., None]
    powers = POWERS[u & 255] >> np.minimum(-(u >> SCORE_FRACTION), 63)
    powers = np.where(z == HIDDEN, 0, powers)
    return Exponentials(powers, new, (total >> shift) + powers.sum(axis=-1), shift)


def weighted(
    powers: np.ndarray, values: StoredScales, fold: int, flags: Flags | None = None
) -> tuple[np.ndarray, Scale]:
    """Powers times V's token scales as 0..127 and a scale per row and block."""
    shift = np.clip(fold - values.exponent[..., None, :], 0, 63)
    w = saturated((powers * values.mantissa[..., None, :]) >> shift, OPERAND_BITS, flags)
    return quantized(w, INT8_LIMIT)


def accumulated(
    output: np.ndarray, shift: np.ndarray, sums: np.ndarray, scale: Scale, third: int, flags: Flags | None = None
) -> np.ndarray:
    """OACC: outputs ``(..., rows, d)`` rescaled by J, plus the block's sums ``(..., rows, d)``."""
    added = rescaled(sums * scale.mantissa[..., None], third - scale.exponent[..., None], WORD_BITS, flags)
    return saturated((output >> shift[..., None]) + added, WORD_BITS, flags)


def normalized_output(
    output: np.ndarray, total: np.ndarray, spare: int, last: int, flags: Flags | None = None
) -> np.ndarray:
    """ONORM: outputs ``(..., rows, d)`` over totals ``(..., rows)`` as 32-bit words."""
    inverse = reciprocal(scale_of(total))
    pre = np.maximum(bit_length(total) - spare, 0)[..., None]
    operand = saturated(output >> pre, OPERAND_BITS, flags)
    return rescaled(operand * inverse.mantissa[..., None], last - inverse.exponent[..., None] - pre, WORD_BITS, flags)
