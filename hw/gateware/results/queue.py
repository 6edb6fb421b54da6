"""The queue of results: a FIFO whose memory lies in parts, each with flags and addresses of its own."""

from amaranth import Cat, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.utils import bits_for

from hw.arithmetic.registers import copy_names

__all__ = ["ResultQueue"]


class ResultQueue(Elaboratable):
    """``depth`` words of as many parts as ``widths`` says; a word that is written can be read on the next edge.

    Whoever writes counts credits: a word that comes while the queue is full is lost. The memory is read without a
    clock, so that its address is what reading waits for; each part has a register with it.

    Attributes
    ----------
    w_data : the word's parts, the first in the lowest bits.
    w_en : this edge writes; a flag per part, all alike.
    r_data, r_rdy, r_en : read side; a word is taken on an edge where both flags are 1.
    """

    def __init__(self, widths: list[int], depth: int):
        self.widths, self.depth = widths, depth
        self.w_data = Signal(sum(widths))
        self.w_en = [Signal(name=f"w_en{part}") for part in range(len(widths))]
        self.r_data = Signal(sum(widths))
        self.r_rdy = Signal()
        self.r_en = Signal()

    def elaborate(self, platform) -> Module:
        """A memory per part, the number of words, and whether there are some, made an edge ahead."""
        m = Module()
        taken = Signal()
        level = Signal(range(self.depth + 1))
        m.d.comb += taken.eq(self.r_rdy & self.r_en)
        with m.If(self.w_en[0] & ~taken):
            m.d.sync += [level.eq(level + 1), self.r_rdy.eq(1)]
        with m.Elif(taken & ~self.w_en[0]):
            m.d.sync += [level.eq(level - 1), self.r_rdy.eq(level != 1)]
        words: list[Value] = []
        start = 0
        for part, width in enumerate(self.widths):
            memory = Memory(shape=width, depth=self.depth, init=[])
            m.submodules["storage" if len(self.widths) == 1 else f"part{part}_storage"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [write.data.eq(self.w_data[start : start + width]), write.en.eq(self.w_en[part])]
            for port, name, step in ((write, "w_addr", self.w_en[part]), (read, "r_addr", taken)):
                address = Signal(bits_for(max(1, self.depth - 1)), name=copy_names(name, len(self.widths))[part])
                m.d.comb += port.addr.eq(address)
                with m.If(step):
                    m.d.sync += address.eq(Mux(address == self.depth - 1, 0, address + 1))
            words.append(read.data)
            start += width
        m.d.comb += self.r_data.eq(Cat(words))
        return m
