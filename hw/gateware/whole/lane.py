"""The shared vector lane: two multipliers, two rescalers and two tables, on which every kernel of a token runs.

a -> shift, clip -> x1 -> rescale -> x2 -> rescale -> add -> result
      |  sigmoid or power table           bypasses: a, or the shifted a, or both products added (ROPE)
"""

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector.rescale import Rescaler, clipped
from hw.token.decoder import FRACTION
from hw.token.formats import FACTOR_BITS, OPERAND_BITS, WORD_BITS
from hw.token.silu import SIGMOIDS
from hw.token.softmax import HIDDEN, POWERS, SCORE_FRACTION

__all__ = ["LANE_LATENCY", "MOST_LEFT", "SHIFT_BITS", "Ending", "LaneMode", "VectorLane"]

LANE_LATENCY = 10
SHIFT_BITS = 12  # of constants and their differences from exponents, signed
_WIDTH_BITS = (FACTOR_BITS, OPERAND_BITS, WORD_BITS)  # of a result, by the code of its width
MOST_LEFT = 23  # places that an operand may be shifted to the left


class Ending(enum.Enum, shape=2):
    """What the last adder gives of the rescaled x and the addend."""

    ALONE = 0  # x
    SUM = 1  # x + addend
    LESS = 2  # addend - x


# Constant while values are under way.
LaneMode = data.StructLayout(
    {
        "sigmoid": 1,  # the first factor is the sigmoid of a
        "power": 1,  # the first operand is the power of two of a below the row's maximum
        "square": 1,  # the first product is the square of the operand without its 8 lowest bits
        "down": 1,  # the first rescaler floors
        "bypass": 1,  # the second operand is the shifted a
        "partner": 1,  # the second operand is the partner lane's shifted a
        "turn": 1,  # the second rescaler takes first product + second product
        "back": 1,  # the same, first product - second product
        "wide": 1,  # the second rescaler takes a
        "checked": 1,  # a clipped operand raises the flag
        "width": 2,  # code of the result's bits, see ``hw.program.instructions.WIDTHS``
    }
)


