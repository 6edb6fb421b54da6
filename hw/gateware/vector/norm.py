"""NORM's element and its square (``hw.token.norm``)."""

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector.rescale import nearest
from hw.token.formats import OPERAND_BITS, WORD_BITS

__all__ = ["NormLane", "SquareLane"]

_SHIFT_BITS = 6  # of h, signed: -15 to 17
_GAIN_SHIFT = 15


class NormLane(Component):
    """``y = rhe((x >> h - 8) * gain, 15)``; one element per edge, latency 3 registers, 1 multiplier (24 x 16 bits).

    Members
    -------
    word : signed, 32 bits.
    h : signed, the shift that brings the row's maximum to 15 bits; negative ones shift left.
    gain : signed, 16 bits.
    result : signed, 24 bits.
    """

    latency, multipliers = 3, 1

    def __init__(self):
        super().__init__(
            {
                "word": In(signed(WORD_BITS)),
                "h": In(signed(_SHIFT_BITS)),
                "gain": In(signed(16)),
                "result": Out(signed(OPERAND_BITS)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Shift, product, rounding by a constant."""
        m = Module()
        operand, product = Signal(signed(OPERAND_BITS)), Signal(signed(OPERAND_BITS + 16))
        m.d.sync += [
            operand.eq(_both_ways(m, self.word, self.h - 8, 23)),
            product.eq(operand * delayed(m, self.gain, 1, "gain")),
        ]
        floor, guard, rest = product >> _GAIN_SHIFT, product[_GAIN_SHIFT - 1], product[: _GAIN_SHIFT - 1].any()
        m.d.sync += self.result.eq(nearest(floor, guard, rest))
        return m


class SquareLane(Component):
    """``(x >> h)**2``; one element per edge, latency 2 registers, 1 multiplier (16 x 16 bits).

    Members
    -------
    word, h : as of ``NormLane``.
    result : 31 bits.
    """

    latency, multipliers = 2, 1

    def __init__(self):
        super().__init__({"word": In(signed(WORD_BITS)), "h": In(signed(_SHIFT_BITS)), "result": Out(31)})

    def elaborate(self, platform) -> Module:
        """Shift, product."""
        m = Module()
        operand = Signal(signed(16))
        m.d.sync += [operand.eq(_both_ways(m, self.word, self.h, 15)), self.result.eq(operand * operand)]
        return m


def _both_ways(m: Module, word: Value, shift: Value, most_left: int) -> Value:
    """``word >> shift``, or to the left by up to ``most_left`` where ``shift`` is negative.

    One right shifter: the word starts ``most_left`` places to the left, of which ``shift + most_left`` are taken back.
    """
    lifted, right = Signal(signed(len(word) + most_left)), Signal(6)
    m.d.comb += [lifted.eq(word << most_left), right.eq(Mux(shift < -most_left, 0, shift + most_left))]
    return lifted >> right
