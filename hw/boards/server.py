"""Serves the requests of the serial link: fills sinks by words, copies sources to answers, keeps the last answer."""

from typing import NamedTuple

from amaranth import Array, Cat, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.utils import exact_log2

from hw.arithmetic.registers import BITS_PER_COPY, copies, delayed, registered
from hw.boards.frames import FrameReceiver, FrameSender
from hw.division import ceil_divide
from hw.host.protocol import PAYLOAD_BYTES, Code, Kind

__all__ = ["Server", "Sink", "Source"]

_ANSWER_BYTES = PAYLOAD_BYTES - 1  # behind the code
_CHUNK_BYTES = 8  # of a word, of which one edge chooses a byte
_CHOICE_BITS = 2  # of a chunk's number that one more edge decides by


class Sink(NamedTuple):
    """Where the words of a request go."""

    word: Value  # driven; whole bytes
    valid: Value  # driven
    ready: Value
    room: Value  # words that may be written now
    once: bool = False  # exactly one word per request
    first: Value | None = None  # driven; the word offered is the first of its request


class Source(NamedTuple):
    """What an answer is copied from."""

    word: Value  # whole bytes; there one edge after ``available``, and must stay until ``taken``
    available: Value | None = None  # None: always, once per answer
    taken: Signal | None = None  # driven, a register; pulse: the word was copied; the next is there two edges later


class Server(Elaboratable):
    """Receive a request, check it, carry it out, answer it; one at a time.

    A request is carried out whole or not at all, and not again when it is repeated. ``sinks`` and ``sources`` are
    looked up by the kind of their request; ``RESET`` raises ``reset``.

    Attributes
    ----------
    received, sent : byte streams from and to the line.
    reset : pulse of one clock cycle, a register.
    """

    def __init__(self, sinks: dict[Kind, Sink], sources: dict[Kind, Source], gap_cycles: int):
        self.sinks, self.sources = sinks, sources
        self._request, self._answer = FrameReceiver(gap_cycles), FrameSender()
        self.received, self.sent = self._request.bytes, self._answer.bytes
        self.reset = Signal()

    def elaborate(self, platform) -> Module:
        """The state machine between receiver and sender; filler and copier carry out what moves data."""
        m = Module()
        m.submodules.receiver = request = self._request
        m.submodules.sender = answer = self._answer
        m.submodules.filler = filler = _Filler(list(self.sinks.values()))
        m.submodules.copier = copier = _Copier(list(self.sources.values()))
        for block, known in ((filler, self.sinks), (copier, self.sources)):
            m.d.sync += block.number.eq(_number(request.kind, list(known)))  # a kind stands long before its frame ends
        m.d.sync += self.reset.eq(0)
        m.d.comb += [request.address.eq(filler.address), filler.data.eq(request.data), filler.length.eq(request.length)]

        kept = Signal()  # the copier holds the latest answer, which belongs to:
        kind = Signal(8)
        sequence = Signal(8)
        code = Signal(Code)
        m.d.comb += [
            answer.kind.eq(request.kind),
            answer.sequence.eq(request.sequence),
            answer.code.eq(Mux(request.damaged, Code.DAMAGED, code)),
            answer.length.eq(Mux(request.damaged, 0, copier.length)),
            copier.address.eq(answer.address),
            answer.data.eq(copier.data),
        ]
        with m.FSM():
            with m.State("wait"):
                repeated = kept & (request.kind == kind) & (request.sequence == sequence) & (kind != Kind.HELLO)
                with m.If(request.valid & (request.damaged | repeated)):
                    m.next = "answer"
                with m.Elif(request.valid):
                    m.d.comb += copier.clear.eq(1)
                    m.d.sync += [kept.eq(1), kind.eq(request.kind), sequence.eq(request.sequence)]
                    m.next = "decide"
            with m.State("decide"):
                m.d.sync += code.eq(Code.UNKNOWN_KIND)
                m.next = "answer"
                with m.If(_is_one(kind, self.sinks)):
                    m.d.comb += filler.start.eq(1)
                    m.next = "fill"
                with m.If(_is_one(kind, self.sources)):
                    m.d.comb += copier.start.eq(1)
                    m.d.sync += code.eq(Code.OK)
                    m.next = "copy"
                with m.If(kind == Kind.RESET):
                    m.d.sync += [self.reset.eq(1), code.eq(Code.OK)]
            with m.State("fill"), m.If(~filler.busy):
                m.d.sync += code.eq(filler.outcome)
                m.next = "answer"
            with m.State("copy"), m.If(~copier.busy):
                m.next = "answer"
            with m.State("answer"):
                m.d.comb += answer.start.eq(1)
                m.next = "answering"
            with m.State("answering"), m.If(~answer.busy):
                m.d.comb += request.done.eq(1)
                m.next = "wait"
        return m


