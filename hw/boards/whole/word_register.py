"""WordRegister: memory words wait in a register, so that what decodes them does not begin at the memory's queue."""

from amaranth import Module
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

__all__ = ["WordRegister"]


class WordRegister(Component):
    """A word an edge later, one per edge: the register is filled on the edge that empties it.

    Members
    -------
    input, output : words, in order.
    """

    def __init__(self, bits: int):
        super().__init__({"input": In(stream.Signature(bits)), "output": Out(stream.Signature(bits))})

    def elaborate(self, platform) -> Module:
        """Empty or taken on this edge: the next word."""
        m = Module()
        m.d.comb += self.input.ready.eq(~self.output.valid | self.output.ready)
        with m.If(self.input.ready):
            m.d.sync += [self.output.valid.eq(self.input.valid), self.output.payload.eq(self.input.payload)]
        return m
