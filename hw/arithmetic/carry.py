"""Carry chains of FPGA families as instances, with tables that compute more than a sum in the cells of one.

A half of an ECP5 ``CCU2C`` holds a four-input table T and a carry multiplexer: S = T ^ carry in, carry out = carry in
where T is 1, else T2, the table's low four entries over A and B. So S = a + f(b, c, d) takes one cell per bit when
T = A ^ f and the low four entries are A: the selection costs nothing beyond the addition.
Ref: Lattice FPGA-TN-02200 (ECP5 sysCONFIG and slice, carry mode); Yosys' simulation model of CCU2C.

A Xilinx ``LUT6_2`` gives O6 of six inputs and O5, its lower half, of the first five; ``CARRY4`` makes four bits of
S = O6 ^ carry in, carry out = carry in where O6 is 1, else DI, which may be O5.
Ref: AMD UG474 (7 Series FPGAs Configurable Logic Block), chapters on look-up tables and carry logic.
"""

from collections.abc import Callable
from typing import NamedTuple

from amaranth import Cat, Const, Instance, Module, Signal, Value

__all__ = ["Lut6", "ecp5_chain", "lut6_chain"]

_CARRY4_BITS = 4


def ecp5_chain(
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


class Lut6(NamedTuple):
    """The tables of one ``LUT6_2`` over its inputs I0 to I4, bits as 0 or 1; ``propagate`` counts where I5 is 1."""

    propagate: Callable[[int, int, int, int, int], int]  # O6 while I5 is 1
    side: Callable[[int, int, int, int, int], int]  # O5, and O6 while I5 is 0

    def place(self, m: Module, *inputs: Value) -> tuple[Value, Value]:
        """An instance with inputs I0 to I5; its outputs O6 and O5."""
        cases = [tuple(i >> bit & 1 for bit in range(5)) for i in range(32)]
        init = sum(self.side(*case) << i | self.propagate(*case) << 32 + i for i, case in enumerate(cases))
        o6 = Signal()
        o5 = Signal()
        ports = {f"i_I{i}": value for i, value in enumerate(inputs)}
        m.submodules += Instance("LUT6_2", p_INIT=Const(init, 64), o_O6=o6, o_O5=o5, **ports)
        return o6, o5


def lut6_chain(m: Module, bits: list[tuple[Value, Value]], carry_in: Value | None = None) -> Value:
    """The sum bits of a chain of ``CARRY4`` over (propagate, DI) of each bit; ``carry_in``: 0 unless given."""
    total = []
    carry = Const(0, 1)
    zero = Const(0, 1)
    for low in range(0, len(bits), _CARRY4_BITS):
        part = bits[low : low + _CARRY4_BITS]
        padded = part + [(zero, zero)] * (_CARRY4_BITS - len(part))
        sums, carries = Signal(_CARRY4_BITS, name=f"sum{low}"), Signal(_CARRY4_BITS, name=f"carry{low}")
        m.submodules += Instance(
            "CARRY4",
            i_CI=carry,
            i_CYINIT=zero if low or carry_in is None else carry_in,
            i_S=Cat(propagate for propagate, _ in padded),
            i_DI=Cat(side for _, side in padded),
            o_O=sums,
            o_CO=carries,
        )
        total += list(sums[: len(part)])
        carry = carries[-1]
    return Cat(total).as_signed()
