"""EXP's element: ``p = T[u & 255] >> -(u >> 8)``, ``u = z - 256 M`` (``hw.token.softmax``)."""

from amaranth import Const, Module, Mux, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.token.formats import OPERAND_BITS
from hw.token.softmax import HIDDEN, POWERS, SCORE_FRACTION

__all__ = ["ExponentialLane"]


class ExponentialLane(Component):
    """One score per edge, latency 3 registers, no multiplier: a table of 256 x 16 bits and a shifter.

    Members
    -------
    score : signed, 24 bits; the most negative one is a token that the row must not see.
    maximum : signed, 17 bits, the row's M, at least ``ceil(score / 256)``.
    result : 16 bits, at most 2**15.
    """

    latency, multipliers = 3, 0

    def __init__(self):
        super().__init__({"score": In(signed(OPERAND_BITS)), "maximum": In(signed(17)), "result": Out(16)})

    def elaborate(self, platform) -> Module:
        """Difference, table, shift."""
        m = Module()
        m.submodules.table = table = Memory(shape=16, depth=len(POWERS), init=POWERS.tolist())
        power = table.read_port()
        below = Signal(signed(OPERAND_BITS + 2))  # 256 M - z, 0 or more
        hidden = Signal()
        m.d.sync += [
            below.eq((self.maximum << SCORE_FRACTION) - self.score),
            hidden.eq(self.score == Const(HIDDEN, signed(OPERAND_BITS))),
        ]
        u = Signal(signed(OPERAND_BITS + 2))
        m.d.comb += [u.eq(-below), power.addr.eq(u[:SCORE_FRACTION])]
        octaves = Signal(OPERAND_BITS + 2 - SCORE_FRACTION)
        m.d.comb += octaves.eq(-(u >> SCORE_FRACTION))
        amount, gone = Signal(4), Signal()
        m.d.sync += [amount.eq(octaves[:4]), gone.eq(hidden | octaves[4:].any())]
        m.d.sync += self.result.eq(Mux(gone, 0, power.data >> amount))
        return m
