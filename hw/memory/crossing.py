"""The memory port between a machine's clock and the memory's, which is a whole multiple of it with aligned edges."""

from amaranth import Const, Module, ResetInserter, Shape, ShapeCastable, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.whole.ports import log2, request_layout, write_layout
from hw.memory.geometry import CLOSED_EDGES, CROSSING_WORDS, IN_TABLES

__all__ = ["Crossing", "Handover", "WordQueue"]


class Handover(Component):
    """One item at a time from domain ``sync`` to domain ``memory``, one bit saying that it is there.

    An item that is taken in on an edge is offered from the second edge of ``memory`` behind it on. The next one is
    taken in from the second edge of ``sync`` behind the one that carries it out on; a coinciding edge is not behind.

    Members
    -------
    input, output : the items; ``input`` in ``sync``, ``output`` in ``memory``.
    closed : nothing is taken in.
    """

    def __init__(self, shape: Shape | ShapeCastable):
        super().__init__(
            {"input": In(stream.Signature(shape)), "output": Out(stream.Signature(shape)), "closed": In(1)}
        )

    def elaborate(self, platform) -> Module:
        """Whoever has something to say turns a bit over; the other side has a register for it."""
        m = Module()
        kept = Signal.like(self.input.payload, reset_less=True)
        asked = Signal()  # of sync
        answered = Signal()
        seen = Signal()  # of memory
        done = Signal()
        m.d.comb += [
            self.input.ready.eq(~self.closed & (asked == answered)),
            self.output.valid.eq(seen != done),
            self.output.payload.eq(kept),
        ]
        m.d.sync += answered.eq(done)
        m.d.memory += seen.eq(asked)
        with m.If(self.input.valid & self.input.ready):
            m.d.sync += [kept.eq(self.input.payload), asked.eq(~asked)]
        with m.If(self.output.valid & self.output.ready):
            m.d.memory += done.eq(~done)
        return m


class WordQueue(Component):
    """Words from domain ``memory`` to domain ``sync``, up to one per edge of ``sync``, through ``depth`` slots.

    A word that is taken in on an edge of ``memory`` is offered from the second edge of ``sync`` behind it on. Its slot
    is free from the second edge of ``memory`` behind the one that hands it over on.

    Both counts cross in Gray code. An edge that comes late or early finds the count before or behind, never another.

    Members
    -------
    input, output : the words; ``input`` in ``memory``, ``output`` in ``sync``.
    closed : nothing is handed over.
    """

    def __init__(self, bits: int, depth: int = CROSSING_WORDS):
        self.bits, self.depth = bits, depth
        super().__init__({"input": In(stream.Signature(bits)), "output": Out(stream.Signature(bits)), "closed": In(1)})

    def elaborate(self, platform) -> Module:
        """Slots that are written on one clock and read by what the other one knows to be there."""
        m = Module()
        place_bits = log2(self.depth)
        m.submodules.slots = slots = Memory(shape=self.bits, depth=self.depth, init=[], attrs=IN_TABLES)
        write, read = slots.write_port(domain="memory"), slots.read_port(domain="comb")
        filled = Signal(place_bits + 1)  # words, of memory
        filled_gray = Signal(place_bits + 1)
        emptied_there = Signal(place_bits + 1)
        emptied = Signal(place_bits + 1)  # of sync
        emptied_gray = Signal(place_bits + 1)
        filled_here = Signal(place_bits + 1)
        full = Const(0b11 << (place_bits - 1), place_bits + 1)  # between the Gray codes of counts ``depth`` apart
        more, less = (filled + 1)[: place_bits + 1], (emptied + 1)[: place_bits + 1]
        m.d.comb += [
            self.input.ready.eq(filled_gray != emptied_there ^ full),
            write.en.eq(self.input.valid & self.input.ready),
            write.addr.eq(filled[:place_bits]),
            write.data.eq(self.input.payload),
            self.output.valid.eq(~self.closed & (filled_here != emptied_gray)),
            read.addr.eq(emptied[:place_bits]),
            self.output.payload.eq(read.data),
        ]
        m.d.memory += emptied_there.eq(emptied_gray)
        m.d.sync += filled_here.eq(filled_gray)
        with m.If(self.input.valid & self.input.ready):
            m.d.memory += [filled.eq(more), filled_gray.eq(more ^ more[1:])]
        with m.If(self.output.valid & self.output.ready):
            m.d.sync += [emptied.eq(less), emptied_gray.eq(less ^ less[1:])]
        return m


class Crossing(Component):
    """The memory port of domain ``sync``, its memory in domain ``memory``; ``docs/memory_controller.md``.

    The order of the port is kept: a request is handed over behind every write that was taken in before it.

    Only registers stand at either side of the border, and only what the other side cannot be changing is read across
    it, so that a path between the clocks is that of one bit and has a whole period of ``memory``. A reset of ``sync``
    may come on any edge: the memory's side is reset too, and until that has been the port stays closed.

    Members
    -------
    request, words, writes, ready : the machine's side.
    inner_request, inner_words, inner_writes, inner_ready : the memory's.
    reset : of whatever is in domain ``memory``.
    """

    def __init__(self, word_bits: int):
        self.word_bits = word_bits
        request, write = stream.Signature(request_layout()), stream.Signature(write_layout(word_bits))
        words = stream.Signature(word_bits)
        super().__init__(
            {
                "request": In(request), "words": Out(words), "writes": In(write), "ready": Out(1),
                "inner_request": Out(request), "inner_words": In(words), "inner_writes": Out(write),
                "inner_ready": In(1), "reset": Out(1, init=1),
            }
        )  # fmt: skip

    def elaborate(self, platform) -> Module:
        """Two handovers, a queue, and the reset that crosses in front of them."""
        m = Module()
        requests, writes = Handover(request_layout()), Handover(write_layout(self.word_bits))
        queue = WordQueue(self.word_bits)
        closed = Signal(init=1)
        left = Signal(range(CLOSED_EDGES), init=CLOSED_EDGES - 1)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Else():
            m.d.sync += closed.eq(0)
        m.d.memory += self.reset.eq(closed)
        for name, block in (("requests", requests), ("writes", writes), ("queue", queue)):
            m.submodules[name] = ResetInserter({"memory": self.reset})(block)
            m.d.comb += block.closed.eq(closed)
        connect(m, flipped(self.request), requests.input)
        connect(m, flipped(self.writes), writes.input)
        connect(m, writes.output, flipped(self.inner_writes))
        connect(m, flipped(self.inner_words), queue.input)
        connect(m, queue.output, flipped(self.words))
        waits = writes.output.valid  # a write that may be older
        m.d.comb += [
            self.inner_request.payload.eq(requests.output.payload),
            self.inner_request.valid.eq(requests.output.valid & ~waits),
            requests.output.ready.eq(self.inner_request.ready & ~waits),
        ]
        m.d.sync += self.ready.eq(self.inner_ready & ~closed)
        return m
