"""DEQ: the array's sums become fixed-point words by a stored scale per output and a computed one per token.

``t = sat24(round_half_even(sum * row.mantissa / 2**(first - row.exponent)))``,
``y = sat(round_half_even(t * token.mantissa / 2**(second - token.exponent)))``; ``first`` and ``second`` are constants
of the instruction. ``first`` is the compiler's: no sum of this linear saturates t.

Error: y errs by half a unit, by half a unit of t, which is below ``2**-22`` of the largest possible row, and nothing
else: both mantissas are taken as they are.
"""

from typing import NamedTuple

import numpy as np

from hw.formats import INT8_LIMIT
from hw.token.formats import OPERAND_BITS, WORD_BITS, Flags, rescaled
from hw.token.scales import Scale, StoredScales

__all__ = ["Dequantizer", "dequantized", "dequantizer"]


class Dequantizer(NamedTuple):
    """Constants of one DEQ instruction: the stored scale of each output, and the two exponent sums."""

    rows: StoredScales
    first: int
    second: int


def dequantizer(rows: StoredScales, weights: np.ndarray, fraction: int) -> Dequantizer:
    """Constants that give words of ``fraction`` fraction bits from sums with integer ``weights`` ``(n, k)``."""
    largest = INT8_LIMIT * np.abs(weights).sum(axis=1, dtype=np.float64)
    reach = float(np.ldexp(largest * rows.mantissa, rows.exponent.astype(np.int32)).max(initial=0.0))
    first = max(int(np.frexp(reach)[1]) - (OPERAND_BITS - 1), int(rows.exponent.max(initial=0)))
    return Dequantizer(rows, first, rows.bias - first - fraction)


def dequantized(
    sums: np.ndarray, constants: Dequantizer, token: Scale, bits: int = WORD_BITS, flags: Flags | None = None
) -> np.ndarray:
    """Sums ``(m, n)`` and real token scales ``(m,)`` -> signed words of ``bits`` bits ``(m, n)``."""
    rows = constants.rows
    t = rescaled(sums * rows.mantissa, constants.first - rows.exponent, OPERAND_BITS, flags)
    return rescaled(t * token.mantissa[:, None], constants.second - token.exponent[:, None], bits, flags)
