"""The additions that the array is made of, behind one interface: portable, or from an FPGA family's carry cells."""

from typing import Literal, get_args

from amaranth import Cat, Const, Module, Mux, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.carry import Lut6, ecp5_chain, lut6_chain
from hw.arithmetic.lane import ACTIVATION_BITS, TERM_RANGE, TritCode, term
from hw.errors import InputError

__all__ = ["CELLS", "Cells", "EitherAdder", "GatedAdder", "PairAdder", "TermAdder", "TripleAdder", "check_cells"]

Cells = Literal["portable", "ecp5", "lut6", "asic"]  # lut6: Xilinx 7 series and later; asic: sums for compressors
CELLS: tuple[str, ...] = get_args(Cells)

_ZERO, _ONE = Const(0, 1), Const(1, 1)


def check_cells(cells: str) -> None:
    """Refuse cells that do not exist.

    Raises:
        InputError: the known ones are listed.
    """
    if cells not in CELLS:
        raise InputError(f"cells must be one of {', '.join(CELLS)}, not {cells!r}")


class TermAdder(Component):
    """``total = a + ((x & nonzero) ^ negative)``, combinational: one lane of a chain; the product itself if ``exact``.

    Members
    -------
    a, total : signed, ``width`` bits; ``width`` must hold the sum.
    x : int8, raw bits.
    code : its trit.
    """

    def __init__(self, width: int, cells: Cells = "portable", exact: bool = False):
        self.width, self.cells, self.exact = width, cells, exact
        super().__init__(
            {
                "a": In(signed(width)),
                "x": In(ACTIVATION_BITS),
                "code": In(TritCode),
                "total": Out(signed(width)),
            }
        )

    def elaborate(self, platform) -> Module:
        """An addition, or a carry chain whose tables also select; a negation's missing 1 is its carry in."""
        m = Module()
        carry = self.code.negative if self.exact else _ZERO
        x = [self.x[min(i, ACTIVATION_BITS - 1)] for i in range(self.width)]
        bits = [(a, xi, self.code.nonzero, self.code.negative) for a, xi in zip(self.a, x, strict=True)]
        match self.cells:
            case "ecp5":
                first = [(carry, carry, _ONE, _ZERO)] if self.exact else []  # its sum is 0, its carry out the 1
                total = ecp5_chain(m, first + bits, lambda a, x, nonzero, negative: a ^ (x & nonzero) ^ negative)
                total = total[len(first) :]
            case "lut6":
                lut = Lut6(
                    propagate=lambda a, x, nonzero, negative, _: a ^ (x & nonzero) ^ negative, side=lambda a, *_: a
                )
                total = lut6_chain(m, [lut.place(m, *bit, _ZERO, _ONE) for bit in bits], carry)
            case _ if self.exact:  # one adder: the carry enters from a bit below
                lower = Cat(carry, term(self.x, self.code)).as_signed()
                total = (Cat(_ONE, self.a).as_signed() + lower) >> 1
            case _:
                total = self.a + term(self.x, self.code)
        m.d.comb += self.total.eq(total)
        return m


class GatedAdder(Component):
    """``total = (0 if restart else a) + b``, combinational: an accumulator that starts anew without a clear.

    Members
    -------
    a, b, total : signed, ``width`` bits; ``width`` must hold the sum.
    restart : 1 to forget ``a``.
    """

    def __init__(self, width: int, cells: Cells = "portable"):
        self.width, self.cells = width, cells
        number = signed(width)
        super().__init__({"a": In(number), "b": In(number), "restart": In(1), "total": Out(number)})

    def elaborate(self, platform) -> Module:
        """An addition, or a carry chain whose tables also mask."""
        m = Module()
        bits = [(b, a, self.restart) for a, b in zip(self.a, self.b, strict=True)]
        match self.cells:
            case "ecp5":
                ones = [(*bit, _ONE) for bit in bits]
                total = ecp5_chain(m, ones, lambda b, a, restart, one: b ^ (a & (one & ~restart)))
            case "lut6":
                lut = Lut6(propagate=lambda b, a, restart, *_: b ^ (a & ~restart & 1), side=lambda b, *_: b)
                total = lut6_chain(m, [lut.place(m, *bit, _ZERO, _ZERO, _ONE) for bit in bits])
            case _:
                total = Mux(self.restart, 0, self.a) + self.b
        m.d.comb += self.total.eq(total)
        return m


