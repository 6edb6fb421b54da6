"""The ternary lane: one int8 activation and one trit give +x, 0 or -x - 1, without a multiplier and without a carry."""

from amaranth import Value
from amaranth.lib import data

__all__ = ["ACTIVATION_BITS", "TERM_RANGE", "TritCode", "term"]

ACTIVATION_BITS = 8

# The 2-bit code of hw/trit.py: bit 0 = nonzero, bit 1 = negative.
TritCode = data.StructLayout({"nonzero": 1, "negative": 1})

TERM_RANGE = (-128, 127)  # of one term, x = -128 included


def term(x: Value, code: data.View) -> Value:
    """``(x & nonzero) ^ negative`` bit by bit: +x, 0 or -x - 1 as a signed 8-bit value.

    The 1 that a negation lacks depends on the weight alone, so the column adds the number of its -1 trits once instead
    of a carry in every lane. ``x``: 8 bits; ``code``: a ``TritCode`` other than 10.
    """
    selected = x.as_unsigned() & code.nonzero.replicate(ACTIVATION_BITS)
    return (selected ^ code.negative.replicate(ACTIVATION_BITS)).as_signed()
