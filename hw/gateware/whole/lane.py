"""The shared vector lane: two multipliers, two rescalers and two tables, on which every kernel of a token runs.

a -> shift, clip -> x1 -> rescale -> x2 -> rescale -> add -> result
      |  sigmoid or power table           bypasses: a, or the shifted a, or both products added (ROPE)
"""

from amaranth import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector.rescale import Rescaler, clipped
from hw.token.decoder import FRACTION
from hw.token.formats import FACTOR_BITS, OPERAND_BITS, WORD_BITS
from hw.token.silu import SIGMOIDS
from hw.token.softmax import HIDDEN, POWERS, SCORE_FRACTION

__all__ = ["LANE_LATENCY", "SHIFT_BITS", "Ending", "LaneMode", "VectorLane"]

LANE_LATENCY = 10
SHIFT_BITS = 12  # of constants and their differences from exponents, signed
_MOST_LEFT = 23  # places that an operand may be shifted to the left


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
    a : signed, 32 bits. pre : right shift of a, signed; negative ones shift left.
    factor1, shift1, factor2, shift2 : of the two products.
    addend, ending : of the last adder; ``ending`` in time with ``a``.
    maximum : M of the row, for powers.
    hide : give the most negative score.
    partner : ``operand`` of the partner lane.
    operand : the shifted a, in time with the second product.
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
                "pre": In(signed(7)),
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
        operand1, clips1 = Signal(signed(OPERAND_BITS)), Signal()
        lifted, right = Signal(signed(WORD_BITS + _MOST_LEFT)), Signal(6)
        m.d.comb += [lifted.eq(self.a << _MOST_LEFT), right.eq(self.pre + _MOST_LEFT)]
        value, clips = clipped(lifted >> right, OPERAND_BITS)
        m.d.sync += [operand1.eq(value), clips1.eq(clips & mode.checked)]
        operand2 = delayed(m, operand1, 1, "operand2_")
        power = self._power(m)
        operand3 = Signal(signed(OPERAND_BITS))
        m.d.sync += operand3.eq(Mux(mode.power, power, operand2))
        m.d.comb += self.power.eq(operand3[:16])

        factor3 = Signal(signed(FACTOR_BITS))
        sigmoid2 = delayed(m, self._sigmoid(m), 1, "sigmoid2_")
        m.d.sync += factor3.eq(Mux(mode.sigmoid, sigmoid2, delayed(m, self.factor1, 2, "factor1_")))
        small = operand3 >> 8
        product4 = Signal(signed(OPERAND_BITS + FACTOR_BITS))
        first, second = Signal(signed(OPERAND_BITS)), Signal(signed(FACTOR_BITS))
        m.d.comb += [first.eq(Mux(mode.square, small, operand3)), second.eq(Mux(mode.square, small, factor3))]
        m.d.sync += product4.eq(first * second)
        m.d.comb += self.square.eq(product4[:31])

        m.submodules.inner = inner = Rescaler(len(product4), OPERAND_BITS, SHIFT_BITS, floors=True)
        m.d.comb += [
            inner.value.eq(product4),
            inner.shift.eq(delayed(m, self.shift1, 4, "shift1_")),
            inner.down.eq(mode.down),
        ]
        m.d.comb += self.operand.eq(delayed(m, operand3, 3, "operand"))
        operand6 = Mux(mode.partner, self.partner, Mux(mode.bypass, self.operand, inner.result))
        product7 = Signal(signed(OPERAND_BITS + FACTOR_BITS))
        m.d.sync += product7.eq(operand6 * delayed(m, self.factor2, 6, "factor2_"))
        other7 = delayed(m, product4, 3, "product")
        word7 = delayed(m, self.a, 7, "word")

        m.submodules.outer = outer = Rescaler(len(product7) + 1, WORD_BITS, SHIFT_BITS)
        with m.If(mode.wide):
            m.d.comb += outer.value.eq(word7)
        with m.Elif(mode.turn):
            m.d.comb += outer.value.eq(other7 + product7)
        with m.Elif(mode.back):
            m.d.comb += outer.value.eq(other7 - product7)
        with m.Else():
            m.d.comb += outer.value.eq(product7)
        m.d.comb += outer.shift.eq(delayed(m, self.shift2, 7, "shift2_"))

        addend, ending = delayed(m, self.addend, 9, "addend"), delayed(m, self.ending, 9, "ending")
        x, narrow = Signal(signed(WORD_BITS)), Signal()
        _clip(m, outer.result, mode.width, x, narrow)
        total = Signal(signed(WORD_BITS + 1))
        with m.Switch(ending):
            with m.Case(Ending.SUM):
                m.d.comb += total.eq(addend + x)
            with m.Case(Ending.LESS):
                m.d.comb += total.eq(addend - x)
            with m.Default():
                m.d.comb += total.eq(x)
        end, over = Signal(signed(WORD_BITS)), Signal()
        _clip(m, total, mode.width, end, over)
        hide = delayed(m, self.hide, 9, "hide")
        both = ~(mode.bypass | mode.partner | mode.wide | mode.turn | mode.back | mode.square)
        inner6 = Signal()
        m.d.comb += inner6.eq(inner.saturated & both)
        early = delayed(m, clips1, 8, "early") | delayed(m, inner6, 3, "late")
        m.d.sync += [
            self.result.eq(Mux(hide, HIDDEN, end)),
            self.saturated.eq(~hide & (outer.saturated | narrow | over | early)),
        ]
        return m

    def _power(self, m: Module) -> Value:
        """The power two edges behind a, as ``hw.gateware.vector.exponential``."""
        m.submodules.powers = table = Memory(shape=16, depth=len(POWERS), init=POWERS.tolist())
        power = table.read_port()
        below, hidden = Signal(signed(OPERAND_BITS + 2)), Signal()
        m.d.sync += [
            below.eq((self.maximum << SCORE_FRACTION) - self.a[:OPERAND_BITS].as_signed()),
            hidden.eq(self.a == Const(HIDDEN, signed(WORD_BITS))),
        ]
        u = Signal(signed(OPERAND_BITS + 2))
        octaves = Signal(OPERAND_BITS + 2 - SCORE_FRACTION)
        m.d.comb += [u.eq(-below), power.addr.eq(u[:SCORE_FRACTION]), octaves.eq(-(u >> SCORE_FRACTION))]
        amount, gone = Signal(4), Signal()
        m.d.sync += [amount.eq(octaves[:4]), gone.eq(hidden | octaves[4:].any())]
        return Mux(gone, 0, power.data >> amount)

    def _sigmoid(self, m: Module) -> Value:
        """The sigmoid one edge behind a."""
        m.submodules.sigmoids = table = Memory(shape=16, depth=len(SIGMOIDS), init=SIGMOIDS.tolist())
        read = table.read_port()
        index, low, high = Signal(signed(OPERAND_BITS)), Signal(), Signal()
        m.d.comb += [index.eq((self.a[:OPERAND_BITS].as_signed() >> FRACTION - 6) + 512), read.addr.eq(index[:10])]
        m.d.sync += [low.eq(index < 0), high.eq(index >= len(SIGMOIDS))]
        return Mux(low, 0, Mux(high, 65535, read.data))


def _clip(m: Module, value: Value, width: Value, result: Signal, flag: Signal) -> None:
    """``value`` within the bits of a width's code."""
    with m.Switch(width):
        for code, bits in enumerate((FACTOR_BITS, OPERAND_BITS, WORD_BITS)):
            clip, clips = clipped(value, bits)
            with m.Case(code):
                m.d.comb += [result.eq(clip), flag.eq(clips)]
