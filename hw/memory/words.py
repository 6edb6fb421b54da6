"""Between memory words and the beats of a chip: words gathered from reads, words cut up for writes."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.whole.ports import ADDRESS_BITS, log2, write_layout
from hw.memory.geometry import IN_TABLES

__all__ = ["Gatherer", "WordFifo", "WriteBuffer"]


class WordFifo(Component):
    """``depth`` words, a power of two, in tables of the fabric; one that is put in is offered on the edge behind.

    A block RAM answers late in a period of this clock.

    Members
    -------
    put, data : a word comes; whoever puts it knows that there is room.
    output : the words, in order.
    """

    def __init__(self, bits: int, depth: int):
        self.bits, self.depth = bits, depth
        super().__init__({"put": In(1), "data": In(bits), "output": Out(stream.Signature(bits))})

    def elaborate(self, platform) -> Module:
        """Two places, and how many lie between."""
        m = Module()
        m.submodules.words = words = Memory(shape=self.bits, depth=self.depth, init=[], attrs=IN_TABLES)
        write, read = words.write_port(), words.read_port(domain="comb")
        filled, emptied = Signal(log2(self.depth)), Signal(log2(self.depth))
        level = Signal(range(self.depth + 1))
        taken = Signal()
        m.d.comb += [
            taken.eq(self.output.valid & self.output.ready),
            write.en.eq(self.put),
            write.addr.eq(filled),
            write.data.eq(self.data),
            read.addr.eq(emptied),
            self.output.payload.eq(read.data),
            self.output.valid.eq(level != 0),
        ]
        m.d.sync += [filled.eq(filled + self.put), emptied.eq(emptied + taken), level.eq(level + self.put - taken)]
        return m


class Gatherer(Component):
    """Beats of reads, the first ``latency`` edges behind the command, to words in a queue of ``depth``.

    Members
    -------
    read : this edge sends a read of ``burst`` beats. claim : it is the first of its word.
    beat : the data pins behind their register. room : the queue has a slot for one more word.
    words : whole words, in order.
    """

    def __init__(self, word_bits: int, beat_bits: int, burst: int, latency: int, depth: int):
        self.word_bits, self.beat_bits, self.burst = word_bits, beat_bits, burst
        self.latency, self.depth = latency, depth
        super().__init__(
            {
                "read": In(1),
                "claim": In(1),
                "beat": In(beat_bits),
                "room": Out(1),
                "words": Out(stream.Signature(word_bits)),
            }
        )

    def elaborate(self, platform) -> Module:
        """A delay line, a shift register, a queue."""
        m = Module()
        beats = self.word_bits // self.beat_bits
        m.submodules.queue = queue = WordFifo(self.word_bits, self.depth)
        on_its_way, rest = Signal(self.latency), Signal(range(max(2, self.burst)))
        gathered, at = Signal(self.word_bits), Signal(range(max(2, beats)))
        claimed = Signal(range(self.depth + 1))
        arrives, taken = Signal(), Signal()
        word = Cat(gathered, self.beat)[self.beat_bits :]
        m.d.comb += [
            arrives.eq(on_its_way[-1] | (rest != 0)),
            queue.data.eq(word),
            queue.put.eq(arrives & (at == beats - 1)),
            taken.eq(self.words.valid & self.words.ready),
            self.room.eq(claimed != self.depth),
        ]
        connect(m, queue.output, flipped(self.words))
        m.d.sync += [on_its_way.eq(Cat(self.read, on_its_way)), claimed.eq(claimed + self.claim - taken)]
        with m.If(on_its_way[-1]):
            m.d.sync += rest.eq(self.burst - 1)
        with m.Elif(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        with m.If(arrives):
            m.d.sync += [gathered.eq(word), at.eq(at + 1)]
            with m.If(at == beats - 1):
                m.d.sync += at.eq(0)
        return m


class WriteBuffer(Component):
    """One write, its word sent beat by beat; the next one is taken with the last beat.

    Members
    -------
    writes : masked words.
    pending : a burst waits for its command or for the end of the one before, of the word ``address``, the burst
        ``part`` of that word.
    send : this edge sends that command, and the first beat with it.
    driving : a beat is on its way out. beat, keep : it, and the bytes that stay as they are.
    """

    def __init__(self, word_bits: int, beat_bits: int, burst: int):
        self.beat_bits, self.burst = beat_bits, burst
        self.bursts = word_bits // beat_bits // burst
        super().__init__(
            {
                "writes": In(stream.Signature(write_layout(word_bits))),
                "pending": Out(1),
                "address": Out(ADDRESS_BITS),
                "part": Out(range(max(2, self.bursts))),
                "send": In(1),
                "driving": Out(1),
                "beat": Out(beat_bits),
                "keep": Out(beat_bits // 8),
            }
        )

    def elaborate(self, platform) -> Module:
        """Shift registers of bytes and of their mask."""
        m = Module()
        bursts = self.bursts
        write, waiting = Signal.like(self.writes.payload), Signal(range(bursts + 1))
        rest, last = Signal(range(max(2, self.burst))), Signal()
        m.d.comb += [
            self.pending.eq(waiting != 0),
            self.address.eq(write.address),
            self.driving.eq(self.send | (rest != 0)),
            self.beat.eq(write.data[: self.beat_bits]),
            self.keep.eq(~write.mask[: self.beat_bits // 8]),
        ]
        if self.burst == 1:
            m.d.comb += last.eq(self.send & (waiting == 1))
        else:
            m.d.comb += last.eq((rest == 1) & (waiting == 0))
        m.d.comb += self.writes.ready.eq(last | ((waiting == 0) & (rest == 0)))
        with m.If(self.send):
            m.d.sync += [waiting.eq(waiting - 1), rest.eq(self.burst - 1), self.part.eq(self.part + 1)]
        with m.Elif(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        with m.If(self.driving):
            m.d.sync += [
                write.data.eq(write.data >> self.beat_bits),
                write.mask.eq(write.mask >> self.beat_bits // 8),
            ]
        with m.If(self.writes.valid & self.writes.ready):
            m.d.sync += [write.eq(self.writes.payload), waiting.eq(bursts), self.part.eq(0), rest.eq(0)]
        return m
