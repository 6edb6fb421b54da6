"""EMB, HEAD and ARGMAX: the embedding table in balanced-ternary digits, looked up and multiplied by.

``W[v, c] = a_v * b_c * d[v, c] + mu_c``: d integers of the table's digits, a a stored scale per row, b the spread of a
channel, mu the mean row.

- EMB: ``x_c = rhe(t * b_c, second) + mu_c``, ``t = sat24(rhe(d * 2**16 * a.mantissa, first - a.exponent))``, 32-bit
  words; rhe(v, s) is ``v / 2**s`` rounded half to even, and ``d * 2**16`` fills the multiplier's 24 bits.
- HEAD: b is folded into the gain of the last norm, whose output is quantized to ``127 * 128`` and enters the array as
  two int8 rows, ``q = 128 * high + low``: the weights stream once for both. ``logit = ((128 * sum(high) + sum(low)) *
  a.mantissa) << (a.exponent - smallest exponent)``, exact in 56 bits. mu adds the same number to every logit of a token
  and is left out.
- ARGMAX: the largest logit, the lowest id among equals.

Error of EMB against the formula: half a unit, and ``2**-22`` of the largest row's reach; b is rounded to 15 bits of the
largest, mu to half a unit. HEAD has none beside that of its norm.
"""

from typing import NamedTuple

import numpy as np

from hw.errors import InputError
from hw.token.formats import (
    OPERAND_BITS,
    WORD_BITS,
    Flags,
    check_accumulator,
    products,
    rescaled,
    rounded,
    saturated,
)
from hw.token.scales import StoredScales, stored_scales

__all__ = ["HEAD_LIMIT", "Table", "greedy", "logit_exponents", "logits", "looked_up", "table_constants"]

HEAD_LIMIT = 127 * 128  # of the last norm's output: two int8 rows

_LOGIT_SPREAD = 12  # octaves of row scales
_LIFT = 16  # bits that a table's integer is lifted by before EMB's first product


class Table(NamedTuple):
    """A table's integers float32 ``(vocabulary, n)``, digits, row scales, channel constants and shifts."""

    weights: np.ndarray
    digits: int
    rows: StoredScales
    spread: np.ndarray  # b, int64 (n,) of 16 bits
    mean: np.ndarray  # mu, int64 (n,) words
    fraction: int  # bits behind the point of EMB's words and of the mean
    spread_fraction: int
    first: int

    @property
    def second(self) -> int:
        """The second shift of EMB."""
        return self.rows.bias + _LIFT - self.first + self.spread_fraction - self.fraction

    def channels(self) -> np.ndarray:
        """The real b, float64 ``(n,)``."""
        return np.ldexp(self.spread.astype(np.float64), -self.spread_fraction)

    def values(self) -> np.ndarray:
        """The real table that the integers stand for, float32 ``(vocabulary, n)``."""
        rows = (self.weights * self.channels()) * self.rows.value()[:, None]
        return (rows + np.ldexp(self.mean.astype(np.float64), -self.fraction)).astype(np.float32)


def table_constants(
    weights: np.ndarray, digits: int, scales: np.ndarray, spread: np.ndarray, mean: np.ndarray, fraction: int
) -> Table:
    """Constants of a table given as integers and real a, b, mu, for words of ``fraction`` fraction bits.

    Raises:
        InputError: sums that may leave the accumulator, or row scales too far apart for logits of 56 bits.
    """
    check_accumulator(weights.shape[1], digits, "embedding table")
    rows = stored_scales(scales)
    alive = rows.exponent[rows.mantissa > 0]
    if alive.size and int(alive.max() - alive.min()) > _LOGIT_SPREAD:
        raise InputError(
            f"row scales of the embedding table must lie within 2**{_LOGIT_SPREAD} of each other, "
            f"not {scales[scales > 0].min():.3g} to {scales.max():.3g}"
        )
    largest = float(np.abs(spread).max())
    spread_fraction = 14 - int(np.frexp(largest)[1])  # 15 bits and the sign
    reach = np.abs(weights).max(axis=1) * np.ldexp(rows.mantissa.astype(np.float64), rows.exponent.astype(np.int32))
    lifted = int(np.frexp(float(reach.max()))[1]) + _LIFT
    first = max(lifted - (OPERAND_BITS - 1), int(rows.exponent.max()))
    return Table(
        weights.astype(np.float32),
        digits,
        rows,
        np.rint(spread * 2.0**spread_fraction).astype(np.int64),
        np.rint(mean * 2.0**fraction).astype(np.int64),
        fraction,
        spread_fraction,
        first,
    )


def looked_up(tokens: np.ndarray, table: Table, flags: Flags | None = None) -> np.ndarray:
    """EMB: ids ``(m,)`` -> words of the residual stream ``(m, n)``."""
    rows, d = table.rows, table.weights[tokens].astype(np.int64)
    shift = (table.first - rows.exponent[tokens])[:, None]
    t = rescaled((d << _LIFT) * rows.mantissa[tokens][:, None], shift, OPERAND_BITS, flags)
    scaled = rescaled(t * table.spread, table.second, WORD_BITS, flags)
    return saturated(scaled + table.mean, WORD_BITS, flags)


def logit_exponents(table: Table) -> tuple[np.ndarray, int]:
    """Left shift of every row's logit, int64 ``(vocabulary,)``, and the exponent that a logit's unit has."""
    alive = table.rows.mantissa > 0
    smallest = int(table.rows.exponent[alive].min()) if alive.any() else 0
    return np.where(alive, table.rows.exponent - smallest, 0), smallest - table.rows.bias


def logits(q: np.ndarray, table: Table) -> np.ndarray:
    """HEAD: values ``(m, n)`` of the last norm, within ``HEAD_LIMIT`` -> logits of at most 56 bits ``(m, vocabulary)``.

    Times the token's scale and ``2**unit`` of ``logit_exponents`` they are the model's, less what all have in common.
    """
    shifts, _ = logit_exponents(table)
    high = rounded(q, 7)  # -127..127; what is left is -64..64
    sums = (products(high, table.weights) << 7) + products(q - (high << 7), table.weights)
    return (sums * table.rows.mantissa) << shifts


def greedy(logit: np.ndarray) -> np.ndarray:
    """ARGMAX: logits ``(m, vocabulary)`` -> ids ``(m,)``."""
    return logit.argmax(axis=-1)