class _Filler(Elaboratable):
    """Counts the words of a request, then pushes them into sink ``number`` if they all have room."""

    def __init__(self, sinks: list[Sink]):
        self.sinks = sinks
        self.start = Signal()
        self.busy = Signal()
        self.outcome = Signal(Code)
        self.number = Signal(range(len(sinks)))
        self.length = Signal(range(PAYLOAD_BYTES + 1))
        self.address = Signal(range(PAYLOAD_BYTES))
        self.data = Signal(8)  # follows two edges later

    def elaborate(self, platform) -> Module:
        """A shift register that is as wide as the widest word."""
        m = Module()
        word_bytes = Array(len(sink.word) // 8 for sink in self.sinks)[self.number]
        longest = max(len(sink.word) for sink in self.sinks)
        word = Signal(longest, reset_less=True)
        taking = Signal()
        # its parts lie apart, and take the byte an edge later
        shifting = copies(m, taking, "shifting", ceil_divide(longest, BITS_PER_COPY))
        for part, shift in enumerate(shifting):
            with m.If(shift):
                place = slice(part * BITS_PER_COPY, (part + 1) * BITS_PER_COPY)
                m.d.sync += word[place].eq(Cat(word[8:], self.data)[place])
        filled = Signal(range(longest // 8 + 1))
        pushing = Signal()
        first = Signal()
        left = Signal.like(self.length)
        words = Signal.like(self.length)
        room = Signal.like(Array(sink.room for sink in self.sinks)[self.number])
        m.d.sync += room.eq(Array(sink.room for sink in self.sinks)[self.number])  # long before it is asked for
        for index, sink in enumerate(self.sinks):
            m.d.comb += [
                sink.word.eq(word[longest - len(sink.word) :]),
                sink.valid.eq(pushing & (self.number == index)),
            ]
            if sink.first is not None:
                m.d.comb += sink.first.eq(first)
        m.d.comb += self.busy.eq(1)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.busy.eq(0)
                m.d.sync += [left.eq(self.length), words.eq(0), filled.eq(0), self.address.eq(0), first.eq(1)]
                with m.If(self.start):
                    m.next = "count"
            with m.State("count"):
                m.d.sync += [left.eq(left - word_bytes), words.eq(words + 1)]
                with m.If(left < word_bytes):
                    m.d.sync += words.eq(words)
                    m.next = "check"
                    with m.If(left != 0):
                        m.d.sync += words.eq(0)
            with m.State("check"):
                m.next = "idle"
                too_many = (words != 1) & Array(sink.once for sink in self.sinks)[self.number]
                with m.If((words == 0) | too_many):
                    m.d.sync += self.outcome.eq(Code.BAD_LENGTH)
                with m.Elif(words > room):
                    m.d.sync += self.outcome.eq(Code.BUSY)
                with m.Else():
                    m.d.sync += self.outcome.eq(Code.OK)
                    m.next = "fetch"
            with m.State("fetch"):
                m.next = "settle"
            with m.State("settle"):
                m.next = "take"
            with m.State("take"):
                m.d.comb += taking.eq(1)
                m.d.sync += [self.address.eq(self.address + 1), filled.eq(filled + 1)]
                m.next = "fetch"
                with m.If(filled + 1 == word_bytes):
                    m.next = "arrive"
            with m.State("arrive"):
                m.next = "push"
            with m.State("push"):
                m.d.comb += pushing.eq(1)
                with m.If(Array(sink.ready for sink in self.sinks)[self.number]):
                    m.d.sync += [filled.eq(0), words.eq(words - 1), first.eq(0)]
                    m.next = "fetch"
                    with m.If(words == 1):
                        m.next = "idle"
        return m


class _Copier(Elaboratable):
    """Copies words of source ``number`` into a buffer while there are some and they fit; keeps it until ``clear``."""

    def __init__(self, sources: list[Source]):
        self.sources = sources
        self.clear = Signal()
        self.start = Signal()
        self.busy = Signal()
        self.number = Signal(range(len(sources)))
        self.length = Signal(range(PAYLOAD_BYTES))  # of what the buffer holds
        self.address = Signal(range(PAYLOAD_BYTES))
        self.data = Signal(8)  # follows two edges later

    def elaborate(self, platform) -> Module:
        """One byte per edge: its number goes to the chunks; one is chosen of each, of few of these, of the sources."""
        m = Module()
        m.submodules.buffer = buffer = Memory(shape=8, depth=PAYLOAD_BYTES, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(1),
            self.busy.eq(1),
        ]
        copying = Signal()
        taking = Signal()
        m.d.sync += self.data.eq(read.data)  # a register behind the block RAM, which is as slow as many tables
        word_bytes = Array(len(source.word) // 8 for source in self.sources)[self.number]
        available = Array(self.length == 0 if s.available is None else s.available for s in self.sources)[self.number]
        position = Signal(range(max(len(source.word) for source in self.sources) // 8))
        split = exact_log2(_CHUNK_BYTES)
        chunk = delayed(m, position[split:], 2, "chunk")
        choices = []
        # chunks lie apart, each beside a number of its byte
        every = sum(ceil_divide(len(source.word), 8 * _CHUNK_BYTES) for source in self.sources)
        within = iter(copies(m, position[:split], "within", every))
        for index, source in enumerate(self.sources):
            starts = range(0, len(source.word), 8 * _CHUNK_BYTES)
            choices.append(
                [
                    registered(
                        m,
                        source.word[start : start + 8 * _CHUNK_BYTES].word_select(next(within), 8),
                        f"chosen{index}_{number}",
                        reset_less=True,
                    )
                    for number, start in enumerate(starts)
                ]
            )
        edges = 0
        while any(len(chosen) > 1 for chosen in choices):
            edges += 1
            digit = delayed(m, chunk[:_CHOICE_BITS], edges - 1, f"digit{edges}_")
            choices = [_fewer(m, chosen, digit, f"byte{index}_{edges}") for index, chosen in enumerate(choices)]
            chunk = chunk[_CHOICE_BITS:]
        bytes_of_sources = [chosen[0] for chosen in choices]
        m.d.sync += write.data.eq(Array(bytes_of_sources)[self.number])
        m.d.sync += write.addr.eq(delayed(m, self.length, 2 + edges, "to"))
        m.d.sync += write.en.eq(delayed(m, copying, 2 + edges, "copied"))
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.busy.eq(0)
                with m.If(self.clear):
                    m.d.sync += self.length.eq(0)
                with m.If(self.start):
                    m.next = "look"
            with m.State("look"):
                m.d.sync += position.eq(0)
                m.next = "idle"
                with m.If(available & (self.length <= _ANSWER_BYTES - word_bytes)):
                    m.next = "copy"
            with m.State("copy"):
                m.d.comb += copying.eq(1)
                m.d.sync += [self.length.eq(self.length + 1), position.eq(position + 1)]
                with m.If(position + 1 == word_bytes):
                    m.next = "take"
            with m.State("take"):  # of its own, since the source's memory lies far from this comparison
                m.d.comb += taking.eq(1)
                m.next = "tell"
            with m.State("tell"):  # the source, which shows its next word two edges later
                m.next = "settle"
            with m.State("settle"):
                m.next = "look"
        for index, source in enumerate(self.sources):
            if source.taken is not None:
                m.d.sync += source.taken.eq(taking & (self.number == index))
        return m


def _fewer(m: Module, values: list[Value], digit: Value, name: str) -> list[Value]:
    """Of every few ``values`` the one of number ``digit``, a register later."""
    few = 1 << _CHOICE_BITS
    groups = [values[start : start + few] for start in range(0, len(values), few)]
    return [
        registered(m, Cat(group).word_select(digit, 8) if len(group) > 1 else group[0], f"{name}_{i}", reset_less=True)
        for i, group in enumerate(groups)
    ]


def _number(kind: Signal, kinds: list[Kind]) -> Value:
    """Index of ``kind`` in ``kinds``, 0 for another one."""
    return sum((Mux(kind == name, index, 0) for index, name in enumerate(kinds)), start=0)


def _is_one(kind: Signal, kinds: dict[Kind, NamedTuple]) -> Value:
    """``kind`` is among ``kinds``."""
    return Cat(kind == name for name in kinds).any()
