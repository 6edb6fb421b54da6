"""MemoryReader: bursts of memory words for whoever runs, with the limit of the memory and of its silence."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.ports import ADDRESS_BITS, COUNT_BITS, request_layout
from hw.program.machine import MachineConfig

__all__ = ["MemoryReader"]


class MemoryReader(Component):
    """``bursts`` requests of ``count`` words each, ``jump`` words apart; the next one when the last word has come.

    The first request is out on the edge behind ``start``. ``done`` is high with the handshake of the last word.

    Members
    -------
    start, address, count, bursts, jump : what to read; none 0. ``count`` and ``jump`` stay.
    limit : words of the memory; a burst beyond it raises ``outside`` instead, which stays until ``start``.
    request, words : the memory port.
    output : the words, in order.
    done : this edge transfers the last one.
    waiting : memory owes a word or has not taken a request.
    busy : not all words have come.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        bits = machine.array.weight_bus_bits
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_BITS),
                "count": In(COUNT_BITS),
                "bursts": In(16),
                "jump": In(24),
                "limit": In(ADDRESS_BITS + 1),
                "outside": Out(1),
                "request": Out(stream.Signature(request_layout())),
                "words": In(stream.Signature(bits)),
                "output": Out(stream.Signature(bits)),
                "done": Out(1),
                "waiting": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """One burst at a time."""
        m = Module()
        asking, reading = Signal(), Signal()
        begin, end = Signal(ADDRESS_BITS + 1), Signal(ADDRESS_BITS + 2)  # of the burst; a sum ahead of its comparison
        left, bursts, step = Signal(COUNT_BITS), Signal(16), Signal(24)
        beyond = Signal()
        last = Signal()
        transfer = self.output.valid & self.output.ready
        m.d.comb += [
            beyond.eq(end > self.limit),
            step.eq(Mux(bursts != 1, self.jump, 0)),
            self.request.valid.eq(asking & ~beyond),
            self.request.payload.address.eq(begin),
            self.request.payload.count.eq(self.count),
            self.output.payload.eq(self.words.payload),
            self.output.valid.eq(self.words.valid & reading),
            self.words.ready.eq(self.output.ready & reading),
            last.eq(transfer & (left == 1)),
            self.done.eq(last & (bursts == 1)),
            self.busy.eq(asking | reading),
            self.waiting.eq((self.request.valid & ~self.request.ready) | (reading & ~self.words.valid)),
        ]
        with m.If(self.start):
            m.d.sync += [asking.eq(1), begin.eq(self.address), end.eq(self.address + self.count)]
            m.d.sync += [bursts.eq(self.bursts), self.outside.eq(0)]
        with m.Elif(asking):
            with m.If(beyond):
                m.d.sync += [asking.eq(0), self.outside.eq(1)]
            with m.Elif(self.request.ready):
                m.d.sync += [asking.eq(0), reading.eq(1), left.eq(self.count)]
        with m.Elif(transfer):
            m.d.sync += left.eq(left - 1)
            with m.If(last):
                m.d.sync += [reading.eq(0), asking.eq(bursts != 1), bursts.eq(bursts - 1)]
                m.d.sync += [begin.eq(begin + step), end.eq(end + step)]
        return m