class VectorLane(Component):
    """One element per edge, latency ``LANE_LATENCY`` registers, 2 multipliers (24 x 17 bits).

    Members
    -------
    mode : what the instruction makes of the lane.
    a : signed, 32 bits. What is below comes an edge later, when a is in its register.
    right : places that a, lifted by ``MOST_LEFT`` places, is shifted to the right.
    factor1, shift1, factor2, shift2 : of the two products.
    addend, ending : of the last adder.
    maximum : M of the row, for powers.
    hide : give the most negative score.
    partner : ``operand`` of the partner lane.
    operand : the shifted a, an edge in front of the second product.
    result, saturated : ``LANE_LATENCY`` edges after ``a``.
    power, square : the row's sums are made of them, 3 and 4 edges after ``a``.
    """

    latency, multipliers = LANE_LATENCY, 2

    def __init__(self):
        factor, shift = signed(FACTOR_BITS), signed(SHIFT_BITS)
        super().__init__(
            {
                "mode": In(LaneMode),
                "a": In(signed(WORD_BITS)),
                "right": In(6),
                "factor1": In(factor),
                "shift1": In(shift),
                "factor2": In(factor),
                "shift2": In(shift),
                "addend": In(signed(WORD_BITS)),
                "ending": In(Ending),
                "maximum": In(signed(17)),
                "hide": In(1),
                "partner": In(signed(OPERAND_BITS)),
                "operand": Out(signed(OPERAND_BITS)),
                "result": Out(signed(WORD_BITS)),
                "saturated": Out(1),
                "power": Out(16),
                "square": Out(31),
            }
        )

    def elaborate(self, platform) -> Module:
        """Ten registers deep; numbers in names are the edges behind ``a``."""
        m = Module()
        mode = self.mode
        word1 = delayed(m, self.a, 1, "word1_")
        moved = (word1 << MOST_LEFT).as_signed() >> self.right
        low2, top2, clips2 = Signal(OPERAND_BITS), Signal(), Signal()
        above = moved[OPERAND_BITS - 1 :]
        m.d.sync += [low2.eq(moved), top2.eq(above[-1]), clips2.eq(above.any() & ~above.all())]
        ends = Cat((~top2).replicate(OPERAND_BITS - 1), top2)
        operand2 = Mux(clips2, ends, low2).as_signed()
        power, sigmoid = self._power(m, word1), self._sigmoid(m, word1)
        operand3 = Signal(signed(OPERAND_BITS))
        m.d.sync += operand3.eq(Mux(mode.power, power, operand2))
        m.d.comb += self.power.eq(operand3[:16])

        first3, second3, small = Signal(signed(OPERAND_BITS)), Signal(signed(FACTOR_BITS)), operand2 >> 8
        other = Mux(mode.sigmoid, sigmoid, delayed(m, self.factor1, 1, "factor1_"))
        m.d.sync += [
            first3.eq(Mux(mode.power, power, Mux(mode.square, small, operand2))),
            second3.eq(Mux(mode.square, small, other)),
        ]
        product4 = Signal(signed(OPERAND_BITS + FACTOR_BITS))
        m.d.sync += product4.eq(first3 * second3)
        m.d.comb += self.square.eq(product4[:31])

        m.submodules.inner = inner = Rescaler(len(product4), OPERAND_BITS, SHIFT_BITS, floors=True, passes=True)
        m.d.comb += [
            inner.value.eq(product4),
            inner.shift.eq(delayed(m, self.shift1, 3, "shift1_")),
            inner.down.eq(mode.down),
            self.operand.eq(delayed(m, operand3, 2, "operand")),
            inner.instead.eq(mode.partner | mode.bypass),
            inner.other.eq(Mux(mode.partner, self.partner, self.operand)),
        ]
        product7 = Signal(signed(OPERAND_BITS + FACTOR_BITS))
        m.d.sync += product7.eq(inner.result * delayed(m, self.factor2, 5, "factor2_"))
        other7 = delayed(m, product4, 3, "product")
        word7 = delayed(m, word1, 6, "word")

        m.submodules.outer = outer = Rescaler(len(product7) + 1, WORD_BITS, SHIFT_BITS, widths=_WIDTH_BITS)
        beside = Mux(mode.wide, word7, Mux(mode.turn | mode.back, other7, 0))
        m.d.comb += outer.value.eq(_sum(beside, Mux(mode.wide, 0, product7), mode.back))
        m.d.comb += [outer.shift.eq(delayed(m, self.shift2, 6, "shift2_")), outer.code.eq(mode.width)]

        addend, ending = delayed(m, self.addend, 8, "addend"), delayed(m, self.ending, 8, "ending")
        total = Signal(signed(WORD_BITS + 1))
        m.d.comb += total.eq(_sum(Mux(ending == Ending.ALONE, 0, addend), outer.result, ending == Ending.LESS))
        end, over = Signal(signed(WORD_BITS)), Signal()
        _clip(m, total, mode.width, end, over)
        hide = delayed(m, self.hide, 8, "hide")
        both = ~(mode.bypass | mode.partner | mode.wide | mode.turn | mode.back | mode.square)
        inner6 = Signal()
        m.d.comb += inner6.eq(inner.saturated & both)
        early = delayed(m, clips2 & mode.checked, 7, "early") | delayed(m, inner6, 3, "late")
        m.d.sync += [
            self.result.eq(Mux(hide, HIDDEN, end)),
            self.saturated.eq(~hide & (outer.saturated | over | early)),
        ]
        return m

    def _power(self, m: Module, word1: Value) -> Value:
        """The power two edges behind a, as ``hw.gateware.vector.exponential``."""
        m.submodules.powers = table = Memory(shape=16, depth=len(POWERS), init=POWERS.tolist())
        power, score = table.read_port(), word1[:OPERAND_BITS].as_signed()
        octaves = Signal(OPERAND_BITS + 2 - SCORE_FRACTION)
        m.d.comb += [power.addr.eq(score[:SCORE_FRACTION]), octaves.eq(self.maximum - (score >> SCORE_FRACTION))]
        amount, gone = Signal(4), Signal()
        m.d.sync += [
            amount.eq(octaves[:4]),
            gone.eq((word1 == Const(HIDDEN, signed(WORD_BITS))) | octaves[4:].any()),
        ]
        return Mux(gone, 0, power.data >> amount)

    def _sigmoid(self, m: Module, word1: Value) -> Value:
        """The sigmoid two edges behind a."""
        m.submodules.sigmoids = table = Memory(shape=16, depth=len(SIGMOIDS), init=SIGMOIDS.tolist())
        read = table.read_port()
        index, low, high = Signal(signed(OPERAND_BITS)), Signal(), Signal()
        m.d.comb += [index.eq((word1[:OPERAND_BITS].as_signed() >> FRACTION - 6) + 512), read.addr.eq(index[:10])]
        m.d.sync += [low.eq(index < 0), high.eq(index >= len(SIGMOIDS))]
        return Mux(low, 0, Mux(high, 65535, read.data))


def _sum(a: Value, b: Value, minus: Value) -> Value:
    """``a + b``, or ``a - b`` where ``minus`` is 1, by one adder, whose carry enters as a sum of two lowest bits."""
    inverted = (b ^ minus.replicate(len(b)))[: len(b)]
    return (Cat(minus, a).as_signed() + Cat(minus, inverted).as_signed()) >> 1


def _clip(m: Module, value: Value, width: Value, result: Signal, flag: Signal) -> None:
    """``value`` within the bits of a width's code."""
    with m.Switch(width):
        for code, bits in enumerate(_WIDTH_BITS):
            clip, clips = clipped(value, bits)
            with m.Case(code):
                m.d.comb += [result.eq(clip), flag.eq(clips)]
