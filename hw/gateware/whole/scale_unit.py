"""ScaleUnit: a row's long operations: reciprocals, reciprocal roots, and the quantizer's division with its scale."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import enum
from amaranth.lib.data import View
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.vector.scalar import Divider, SquareRoot
from hw.gateware.vector.scale import ScaleMultiplier
from hw.gateware.whole.ports import ScaleLayout
from hw.token.formats import OPERAND_BITS

__all__ = ["SCALE_EDGES", "ScaleTask", "ScaleUnit", "bit_length"]

_DIVIDEND_BITS = 39
_QUOTIENT_BITS = 18  # an inverse is below 2^17, a reciprocal is at most 2^16; a whole number of edges
_BITS_PER_EDGE = 2  # of a quotient, by three comparisons side by side, and of a root, by two in a row


class ScaleTask(enum.Enum, shape=2):
    """``QUANT``: inverse, k and pre of a row's maximum, and its scale; the others make ``scale`` alone."""

    QUANT = 0
    RECIPROCAL = 1  # of scale_of(value)
    ROOT = 2  # 1 / sqrt(value)


# Edges from ``start`` to ``done``.
SCALE_EDGES = {ScaleTask.QUANT: 14, ScaleTask.RECIPROCAL: 14, ScaleTask.ROOT: 23}


