"""EMB's element, and HEAD with ARGMAX: the two ends of a token (``hw.token.table``)."""

from amaranth import Module, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector.rescale import Rescaler, clipped
from hw.token.formats import ACCUMULATOR_BITS, OPERAND_BITS, WORD_BITS

__all__ = ["Argmax", "EmbeddingLane"]

_SUM_BITS = 12  # of the constants and their differences from exponents, signed
_LIFT = 16
_LOGIT_BITS = 56


class EmbeddingLane(Component):
    """``sat32(sat32(rhe(t * spread, second)) + mean)`` with the row's ``t``.

    ``t = sat24(rhe(digits * 2**16 * mantissa, first - exponent))``. One element per edge, latency 7 registers, 2
    multipliers (24 x 12 and 24 x 16 bits).

    Members
    -------
    digits : signed, 8 bits: the table's integer. mantissa, exponent : the row's stored scale, 12 and 5 bits.
    spread : signed, 16 bits; mean : signed, 32 bits; both of the channel.
    first, second : constants of the instruction.
    result : signed, 32 bits. saturated : of any of the three.
    """

    latency, multipliers = 7, 2

    def __init__(self):
        super().__init__(
            {
                "digits": In(signed(8)),
                "mantissa": In(12),
                "exponent": In(5),
                "spread": In(signed(16)),
                "mean": In(signed(WORD_BITS)),
                "first": In(signed(_SUM_BITS)),
                "second": In(signed(_SUM_BITS)),
                "result": Out(signed(WORD_BITS)),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Product, rescaler, product, rescaler, addition."""
        m = Module()
        m.submodules.inner = inner = Rescaler(OPERAND_BITS + 13, OPERAND_BITS, _SUM_BITS)
        m.submodules.outer = outer = Rescaler(OPERAND_BITS + 16, WORD_BITS, _SUM_BITS)
        lifted = Signal(signed(OPERAND_BITS))
        m.d.comb += lifted.eq(self.digits << _LIFT)
        m.d.sync += [
            inner.value.eq(lifted * self.mantissa),
            inner.shift.eq(self.first - self.exponent),
            outer.value.eq(inner.result * delayed(m, self.spread, 3, "spread")),
            outer.shift.eq(delayed(m, self.second, 3, "second")),
        ]
        value, clips = clipped(outer.result + delayed(m, self.mean, 6, "mean"), WORD_BITS)
        early = delayed(m, inner.saturated, 3, "early")
        m.d.sync += [self.result.eq(value), self.saturated.eq(clips | outer.saturated | early)]
        return m


class Argmax(Component):
    """The largest logit so far and its id, the lowest among equals; a logit per edge, latency 4 registers.

    ``logit = ((128 * high + low) * mantissa) << shift``; 1 multiplier (32 x 12 bits).

    Members
    -------
    high, low : signed, 24 bits: the array's sums of the two int8 rows.
    mantissa, shift : 12 and 4 bits, of the vocabulary's row.
    id : 20 bits.
    first : 1 with the first logit of a token. valid : 1 with every logit.
    best_id : 20 bits. best : signed, 56 bits.
    """

    latency, multipliers = 4, 1

    def __init__(self):
        super().__init__(
            {
                "high": In(signed(ACCUMULATOR_BITS)),
                "low": In(signed(ACCUMULATOR_BITS)),
                "mantissa": In(12),
                "shift": In(4),
                "id": In(20),
                "first": In(1),
                "valid": In(1),
                "best_id": Out(20),
                "best": Out(signed(_LOGIT_BITS)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Sum, product, shift, comparison."""
        m = Module()
        total, product = Signal(signed(32)), Signal(signed(44))
        logit = Signal(signed(_LOGIT_BITS))
        m.d.sync += [
            total.eq((self.high << 7) + self.low),
            product.eq(total * delayed(m, self.mantissa, 1, "mantissa")),
            logit.eq(product << delayed(m, self.shift, 2, "shift")),
        ]
        number, first = delayed(m, self.id, 3, "id"), delayed(m, self.first, 3, "first")
        with m.If(delayed(m, self.valid, 3, "valid") & (first | (logit > self.best))):
            m.d.sync += [self.best.eq(logit), self.best_id.eq(number)]
        return m
