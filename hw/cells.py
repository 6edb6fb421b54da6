"""The two additions that the array is made of, behind one interface: portable, or one ECP5 carry cell per bit.

A half of an ECP5 ``CCU2C`` holds a four-input table T and a carry multiplexer: S = T ^ carry in, carry out = carry in
where T is 1, else T2, the table's low four entries over A and B. So S = a + f(b, c, d) takes one cell per bit when
T = A ^ f and T at C = D = 0 is A: the selection costs nothing beyond the addition.
Ref: Lattice FPGA-TN-02200 (ECP5 sysCONFIG and slice, carry mode); Yosys' simulation model of CCU2C.
"""

from collections.abc import Callable
from typing import Literal, get_args

from amaranth import Const, Instance, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw.errors import InputError
from hw.lane import ACTIVATION_BITS, TritCode, term

__all__ = ["CELLS", "Cells", "GatedAdder", "TermAdder", "check_cells"]

Cells = Literal["portable", "ecp5"]
CELLS: tuple[str, ...] = get_args(Cells)


def check_cells(cells: str) -> None:
    """Refuse cells that do not exist.

    Raises:
        InputError: the known ones are listed.
    """
    if cells not in CELLS:
        raise InputError(f"cells must be one of {', '.join(CELLS)}, not {cells!r}")


class TermAdder(Component):
    """``total = a + ((x & nonzero) ^ negative)``, combinational: one lane of a chain.

    Members
    -------
    a, total : signed, ``width`` bits; ``width`` must hold the sum.
    x : int8, raw bits.
    code : its trit.
    """

    def __init__(self, width: int, cells: Cells = "portable"):
        self.width, self.cells = width, cells
        super().__init__(
            {
                "a": In(signed(width)),
                "x": In(ACTIVATION_BITS),
                "code": In(TritCode),
                "total": Out(signed(width)),
            }
        )

    def elaborate(self, platform) -> Module:
        """An addition, or a carry chain whose tables also select."""
        m = Module()
        if self.cells == "portable":
            m.d.comb += self.total.eq(self.a + term(self.x, self.code))
        else:
            x = self.x.as_signed()
            bits = [
                (self.a[i], x[min(i, ACTIVATION_BITS - 1)], self.code.nonzero, self.code.negative)
                for i in range(self.width)
            ]
            m.d.comb += self.total.eq(_carry_chain(m, bits, lambda a, b, c, d: a ^ (b & c) ^ d))
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
        if self.cells == "portable":
            m.d.comb += self.total.eq(Mux(self.restart, 0, self.a) + self.b)
        else:
            bits = [(self.b[i], self.a[i], self.restart, Const(1, 1)) for i in range(self.width)]
            m.d.comb += self.total.eq(_carry_chain(m, bits, lambda b, a, restart, one: b ^ (a & (one & ~restart))))
        return m


def _carry_chain(
    m: Module, bits: list[tuple[Value, Value, Value, Value]], table: Callable[[int, int, int, int], int]
) -> Value:
    """The sum bits of a chain of ``CCU2C``: inputs A, B, C, D of each bit, and T as a function of them."""
    init = sum(table(i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3) << i for i in range(16))
    if init & 0xF != 0b1010:
        raise ValueError(f"the table's low entries must equal input A for the carry to be right, not {init & 0xF:04b}")
    total = Signal(len(bits) + len(bits) % 2)
    carry = Const(0, 1)
    zero = (Const(0, 1),) * 4
    for low in range(0, len(bits), 2):
        (a0, b0, c0, d0), (a1, b1, c1, d1) = bits[low], bits[low + 1] if low + 1 < len(bits) else zero
        carry_out = Signal(name=f"carry{low}")
        m.submodules += Instance(
            "CCU2C",
            p_INIT0=Const(init, 16),
            p_INIT1=Const(init, 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=carry,
            **{"i_A0": a0, "i_B0": b0, "i_C0": c0, "i_D0": d0, "i_A1": a1, "i_B1": b1, "i_C1": c1, "i_D1": d1},
            o_S0=total[low],
            o_S1=total[low + 1],
            o_COUT=carry_out,
        )
        carry = carry_out
    return total[: len(bits)].as_signed()
