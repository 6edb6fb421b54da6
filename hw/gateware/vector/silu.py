"""GLU's element: ``h = sat32(rhe(sat24(rhe(g * SIG, 16)) * u, up_fraction))`` (``hw.token.silu``)."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector.rescale import Rescaler
from hw.token.formats import FACTOR_BITS, OPERAND_BITS, WORD_BITS
from hw.token.silu import SIGMOIDS

__all__ = ["GluLane"]

_INDEX_BITS = 10


class GluLane(Component):
    """One element per edge, latency 7 registers, 2 multipliers (24 x 16 and 24 x 17 bits), a table of 1024 x 16 bits.

    Members
    -------
    gate : signed, 24 bits, ``fraction`` fraction bits (6 or more).
    up : signed, 17 bits; up_fraction : its fraction bits, 0 to 47.
    result : signed, 32 bits, ``fraction`` fraction bits. saturated : of either rounding.
    """

    latency, multipliers = 7, 2

    def __init__(self, fraction: int):
        self.fraction = fraction
        super().__init__(
            {
                "gate": In(signed(OPERAND_BITS)),
                "up": In(signed(FACTOR_BITS)),
                "up_fraction": In(6),
                "result": Out(signed(WORD_BITS)),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Table, product, rescaler, product, rescaler."""
        m = Module()
        m.submodules.table = table = Memory(shape=16, depth=len(SIGMOIDS), init=SIGMOIDS.tolist())
        m.submodules.inner = inner = Rescaler(OPERAND_BITS + 17, OPERAND_BITS, 6)
        m.submodules.outer = outer = Rescaler(OPERAND_BITS + FACTOR_BITS, WORD_BITS, 7)
        read = table.read_port()
        index = Signal(signed(OPERAND_BITS))
        m.d.comb += [index.eq((self.gate >> self.fraction - 6) + 512), read.addr.eq(index[:_INDEX_BITS])]
        low, high = Signal(), Signal()
        m.d.sync += [low.eq(index < 0), high.eq(index >= len(SIGMOIDS))]
        sigmoid = Mux(low, 0, Mux(high, 65535, read.data))
        m.d.sync += inner.value.eq(delayed(m, self.gate, 1, "gate") * sigmoid)
        m.d.comb += inner.shift.eq(16)
        m.d.sync += [
            outer.value.eq(inner.result * delayed(m, self.up, 4, "up")),
            outer.shift.eq(delayed(m, self.up_fraction, 4, "up_fraction")),
        ]
        early = Signal()
        m.d.sync += early.eq(inner.saturated)
        m.d.comb += [
            self.result.eq(outer.result),
            self.saturated.eq(outer.saturated | delayed(m, early, 2, "early")),
        ]
        return m
