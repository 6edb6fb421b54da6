"""A stream with every output in a register, so that no valid or ready goes through within an edge."""

from amaranth import Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

__all__ = ["RegisterSlice"]


class RegisterSlice(Component):
    """Two registers of ``bits``: one that is offered on, one for the word that comes while the first is held.

    Latency 1 edge, one word per edge.

    Members
    -------
    i, o : the stream in and out.
    """

    def __init__(self, bits: int):
        self.bits = bits
        super().__init__({"i": In(stream.Signature(bits)), "o": Out(stream.Signature(bits))})

    def elaborate(self, platform) -> Module:
        """The second register is filled only while the first is held, and empties into it."""
        m = Module()
        offered, payload = Signal(), Signal(self.bits)
        waiting, behind = Signal(), Signal(self.bits)
        moves = self.o.ready | ~offered
        accepted = self.i.valid & self.i.ready
        m.d.comb += [self.i.ready.eq(~waiting), self.o.valid.eq(offered), self.o.payload.eq(payload)]
        with m.If(moves):
            m.d.sync += [offered.eq(waiting | accepted), waiting.eq(0)]
            with m.If(waiting):
                m.d.sync += payload.eq(behind)
            with m.Else():
                m.d.sync += payload.eq(self.i.payload)
        with m.Elif(accepted):
            m.d.sync += [waiting.eq(1), behind.eq(self.i.payload)]
        return m
