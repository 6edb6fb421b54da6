"""ROPE's pair: ``e' = rhe(e c - o s, 14)``, ``o' = rhe(e s + o c, 14)`` (``hw.token.rope``)."""

from amaranth import Module, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.vector.rescale import nearest
from hw.token.formats import OPERAND_BITS, WORD_BITS
from hw.token.rope import TABLE_FRACTION

__all__ = ["RotaryPair"]


class RotaryPair(Component):
    """Two neighbouring elements per edge, latency 3 registers, 4 multipliers (24 x 16 bits): those of two lanes.

    Members
    -------
    even, odd : signed, 24 bits: elements 2 i and 2 i + 1 of a head.
    cosine, sine : signed, 16 bits, Q1.14.
    even_result, odd_result : signed, 32 bits.
    """

    latency, multipliers = 3, 4

    def __init__(self):
        factor, word = signed(OPERAND_BITS), signed(WORD_BITS)
        super().__init__(
            {
                "even": In(factor),
                "odd": In(factor),
                "cosine": In(signed(16)),
                "sine": In(signed(16)),
                "even_result": Out(word),
                "odd_result": Out(word),
            }
        )

    def elaborate(self, platform) -> Module:
        """Products, sums, rounding by a constant."""
        m = Module()

        def product(name: str, word: Value, factor: Value) -> Signal:
            value = Signal(signed(OPERAND_BITS + 16), name=name)
            m.d.sync += value.eq(word * factor)
            return value

        even_cosine, odd_sine = product("even_cosine", self.even, self.cosine), product("odd_sine", self.odd, self.sine)
        even_sine, odd_cosine = product("even_sine", self.even, self.sine), product("odd_cosine", self.odd, self.cosine)
        for name, total, result in (
            ("even_sum", even_cosine - odd_sine, self.even_result),
            ("odd_sum", even_sine + odd_cosine, self.odd_result),
        ):
            value = Signal(signed(OPERAND_BITS + 17), name=name)
            m.d.sync += value.eq(total)
            guard, rest = value[TABLE_FRACTION - 1], value[: TABLE_FRACTION - 1].any()
            m.d.sync += result.eq(nearest(value >> TABLE_FRACTION, guard, rest))
        return m
