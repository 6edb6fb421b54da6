"""Attention behind the powers: weights of V, OACC and ONORM's elements, and a row's maximum (``hw.token.softmax``)."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector.rescale import Rescaler, clipped
from hw.token.formats import ACCUMULATOR_BITS, OPERAND_BITS, WORD_BITS
from hw.token.softmax import FIRST_MAXIMUM, HIDDEN, SCORE_FRACTION

__all__ = ["OutputAccumulator", "OutputNormalizer", "RowMaximum", "WeightLane"]

_EXPONENT_BITS, _SUM_BITS = 10, 12  # of a computed scale, and of constants and their differences from it; signed
_MAXIMUM_BITS = 17  # of a row's M, signed


class RowMaximum(Component):
    """``Mb = max(M, ceil(highest / 256))``, ``J = Mb - M``, at most 63; latency 1 register, no multiplier.

    Members
    -------
    maximum : signed, 17 bits, the row's M so far.
    highest : signed, 24 bits, the block's largest score; the most negative one means that the row saw none.
    result : signed, 17 bits, the new M. shift : J, 6 bits.
    """

    latency, multipliers = 1, 0

    def __init__(self):
        maximum = signed(_MAXIMUM_BITS)
        super().__init__(
            {"maximum": In(maximum), "highest": In(signed(OPERAND_BITS)), "result": Out(maximum), "shift": Out(6)}
        )

    def elaborate(self, platform) -> Module:
        """Ceiling, and one difference for comparison and J."""
        m = Module()
        ceiling, wanted = (Signal(signed(_MAXIMUM_BITS), name=name) for name in ("ceiling", "wanted"))
        up = self.highest[:SCORE_FRACTION].any()
        grown = Signal(signed(_MAXIMUM_BITS + 1))
        m.d.comb += [
            ceiling.eq((self.highest >> SCORE_FRACTION) + up),
            wanted.eq(Mux(self.highest == Const(HIDDEN, signed(OPERAND_BITS)), FIRST_MAXIMUM, ceiling)),
            grown.eq(wanted - self.maximum),
        ]
        m.d.sync += [
            self.result.eq(Mux(grown < 0, self.maximum, wanted)),
            self.shift.eq(Mux(grown < 0, 0, Mux(grown > 63, 63, grown))),
        ]
        return m


class WeightLane(Component):
    """``w = sat24((power * mantissa) >> fold - exponent)``: a power times V's stored scale.

    One token per edge, latency 2 registers, 1 multiplier (16 x 12 bits).

    Members
    -------
    power : 16 bits. mantissa, exponent : 12 and 5 bits, of the token's V.
    fold : 0 to 63, a constant of the instruction; at least the exponent.
    result : 23 bits. saturated : 1 where the weight did not fit.
    """

    latency, multipliers = 2, 1

    def __init__(self):
        super().__init__(
            {
                "power": In(16),
                "mantissa": In(12),
                "exponent": In(5),
                "fold": In(6),
                "result": Out(OPERAND_BITS - 1),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Product, shift."""
        m = Module()
        product, amount = Signal(28), Signal(6)
        m.d.sync += [
            product.eq(self.power * self.mantissa),
            amount.eq(Mux(self.exponent > self.fold, 0, self.fold - self.exponent)),
        ]
        whole = Signal(28)
        m.d.comb += whole.eq(product >> amount)
        value, clips = clipped(Cat(whole, Const(0, 1)).as_signed(), OPERAND_BITS)
        m.d.sync += [self.result.eq(value), self.saturated.eq(clips)]
        return m


class OutputAccumulator(Component):
    """OACC: ``sat32((word >> J) + sat32(rhe(sum * mantissa, third - exponent)))``.

    One element per edge, latency 4 registers, 1 multiplier (24 x 16 bits).

    Members
    -------
    word : signed, 32 bits, what the blocks before gave. shift : J, 6 bits.
    sum : signed, 24 bits, of the array.
    mantissa, exponent : the scale of the block's weights, 16 and 10 bits signed. third : constant of the instruction.
    result : signed, 32 bits. saturated : of either operation.
    """

    latency, multipliers = 4, 1

    def __init__(self):
        word = signed(WORD_BITS)
        super().__init__(
            {
                "word": In(word),
                "shift": In(6),
                "sum": In(signed(ACCUMULATOR_BITS)),
                "mantissa": In(16),
                "exponent": In(signed(_EXPONENT_BITS)),
                "third": In(signed(_SUM_BITS)),
                "result": Out(word),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Product, rescaler, addition; the old output waits, shifted."""
        m = Module()
        m.submodules.rescaler = rescaler = Rescaler(ACCUMULATOR_BITS + 17, WORD_BITS, _SUM_BITS)
        m.d.sync += [
            rescaler.value.eq(self.sum * self.mantissa),
            rescaler.shift.eq(self.third - self.exponent),
        ]
        old = Signal(signed(WORD_BITS))
        m.d.sync += old.eq(self.word >> self.shift)
        value, clips = clipped(delayed(m, old, 2, "old") + rescaler.result, WORD_BITS)
        m.d.sync += [self.result.eq(value), self.saturated.eq(clips | rescaler.saturated)]
        return m


class OutputNormalizer(Component):
    """ONORM: ``sat32(rhe(sat24(word >> pre) * mantissa, last - exponent - pre))``.

    One element per edge, latency 4 registers, 1 multiplier (24 x 16 bits).

    Members
    -------
    word : signed, 32 bits. pre : 5 bits, by which the row's total exceeds what the operand has room for.
    mantissa, exponent : the reciprocal of the row's total, 16 and 10 bits signed. last : constant of the instruction.
    result : signed, 32 bits. saturated : of either clip.
    """

    latency, multipliers = 4, 1

    def __init__(self):
        super().__init__(
            {
                "word": In(signed(WORD_BITS)),
                "pre": In(5),
                "mantissa": In(16),
                "exponent": In(signed(_EXPONENT_BITS)),
                "last": In(signed(_SUM_BITS)),
                "result": Out(signed(WORD_BITS)),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Shift, product, rescaler."""
        m = Module()
        m.submodules.rescaler = rescaler = Rescaler(OPERAND_BITS + 17, WORD_BITS, _SUM_BITS)
        operand, clipped_early, shift = Signal(signed(OPERAND_BITS)), Signal(), Signal(signed(_SUM_BITS))
        value, clips = clipped(self.word >> self.pre, OPERAND_BITS)
        m.d.sync += [
            operand.eq(value),
            clipped_early.eq(clips),
            shift.eq(self.last - self.exponent - self.pre),
            rescaler.value.eq(operand * delayed(m, self.mantissa, 1, "mantissa")),
            rescaler.shift.eq(shift),
        ]
        m.d.comb += [
            self.result.eq(rescaler.result),
            self.saturated.eq(rescaler.saturated | delayed(m, clipped_early, 3, "early")),
        ]
        return m
