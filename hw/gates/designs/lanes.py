"""Single lanes: one multiply-accumulate with its operand and accumulator registers, ternary and integer."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.compressors import add_rows, compress, merge, products

__all__ = ["IntegerLane", "TernaryLane", "add_selected"]


def add_selected(accumulator, x, weight):
    """``accumulator + t * x`` with one adder: ``x`` is masked and inverted, the +1 of a negation is the carry in.

    ``accumulator`` signed(n), ``x`` a Signal of 8 bits, ``weight`` the trit code (bit 0 nonzero, bit 1 negative).
    """
    nonzero, negative = weight[0], weight[1]
    term = ((x & nonzero.replicate(len(x))) ^ negative.replicate(len(x)))[: len(x)].as_signed()
    return ((Cat(1, accumulator).as_signed() + Cat(negative, term).as_signed()) >> 1)[: len(accumulator)].as_signed()


class TernaryLane(wiring.Component):
    """int8 activation x trit, accumulated: ``acc <- (0 if first else acc) + t * x``.

    Operands are registered; the sum of the operands given in cycle c stands in ``acc`` after edge c + 2.

    Parameters: ``accumulator_bits``, the width of ``acc``.
    """

    def __init__(self, accumulator_bits: int) -> None:
        self.accumulator_bits = accumulator_bits
        super().__init__({"x": In(8), "w": In(2), "first": In(1), "acc": Out(signed(accumulator_bits))})

    def elaborate(self, platform):
        """Build the lane."""
        m = Module()
        x = Signal(8, reset_less=True)
        w = Signal(2, reset_less=True)
        first = Signal(reset_less=True)
        acc = Signal(signed(self.accumulator_bits), reset_less=True)
        start = Signal.like(acc)
        m.d.sync += [x.eq(self.x), w.eq(self.w), first.eq(self.first)]
        m.d.comb += [start.eq(Mux(first, 0, acc)), self.acc.eq(acc)]
        m.d.sync += acc.eq(add_selected(start, x, w))
        return m


class IntegerLane(wiring.Component):
    """int8 activation x signed weight of ``weight_bits``, accumulated like ``TernaryLane``.

    ``pipelined`` puts a register between multiplier and adder: the sum of cycle c then stands after edge c + 3.
    """

    def __init__(self, weight_bits: int, accumulator_bits: int, pipelined: bool = True) -> None:
        self.weight_bits = weight_bits
        self.accumulator_bits = accumulator_bits
        self.pipelined = pipelined
        super().__init__({"x": In(8), "w": In(weight_bits), "first": In(1), "acc": Out(signed(accumulator_bits))})

    def elaborate(self, platform):
        """Build the lane."""
        m = Module()
        x = Signal(signed(8), reset_less=True)
        w = Signal(signed(self.weight_bits), reset_less=True)
        first = Signal(reset_less=True)
        acc = Signal(signed(self.accumulator_bits), reset_less=True)
        m.d.sync += [x.eq(self.x), w.eq(self.w), first.eq(self.first)]
        columns, correction = products(x.as_unsigned(), w.as_unsigned(), signed=True)
        width = 8 + self.weight_bits
        constant = [[Const(1, 1)] if correction >> i & 1 else [] for i in range(width)]
        raw = add_rows(m, compress(m, merge([columns, constant]), "fa"), width, "ripple")
        product = Signal(signed(width), reset_less=True)
        starts = Signal(reset_less=True)
        domain = m.d.sync if self.pipelined else m.d.comb
        domain += [product.eq(raw), starts.eq(first)]
        m.d.sync += acc.eq(Mux(starts, 0, acc) + product)
        m.d.comb += self.acc.eq(acc)
        return m
