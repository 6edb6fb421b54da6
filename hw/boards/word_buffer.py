"""A FIFO in block RAM with registers for flags and behind the memory, so that what reads it waits for neither."""

from typing import Literal

from amaranth import Cat, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory

from hw.arithmetic.registers import BITS_PER_COPY, COPY, copy_names, registered
from hw.division import ceil_divide

__all__ = ["Shows", "WordBuffer"]

Shows = Literal["at once", "in turn", "with pauses"]


class WordBuffer(Elaboratable):
    """``depth`` words of ``width`` bits, a few of them on their way in or out.

    A block RAM of an ECP5 of speed grade 6 answers 5.8 ns after its clock (nextpnr's clk-to-q), of the 10 ns of a cycle
    at 100 MHz; the register behind it may stand beside it, and leaves a cycle for the way to what reads it. A register
    before it leaves one for the way from what writes it; it takes what is there on every edge, and the memory has room
    for all words, so that ``w_rdy`` is a matter of ``level`` alone. A word can be taken four edges after it was
    written. The memory lies in parts with flags and addresses of their own.

    How it ``shows`` words: ``at once``, from one register that takes a word where ``r_en`` frees it; ``in turn``, from
    two, so that all but a multiplexer waits for registers and not for ``r_en``, for a reader that decides late (it
    costs a table per bit); or ``with pauses``, from one register that takes a word only when it is empty, for a slow
    reader that stands far away: neither the memory nor its address waits for ``r_en``, and no two words follow each
    other.

    Attributes
    ----------
    w_data, w_en, w_rdy : write side; a word is written on an edge where both flags are 1.
    r_data, r_rdy, r_en : read side; a word is taken on an edge where both flags are 1.
    level : words that it holds.
    """

    def __init__(self, width: int, depth: int, shows: Shows = "at once"):
        self.width, self.depth, self.shows = width, depth, shows
        self.w_data = Signal(width)
        self.w_en = Signal()
        self.w_rdy = Signal(init=1)
        self.r_data = Signal(width, reset_less=shows != "in turn")
        self.r_rdy = Signal()
        self.r_en = Signal()
        self.level = Signal(range(depth + 1))

    def elaborate(self, platform) -> Module:
        """``stored`` words wait in the memory; ``some`` and ``w_rdy`` are comparisons, made an edge ahead."""
        m = Module()
        stored = Signal(range(self.depth + 1))
        # each part has flags of its own, and decides beside its memory
        some = self._flags("some")
        fetched = self._flags("fetched")  # the memory's register holds a word
        fetching = [Signal(name=f"fetching{part}") for part in range(self.parts)]
        following = [Signal(name=f"following{part}") for part in range(self.parts)]
        writing = Signal()
        taking = Signal()
        arriving = registered(m, self.w_data, "arriving", reset_less=True)
        arrived = self._flags("arrived")
        word = self._memory(m, arriving, arrived, fetching)
        moving = self._show(m, word, following, fetched)  # that word has a place to go to
        m.d.comb += [writing.eq(self.w_en & self.w_rdy), taking.eq(self.r_en & self.r_rdy)]
        m.d.sync += [flag.eq(writing) for flag in arrived]
        for part in range(self.parts):
            free = ~fetched[part] if self.shows == "with pauses" else ~fetched[part] | moving[part]
            m.d.comb += fetching[part].eq(some[part] & free)
            m.d.comb += following[part].eq(fetching[part] | (fetched[part] & ~moving[part]))
            m.d.sync += fetched[part].eq(following[part])
            with m.If(arrived[part] & ~fetching[part]):
                m.d.sync += some[part].eq(1)
            with m.Elif(fetching[part] & ~arrived[part]):
                m.d.sync += some[part].eq(stored != 1)
        with m.If(arrived[0] & ~fetching[0]):
            m.d.sync += stored.eq(stored + 1)
        with m.Elif(fetching[0] & ~arrived[0]):
            m.d.sync += stored.eq(stored - 1)
        with m.If(writing & ~taking):
            m.d.sync += [self.level.eq(self.level + 1), self.w_rdy.eq(self.level != self.depth - 1)]
        with m.Elif(taking & ~writing):
            m.d.sync += [self.level.eq(self.level - 1), self.w_rdy.eq(1)]
        return m

    def _memory(self, m: Module, word: Value, writing: list[Signal], fetching: list[Signal]) -> Value:
        """A memory per part; returns the word that was read where ``fetching`` was 1."""
        read_parts = []
        for part, written in enumerate(writing):
            place = self._place(part)
            name = "storage" if self.parts == 1 else f"part{part}_storage"
            m.submodules[name] = storage = Memory(shape=place.stop - place.start, depth=self.depth, init=[])
            write, read = storage.write_port(), storage.read_port()
            m.d.comb += [write.data.eq(word[place]), write.en.eq(written), read.en.eq(fetching[part])]
            for port, stem, step in ((write, "w_addr", written), (read, "r_addr", fetching[part])):
                address = Signal(len(port.addr), name=copy_names(stem, self.parts)[part])
                m.d.comb += port.addr.eq(address)
                with m.If(step):
                    m.d.sync += address.eq(Mux(address == self.depth - 1, 0, address + 1))
            read_parts.append(read.data)
        return Cat(read_parts)

    def _show(self, m: Module, word: Value, following: list[Signal], fetched: list[Signal]) -> list[Value]:
        """Drive the read side from ``word``; returns for each part whether it leaves the memory's register now.

        ``fetched``: the memory's register holds a word; ``following``: it will behind this edge.
        """
        if self.shows == "in turn":
            return self._show_in_turn(m, word, following, fetched)
        pausing = self.shows == "with pauses"
        moving = []
        # the reader's own flag, and one of each part
        m.d.comb += self.r_rdy.eq(shown := Signal(name=f"ready{COPY}"))
        for part, ready in enumerate(self._flags("ready")):
            move, place = Signal(name=f"moving{part}"), self._place(part)
            m.d.comb += move.eq(~ready if pausing else ~ready | self.r_en)
            with m.If(move):
                m.d.sync += [self.r_data[place].eq(word[place]), ready.eq(fetched[part])]
            if pausing:
                with m.Elif(self.r_en):
                    m.d.sync += ready.eq(0)
            moving.append(move)
        with m.If(moving[0]):
            m.d.sync += shown.eq(fetched[0])
        if pausing:
            with m.Elif(self.r_en):
                m.d.sync += shown.eq(0)
        return moving

    def _show_in_turn(self, m: Module, word: Value, following: list[Signal], fetched: list[Signal]) -> list[Value]:
        """Two registers, written and shown in turn; the second holds a word only while the first does."""
        full = Signal()
        moving = Signal()
        taking = self.r_en & self.r_rdy
        m.d.comb += moving.eq(~full)
        moved = fetched[0] & moving
        full_next = (moved & self.r_rdy | full) & ~taking
        m.d.sync += [full.eq(full_next), self.r_rdy.eq(moved | full | (self.r_rdy & ~taking))]
        held = self._flags("held")  # the memory's register holds a word, and a register is free for it
        filled = self._flags("filled")  # number of the register that is written next
        shown = self._flags("shown")
        for part in range(self.parts):
            place = self._place(part)
            m.d.sync += [
                held[part].eq(following[part] & ~full_next),
                filled[part].eq(filled[part] ^ moved),
                shown[part].eq(shown[part] ^ taking),
            ]
            first, second = (
                registered(
                    m,
                    word[place],
                    f"word{part}_{number}",
                    enable=held[part] & (filled[part] == number),
                    reset_less=True,
                )
                for number in range(2)
            )
            m.d.comb += self.r_data[place].eq(Mux(shown[part], second, first))
        return [moving] * self.parts

    @property
    def parts(self) -> int:
        """Parts of a word that lie apart on a chip, each with flags of its own."""
        return ceil_divide(self.width, BITS_PER_COPY)

    def _place(self, part: int) -> slice:
        """The bits of a part."""
        return slice(part * BITS_PER_COPY, min((part + 1) * BITS_PER_COPY, self.width))

    def _flags(self, name: str) -> list[Signal]:
        """A flag per part, which synthesis does not merge."""
        return [Signal(name=each) for each in copy_names(name, self.parts)]
