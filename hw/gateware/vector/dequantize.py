"""DEQ and SCORE: a sum times a stored and a computed scale (``hw.token.dequantize``, ``hw.token.softmax.scores``)."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector.rescale import Rescaler
from hw.token.formats import ACCUMULATOR_BITS, OPERAND_BITS, WORD_BITS

__all__ = ["DequantizerLane"]

_EXPONENT_BITS = 10  # of a computed scale, signed
_SUM_BITS = 12  # of the constants, and of their differences from exponents, signed


class DequantizerLane(Component):
    """``sat(rhe(sat24(rhe(sum * row, first - row_exponent)) * token, second - token_exponent))``.

    One value per edge, latency 6 registers, 2 multipliers (24 x 12 and 24 x 16 bits).

    Members
    -------
    sum : signed, 24 bits, of the array.
    row_mantissa, row_exponent : a stored scale, 12 and 5 bits, of the output, or of a token's K.
    token_mantissa, token_exponent : a computed scale, 16 and 10 bits signed.
    first, second : constants of the instruction.
    visible : ``scores`` alone; 0 gives the most negative result and raises no flag.
    result : signed, ``bits`` bits. ``saturated`` : of one of the two roundings.
    """

    latency, multipliers = 6, 2

    def __init__(self, bits: int = WORD_BITS, scores: bool = False):
        self.bits, self.scores = bits, scores
        members = {
            "sum": In(signed(ACCUMULATOR_BITS)),
            "row_mantissa": In(12),
            "row_exponent": In(5),
            "token_mantissa": In(16),
            "token_exponent": In(signed(_EXPONENT_BITS)),
            "first": In(signed(_SUM_BITS)),
            "second": In(signed(_SUM_BITS)),
            "result": Out(signed(bits)),
            "saturated": Out(1),
        }
        super().__init__(members | ({"visible": In(1)} if scores else {}))

    def elaborate(self, platform) -> Module:
        """Product, rescaler, product, rescaler; whatever the second half needs waits in registers."""
        m = Module()
        m.submodules.inner = inner = Rescaler(ACCUMULATOR_BITS + 13, OPERAND_BITS, _SUM_BITS)
        m.submodules.outer = outer = Rescaler(OPERAND_BITS + 17, self.bits, _SUM_BITS)
        m.d.sync += [
            inner.value.eq(self.sum * self.row_mantissa),
            inner.shift.eq(self.first - self.row_exponent),
        ]
        mantissa = delayed(m, self.token_mantissa, 3, "token_mantissa")
        second = Signal(signed(_SUM_BITS))
        m.d.comb += second.eq(self.second - self.token_exponent)
        seen = delayed(m, self.visible, 3, "visible") if self.scores else 1
        operand = Signal(signed(OPERAND_BITS))
        m.d.comb += operand.eq(Mux(seen, inner.result, 0))
        m.d.sync += [outer.value.eq(operand * mantissa), outer.shift.eq(delayed(m, second, 3, "second_shift"))]
        early = Signal()
        m.d.sync += early.eq(inner.saturated & seen)
        late = delayed(m, early, 2, "early")
        hidden = ~delayed(m, seen, 3, "seen") if self.scores else 0
        m.d.comb += [
            self.result.eq(Mux(hidden, -(1 << self.bits - 1), outer.result)),
            self.saturated.eq(outer.saturated | late),
        ]
        return m