class EitherAdder(Component):
    """``total = (a | c) + b``, combinational: a sum that comes from one of two registers, of which the other is 0.

    Members
    -------
    a, b, c, total : signed, ``width`` bits; ``width`` must hold the sum.
    """

    def __init__(self, width: int, cells: Cells = "portable"):
        self.width, self.cells = width, cells
        number = signed(width)
        super().__init__({"a": In(number), "b": In(number), "c": In(number), "total": Out(number)})

    def elaborate(self, platform) -> Module:
        """An addition, or a carry chain whose tables also join."""
        m = Module()
        bits = list(zip(self.b, self.a, self.c, strict=True))
        match self.cells:
            case "ecp5":
                ones = [(*bit, _ONE) for bit in bits]
                total = ecp5_chain(m, ones, lambda b, a, c, one: b ^ ((a | c) & one))
            case "lut6":
                lut = Lut6(propagate=lambda b, a, c, *_: b ^ (a | c), side=lambda b, *_: b)
                total = lut6_chain(m, [lut.place(m, *bit, _ZERO, _ZERO, _ONE) for bit in bits])
            case _:
                total = (self.a | self.c) + self.b
        m.d.comb += self.total.eq(total)
        return m


class PairAdder(Component):
    """``total = the terms of two lanes``, combinational: one LUT6 per bit selects both and adds them.

    Members
    -------
    x : two int8, raw bits.
    codes : their trits.
    total : signed, one bit wider than a term.
    """

    def __init__(self, cells: Cells = "portable"):
        self.cells = cells
        super().__init__(
            {
                "x": In(data.ArrayLayout(ACTIVATION_BITS, 2)),
                "codes": In(data.ArrayLayout(TritCode, 2)),
                "total": Out(signed((-2 * TERM_RANGE[0]).bit_length())),
            }
        )

    def elaborate(self, platform) -> Module:
        """An addition of two terms; or tables with the second lane's *nonzero* on the input that chooses their half.

        Where it is 0, and so *negative* too, the sum bit is the first lane's term: what the lower half holds anyway.
        """
        m = Module()
        (x, y), (first, second) = self.x, self.codes
        if self.cells != "lut6":
            m.d.comb += self.total.eq(term(x, first) + term(y, second))
            return m
        lut = Lut6(
            propagate=lambda x, nonzero, negative, y, negative_y: (x & nonzero) ^ negative ^ y ^ negative_y,
            side=lambda x, nonzero, negative, *_: (x & nonzero) ^ negative,
        )
        bits = [min(i, ACTIVATION_BITS - 1) for i in range(len(self.total))]
        placed = [
            lut.place(m, x[i], first.nonzero, first.negative, y[i], second.negative, second.nonzero) for i in bits
        ]
        m.d.comb += self.total.eq(lut6_chain(m, placed))
        return m


class TripleAdder(Component):
    """``total = a + b + c``, combinational: one LUT6 per bit, which also makes the carry-save bit of the next.

    Members
    -------
    a, b, c, total : signed, ``width`` bits; ``width`` must hold the sum.
    """

    def __init__(self, width: int, cells: Cells = "portable"):
        self.width, self.cells = width, cells
        number = signed(width)
        super().__init__({"a": In(number), "b": In(number), "c": In(number), "total": Out(number)})

    def elaborate(self, platform) -> Module:
        """Two additions; or tables that compress three bits to two, and the carry chain that adds those."""
        m = Module()
        if self.cells != "lut6":
            m.d.comb += self.total.eq(self.a + self.b + self.c)
            return m
        lut = Lut6(
            propagate=lambda a, b, c, saved, _: a ^ b ^ c ^ saved, side=lambda a, b, c, *_: (a & b) | (c & (a | b))
        )
        saved, placed = _ZERO, []
        for a, b, c in zip(self.a, self.b, self.c, strict=True):
            propagate, majority = lut.place(m, a, b, c, saved, _ZERO, _ONE)
            placed.append((propagate, saved))
            saved = majority
        m.d.comb += self.total.eq(lut6_chain(m, placed))
        return m