class ScaleUnit(Component):
    """One task at a time, 1 multiplier (16 x 16 bits), a divider and a square root of two bits per edge.

    Members
    -------
    start, task, value : begin; ``value``: the row's maximum (32 bits), total, or sum of squares.
    limit, inverse_limit : QUANT: the largest magnitude, and 1 / limit as a scale.
    root, use_root, factor : QUANT: what the scale is multiplied with besides; ``factor`` unless its mantissa is 0.
    done : this edge's outputs are there; they hold until the next start.
    pre, inverse, k : of the quantizer, see ``hw.token.quantize``.
    scale : the row's scale, the reciprocal, the reciprocal root.
    """

    multipliers = 1

    def __init__(self):
        super().__init__(
            {
                "start": In(1),
                "task": In(ScaleTask),
                "value": In(48),
                "limit": In(14),
                "inverse_limit": In(ScaleLayout),
                "root": In(ScaleLayout),
                "use_root": In(1),
                "factor": In(ScaleLayout),
                "done": Out(1),
                "pre": Out(4),
                "inverse": Out(16),
                "k": Out(6),
                "scale": Out(ScaleLayout),
            }
        )

    def elaborate(self, platform) -> Module:
        """Normalize, divide; the scale's products are made while the divider works."""
        m = Module()
        m.submodules.multiplier = multiplier = ScaleMultiplier()
        m.submodules.divider = divider = Divider(_DIVIDEND_BITS, OPERAND_BITS - 1, _QUOTIENT_BITS, _BITS_PER_EDGE)
        m.submodules.square_root = square_root = SquareRoot(32, _BITS_PER_EDGE)
        value, task = Signal(48), Signal(ScaleTask)
        length, exponent = Signal(6), Signal(ScaleLayout["exponent"].shape)
        scale_of, half = Signal(ScaleLayout), (length + 1)[1:]  # half: bits of the root of a value of such a length
        dividend, divisor = Signal(_DIVIDEND_BITS), Signal(OPERAND_BITS - 1)
        step, doubled = Signal(6), Signal(6)  # doubled: k + 1
        m.d.comb += [divider.dividend.eq(dividend), divider.divisor.eq(divisor)]
        m.d.comb += square_root.value.eq(value << 32 >> Cat(0, half))  # 31 or 32 bits
        mantissa_bits = len(scale_of.mantissa)
        m.d.sync += scale_of.mantissa.eq(value << mantissa_bits >> length)  # settled in START
        m.d.sync += scale_of.exponent.eq(Mux(length == 0, 0, length - mantissa_bits))

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [value.eq(self.value), task.eq(self.task)]
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.sync += length.eq(bit_length(m, value, "value"))
                m.next = "OPERANDS"
            with m.State("OPERANDS"):
                m.next = "START"
                with m.Switch(task):
                    with m.Case(ScaleTask.QUANT):
                        pre = Signal(6)
                        m.d.comb += pre.eq(Mux(length > OPERAND_BITS - 1, length - (OPERAND_BITS - 1), 0))
                        kept = Signal(OPERAND_BITS - 1)
                        m.d.comb += kept.eq(value >> pre)
                        m.d.sync += [self.pre.eq(pre), divisor.eq(Mux(length == 0, 1, kept))]
                        bits = Mux(length == 0, 1, Mux(length > OPERAND_BITS - 1, OPERAND_BITS - 1, length))
                        m.d.sync += doubled.eq(16 + bits - bit_length(m, self.limit, "limit"))
                    with m.Case(ScaleTask.ROOT):
                        m.d.comb += square_root.start.eq(1)
                        m.next = "ROOT"
            with m.State("ROOT"):
                with m.If(square_root.done):
                    m.next = "START"
            with m.State("START"):
                m.next = "DIVIDE"
                m.d.sync += step.eq(0)
                with m.Switch(task):
                    with m.Case(ScaleTask.QUANT):
                        m.d.sync += dividend.eq(self.limit << doubled)
                    with m.Case(ScaleTask.RECIPROCAL):
                        m.d.sync += [dividend.eq(1 << 31), divisor.eq(scale_of.mantissa)]
                        m.d.sync += exponent.eq(scale_of.exponent)
                    with m.Case(ScaleTask.ROOT):
                        m.d.sync += [dividend.eq(1 << 31), divisor.eq(square_root.root)]
                        m.d.sync += exponent.eq(half - 16)
            with m.State("DIVIDE"):
                m.d.comb += divider.start.eq(step == 0)
                m.d.sync += step.eq(step + 1)
                with m.If(task == ScaleTask.QUANT):
                    self._multiply(m, step, scale_of, multiplier)
                with m.If(divider.done):
                    m.next = "IDLE"
                    m.d.comb += self.done.eq(1)

        # The quotient holds until the next task: what follows from it is made of it at once.
        wide = divider.quotient[16:].any()
        with m.If(task == ScaleTask.QUANT):
            m.d.comb += [
                self.inverse.eq(Mux(wide, divider.quotient >> 1, divider.quotient)),
                self.k.eq(Mux(wide, doubled - 1, doubled)),
                self.scale.eq(self._product),
            ]
        with m.Else():
            m.d.comb += [
                self.scale.mantissa.eq(Mux(divisor == 0, 0, divider.quotient >> wide)),
                self.scale.exponent.eq(Mux(divisor == 0, 0, wide - 31 - exponent)),
            ]
        return m

    def _multiply(self, m: Module, step: Signal, scale_of: View, multiplier: ScaleMultiplier) -> None:
        """Products of the scale, three steps each."""
        a, b, self._product = Signal(ScaleLayout), Signal(ScaleLayout), Signal(ScaleLayout)
        m.d.comb += [
            multiplier.a_mantissa.eq(a.mantissa),
            multiplier.a_exponent.eq(a.exponent),
            multiplier.b_mantissa.eq(b.mantissa),
            multiplier.b_exponent.eq(b.exponent),
        ]
        made = [
            self._product.mantissa.eq(multiplier.mantissa),
            self._product.exponent.eq(multiplier.exponent),
            a.mantissa.eq(multiplier.mantissa),
            a.exponent.eq(multiplier.exponent),
        ]
        some = self.factor.mantissa.any()
        with m.Switch(step):
            with m.Case(0):
                m.d.sync += [a.eq(scale_of), b.eq(self.inverse_limit)]
            with m.Case(3):
                m.d.sync += [*made, b.eq(Mux(self.use_root, self.root.as_value(), self.factor.as_value()))]
            with m.Case(6):
                with m.If(self.use_root | some):
                    m.d.sync += [*made, b.eq(self.factor)]
            with m.Case(9):
                with m.If(self.use_root):
                    m.d.sync += made


def bit_length(m: Module, value: Value, name: str) -> Signal:
    """Bits of an unsigned value, 0 of 0: the place of the first 1 where another 1 stands behind the value."""
    found = Signal(range(len(value) + 1), name=f"{name}_length")
    m.d.comb += found.eq(_first_place(Cat(Const(1, 1), value)))
    return found


def _first_place(bits: Value) -> Value:
    """The place of the highest 1, by halves: choices behind each other, not a comparison per bit."""
    if len(bits) == 1:
        return Cat()
    half = 1 << (len(bits) - 1).bit_length() - 1
    low, high, above = _first_place(bits[:half]), _first_place(bits[half:]), bits[half:].any()
    return Cat(Mux(above, high, low)[: len(low)], above)
