"""A stream of bytes in other words: from any number of bytes a word to any other, the first byte lowest."""

from math import gcd

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

__all__ = ["Gearbox"]


class Gearbox(Component):
    """Words of ``in_bytes`` to words of ``out_bytes``; the wider side moves on every edge that the narrower has enough.

    Members
    -------
    i, o : the stream in and out; no ready follows the other side's within an edge.
    flush : what is held is offered too where it is less than a word, with zeros behind.
    clear : drop what is held.
    """

    def __init__(self, in_bytes: int, out_bytes: int):
        self.in_bytes, self.out_bytes = in_bytes, out_bytes
        members = {"i": In(stream.Signature(8 * in_bytes)), "o": Out(stream.Signature(8 * out_bytes))}
        super().__init__(members | {"flush": In(1), "clear": In(1)})

    def elaborate(self, platform) -> Module:
        """Bytes are held in units of what both widths are multiples of: a power of two, where one width is one."""
        m = Module()
        unit = gcd(self.in_bytes, self.out_bytes)
        comes, goes = self.in_bytes // unit, self.out_bytes // unit
        most = 2 * max(comes, goes)
        level, held = Signal(range(most + 1)), Signal(8 * unit * most)
        left, kept = Signal.like(level), Signal.like(held)
        fires = self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(level <= most - comes),
            self.o.valid.eq((level >= goes) | (self.flush & (level != 0))),
            self.o.payload.eq(held),
            left.eq(Mux(fires, Mux(level >= goes, level - goes, 0), level)),
            kept.eq(Mux(fires, held >> 8 * self.out_bytes, held)),
        ]
        m.d.sync += [level.eq(left), held.eq(kept)]
        with m.If(self.i.valid & self.i.ready):
            place = Cat(Const(0, (8 * unit).bit_length() - 1), left)  # times the bits of a unit
            m.d.sync += [level.eq(left + comes), held.eq(kept | (self.i.payload << place))]
        with m.If(self.clear):
            m.d.sync += [level.eq(0), held.eq(0)]
        return m
