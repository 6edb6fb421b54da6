"""Memory of a whole-token machine in block RAM, for models of kilobytes: what an SDRAM is on larger boards."""

from amaranth import Module, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.ports import ADDRESS_BITS, COUNT_BITS, request_layout, write_layout
from hw.program.machine import MachineConfig

__all__ = ["BlockMemory"]


class BlockMemory(Component):
    """``words`` memory words; a burst's first word comes two edges after its request, then one per edge.

    Addresses beyond the memory read zeros and write nothing.

    Members
    -------
    request, words, writes : the memory port, as ``hw.gateware.whole.machine.Machine`` has it.
    ready : the memory may be used; block RAM always may.
    """

    def __init__(self, machine: MachineConfig, words: int):
        self.depth = words
        self.bits = machine.array.weight_bus_bits
        super().__init__(
            {
                "request": In(stream.Signature(request_layout())),
                "words": Out(stream.Signature(self.bits)),
                "writes": In(stream.Signature(write_layout(machine.array.weight_bus_bits))),
                "ready": Out(1, init=1),
            }
        )

    def elaborate(self, platform) -> Module:
        """A read port that runs a word ahead of who takes them, and a write port with a byte mask."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.bits, depth=self.depth, init=[])
        read, write = memory.read_port(), memory.write_port(granularity=8)
        address, left = Signal(ADDRESS_BITS), Signal(COUNT_BITS)
        step, inside = Signal(), Signal()
        m.d.comb += [
            self.request.ready.eq((left == 0) & ~self.words.valid),
            self.writes.ready.eq(1),
            step.eq((left != 0) & (~self.words.valid | self.words.ready)),
            read.addr.eq(address),
            read.en.eq(step),
            self.words.payload.eq(read.data & inside.replicate(self.bits)),
            write.addr.eq(self.writes.payload.address),
            write.data.eq(self.writes.payload.data),
        ]
        with m.If(self.writes.valid & (self.writes.payload.address < self.depth)):
            m.d.comb += write.en.eq(self.writes.payload.mask)
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [address.eq(self.request.payload.address), left.eq(self.request.payload.count)]
        with m.Elif(step):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1), inside.eq(address < self.depth)]
        with m.If(step):
            m.d.sync += self.words.valid.eq(1)
        with m.Elif(self.words.ready):
            m.d.sync += self.words.valid.eq(0)
        return m
