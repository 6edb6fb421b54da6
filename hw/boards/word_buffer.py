"""A FIFO in block RAM with registers for flags and behind the memory, so that what reads it waits for neither."""

from amaranth import Elaboratable, Module, Mux, Signal
from amaranth.lib.memory import Memory

__all__ = ["WordBuffer"]


class WordBuffer(Elaboratable):
    """``depth`` words (3 or more) of ``width`` bits, two of them on their way out: behind the memory and in ``r_data``.

    A block RAM of an ECP5 answers 5.8 ns after its clock, of the 10 ns of a cycle at 100 MHz; the register behind it
    may stand beside it, and leaves a cycle for the way to what reads it. A word can be taken three edges after it was
    written.

    Attributes
    ----------
    w_data, w_en, w_rdy : write side; a word is written on an edge where both flags are 1.
    r_data, r_rdy, r_en : read side; a word is taken on an edge where both flags are 1.
    level : words that it holds.
    """

    def __init__(self, width: int, depth: int):
        self.width, self.depth = width, depth
        self.w_data = Signal(width)
        self.w_en = Signal()
        self.w_rdy = Signal(init=1)
        self.r_data = Signal(width, reset_less=True)
        self.r_rdy = Signal()
        self.r_en = Signal()
        self.level = Signal(range(depth + 1))

    def elaborate(self, platform) -> Module:
        """``stored`` words wait in the memory; ``some`` and ``w_rdy`` are comparisons of it, made an edge ahead."""
        m = Module()
        slots = self.depth - 2
        m.submodules.storage = storage = Memory(shape=self.width, depth=slots, init=[])
        write, read = storage.write_port(), storage.read_port()
        stored = Signal(range(slots + 1))
        some = Signal()
        fetched = Signal()  # the memory's register holds a word
        writing = Signal()
        fetching = Signal()
        moving = Signal()
        m.d.comb += [
            moving.eq(~self.r_rdy | self.r_en),
            fetching.eq(some & (~fetched | moving)),
            writing.eq(self.w_en & self.w_rdy),
            write.data.eq(self.w_data),
            write.en.eq(writing),
            read.en.eq(fetching),
            self.level.eq(stored + fetched + self.r_rdy),
        ]
        for port, step in ((write, writing), (read, fetching)):
            with m.If(step):
                m.d.sync += port.addr.eq(Mux(port.addr == slots - 1, 0, port.addr + 1))
        with m.If(writing & ~fetching):
            m.d.sync += [stored.eq(stored + 1), some.eq(1), self.w_rdy.eq(stored != slots - 1)]
        with m.Elif(fetching & ~writing):
            m.d.sync += [stored.eq(stored - 1), some.eq(stored != 1), self.w_rdy.eq(1)]
        with m.If(fetching):
            m.d.sync += fetched.eq(1)
        with m.Elif(moving):
            m.d.sync += fetched.eq(0)
        with m.If(moving):
            m.d.sync += [self.r_data.eq(read.data), self.r_rdy.eq(fetched)]
        return m
