"""``SdramController``: bursts of memory words and masked writes to an SDR SDRAM, its rows kept open, one clock."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.whole.ports import COUNT_BITS, log2, request_layout, write_layout
from hw.memory.bank import Bank, Countdown
from hw.memory.chip import SdramChip
from hw.memory.geometry import COMMAND_EDGES, DECISION_EDGES, IO_EDGES, QUEUED_WORDS, Geometry
from hw.memory.pins import ACTIVATE, MODE, NOTHING, PRECHARGE, READ, REFRESH, WRITE, PinSignature
from hw.memory.target import Target
from hw.memory.words import Gatherer, WriteBuffer

__all__ = ["SdramController"]

_PRECHARGE_ALL = 1 << 10


class SdramController(Component):
    """A chip behind the memory port of the whole-token machine: ``docs/memory_controller.md``.

    Reads of one request come in the order of their words, requests in their own. A write is carried out before every
    read whose command is not found yet. Addresses count memory words and wrap at the end of the chip. Reset may come on
    any edge: the chip keeps what lies in it, but for a word that was being written, whose rest stays as it was.

    A command takes three edges: the banks of the next bursts are looked up, what may be sent is found, one of it is
    sent. What is found on the edge of another command is dropped, so that commands are two edges apart or more, but for
    reads and what prepares the row ahead, which is of another bank. Words of one beat so get half of the chip's peak.

    Parameters
    ----------
    clock_hz : of this domain, which is the chip's clock too.
    cas : 2 or 3; by default the least that the clock allows.
    read_edges : edges from a read's command at ``pins`` to its first data there: CAS latency and ``SdramIo``, unless
        the chip's clock is shifted so far that data come an edge earlier or later.

    Members
    -------
    request, words : reads, bursts of words. writes : of parts of words.
    ready : the chip is initialised.
    pins : to ``SdramIo``, in domain ``pins_domain``; registers.
    """

    pins_domain = "sync"

    def __init__(
        self,
        chip: SdramChip,
        clock_hz: float,
        word_bits: int,
        cas: int | None = None,
        read_edges: int | None = None,
    ):
        self.chip, self.word_bits = chip, word_bits
        self.timing = chip.timing(clock_hz, cas)
        self.geometry = Geometry.of(chip, word_bits)
        self.read_edges = self.timing.cas + IO_EDGES if read_edges is None else read_edges
        super().__init__(
            {
                "request": In(stream.Signature(request_layout())),
                "words": Out(stream.Signature(word_bits)),
                "writes": In(stream.Signature(write_layout(word_bits))),
                "ready": Out(1),
                "pins": Out(PinSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Words on both sides, the bursts that are next, banks, and the sequence of commands."""
        m = Module()
        chip, timing, geometry = self.chip, self.timing, self.geometry
        m.submodules.gatherer = self.gatherer = gatherer = Gatherer(
            self.word_bits, chip.data_bits, geometry.burst, self.read_edges + COMMAND_EDGES, QUEUED_WORDS
        )
        m.submodules.buffer = self.buffer = buffer = WriteBuffer(self.word_bits, chip.data_bits, geometry.burst)
        self.banks = [Bank(timing, geometry.burst, chip.rows) for _ in range(chip.banks)]
        for i, bank in enumerate(self.banks):
            m.submodules[f"bank{i}"] = bank
        connect(m, gatherer.words, flipped(self.words))
        connect(m, flipped(self.writes), buffer.writes)
        self.command, self.address = Signal(3, init=NOTHING), Signal(chip.address_bits)
        self.bank = Signal(log2(chip.banks))
        self.rows_change, self.prepares = Signal(), Signal()
        m.d.comb += [gatherer.beat.eq(self.pins.dq_i), self.pins.cke.eq(1)]
        m.d.sync += [
            self.pins.command.eq(self.command),
            self.pins.ba.eq(self.bank),
            self.pins.a.eq(self.address),
            self.pins.dqm.eq(Mux(buffer.driving, buffer.keep, Mux(self.ready, 0, -1))),
            self.pins.dq_o.eq(buffer.beat),
            self.pins.dq_oe.eq(buffer.driving),
        ]
        self._walk(m)
        self._refresh_clock(m)
        self._sequence(m)
        return m

    def _walk(self, m: Module) -> None:
        """The bursts that are next, of a write and of the request, and the row behind the request's, if it goes on."""
        geometry, buffer, gatherer = self.geometry, self.buffer, self.gatherer
        parts, column_bits, row_bits = log2(geometry.parts), log2(geometry.row_bursts), log2(self.chip.rows)
        bits = column_bits + log2(self.chip.banks) + row_bits
        at, left = Signal(bits), Signal(COUNT_BITS + parts)
        busy, final, first = Signal(), Signal(), at[:parts] == 0
        written = (buffer.address << parts | (buffer.part if parts else 0))[:bits]
        self.write, self.read, self.ahead = (Target(self.banks, self.chip.rows) for _ in range(3))
        self.read.following = self.ahead
        m.submodules.write, m.submodules.read, m.submodules.ahead = self.write, self.read, self.ahead
        self.advance, self.goes_on, self.wanted = Signal(), Signal(), Signal()
        self.column, self.write_column = at[:column_bits], written[:column_bits]
        moved, moved_before, ends_row = Signal(), Signal(), Signal()
        m.d.comb += [
            self.request.ready.eq(~busy),
            self.wanted.eq(busy & (gatherer.room | ~first)),
            Cat(self.write.bank, self.write.row).eq(written[column_bits:]),
            Cat(self.read.bank, self.read.row).eq(at[column_bits:]),
            ends_row.eq(self.advance & self.column.all()),
            moved.eq((self.request.valid & self.request.ready) | ends_row),
            self.write.changed.eq((self.writes.valid & self.writes.ready) | self.rows_change),
            self.read.changed.eq(moved | (self.rows_change & ~self.prepares)),  # another bank
            self.read.takes_over.eq(ends_row),
            self.ahead.changed.eq(moved | moved_before | self.rows_change),
            gatherer.claim.eq(self.advance & first),
            gatherer.read.eq(self.advance),
        ]
        ahead = Signal(bits - column_bits)
        m.d.comb += Cat(self.ahead.bank, self.ahead.row).eq(ahead)
        self.kept = Signal()  # the edge before sent a read, and no other row is next
        m.d.sync += [
            moved_before.eq(moved),
            self.kept.eq(self.advance & ~ends_row),
            ahead.eq(at[column_bits:] + 1),
            self.goes_on.eq(left > geometry.row_bursts - self.column),
            final.eq(left == 1),
        ]
        with m.If(self.advance):
            m.d.sync += [at.eq(at + 1), left.eq(left - 1), busy.eq(~final)]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [
                at.eq(self.request.payload.address << parts),
                left.eq(self.request.payload.count << parts),
                busy.eq(self.request.payload.count != 0),
            ]

    def _refresh_clock(self, m: Module) -> None:
        """``due`` from one interval behind another until the refresh is sent; ``done`` ends it."""
        interval = self.timing.refresh
        left = Signal(range(interval), init=interval - 1)
        self.due, self.refreshed = Signal(), Signal()
        with m.If(self.refreshed):
            m.d.sync += self.due.eq(0)
        with m.If(self.ready):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 0):
                m.d.sync += [left.eq(interval - 1), self.due.eq(1)]

    def _sequence(self, m: Module) -> None:
        """Power up, then commands of the bursts that are next, of the row behind, and refreshes."""
        timing, ahead = self.timing, DECISION_EDGES
        wait = Countdown(m, max(timing.power_up, timing.rfc, timing.rp, timing.mrd), "wait", timing.power_up)
        again = Signal(range(self.chip.init_refreshes + 1), init=self.chip.init_refreshes)
        powered = Signal(reset_less=True)  # another reset finds the chip at work, perhaps within a burst or a refresh
        settled = timing.rfc + timing.ras + self.geometry.burst + timing.wr
        rested = Signal()
        running = Signal()
        self.close_all = Signal()
        self._run(m, running & wait.passed)
        m.d.sync += rested.eq(powered & (wait.left < max(0, timing.power_up - settled)))
        with m.FSM():
            with m.State("POWER UP"):
                with m.If(wait.passed | rested):
                    m.d.comb += self.close_all.eq(1)
                    m.d.sync += powered.eq(1)
                    wait.load(timing.rp)
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(wait.passed):
                    m.d.comb += [self.command.eq(REFRESH), self.refreshed.eq(1)]
                    with m.If(self.ready):
                        wait.load(timing.rfc - ahead)
                        m.next = "RUN"
                    with m.Else():
                        wait.load(timing.rfc)
                        m.d.sync += again.eq(again - 1)
                        with m.If(again == 1):
                            m.next = "MODE"
            with m.State("MODE"):
                with m.If(wait.passed):
                    m.d.comb += [self.command.eq(MODE), self.address.eq(self.mode), self.bank.eq(0)]
                    m.d.sync += self.ready.eq(1)
                    wait.load(timing.mrd - ahead)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += running.eq(1)
                with m.If(self.closing & ~self.sent_before):
                    m.d.comb += self.close_all.eq(1)
                    wait.load(timing.rp)
                    m.next = "REFRESH"

    @property
    def mode(self) -> int:
        """Mode register: burst length, sequential, CAS latency, writes as long as reads."""
        return log2(self.geometry.burst) | self.timing.cas << 4

    def _run(self, m: Module, running: Value) -> None:
        """What the next edge may send: registers, for each target and for the refresh; and one of it is sent."""
        timing, burst, ahead = self.timing, self.geometry.burst, DECISION_EDGES
        until_read = Countdown(m, burst, "until_read")
        until_write = Countdown(m, timing.cas + burst + 1, "until_write")
        until_activate = Countdown(m, timing.rrd, "until_activate")
        self.closing, self.sent_before, prepared_before = Signal(), Signal(), Signal()
        going, pending = running & ~self.due, self.buffer.pending
        column, activate, close = Signal(3), Signal(3), Signal(3)  # of the write, of the read, of the row ahead
        for i, (target, wanted, passed) in enumerate(
            (
                (self.write, pending, until_write.passed),
                (self.read, ~pending & self.wanted, until_read.passed),
                (self.ahead, ~pending & self.goes_on, 0),
            )
        ):
            may = going & wanted & target.known
            m.d.sync += [
                column[i].eq(may & target.hit & target.of_bank("column") & passed),
                activate[i].eq(may & target.closed & target.of_bank("reopen") & until_activate.passed),
                close[i].eq(may & target.other & target.of_bank("precharge")),
            ]
        writing, reading = Signal(), (column | activate | close)[1] & ~self.kept
        m.d.sync += [
            writing.eq(pending),
            self.closing.eq(running & self.due & Cat(bank.precharge for bank in self.banks).all()),
        ]
        free, bank, row = ~self.sent_before, self.bank, Signal.like(self.read.row)
        writes, reads, activates, closes = (Signal(name=name) for name in ("writes", "reads", "activates", "closes"))
        m.d.comb += [
            writes.eq(column[0] & free),
            reads.eq(column[1] & (free | prepared_before)),
            self.prepares.eq((activate | close)[2] & ~reading & (free | self.kept)),
            activates.eq((activate[:2].any() & free) | (activate[2] & self.prepares)),
            closes.eq((close[:2].any() & free) | (close[2] & self.prepares)),
            self.rows_change.eq(activates | closes | self.close_all),
            self.advance.eq(reads),
            self.buffer.send.eq(writes),
        ]
        for chosen, member in ((bank, "bank"), (row, "row")):
            of_write, of_read, of_ahead = (getattr(one, member) for one in (self.write, self.read, self.ahead))
            m.d.comb += chosen.eq(Mux(writing, of_write, Mux(reading, of_read, of_ahead)))
        m.d.sync += [self.sent_before.eq(writes | reads | self.rows_change), prepared_before.eq(self.prepares)]
        with m.If(writes | reads):
            m.d.comb += self.command.eq(Mux(writes, WRITE, READ))
            m.d.comb += self.address.eq(Mux(writes, self.write_column, self.column) << log2(burst))
            until_read.load(burst - ahead)
        with m.If(writes):
            until_write.load(burst - ahead)
        with m.If(reads):
            until_write.load(timing.cas + burst + 1 - ahead)  # an edge without a driver between
        with m.If(activates):
            m.d.comb += [self.command.eq(ACTIVATE), self.address.eq(row)]
            until_activate.load(timing.rrd - ahead)
        with m.If(closes):
            m.d.comb += self.command.eq(PRECHARGE)
        with m.If(self.close_all):
            m.d.comb += [self.command.eq(PRECHARGE), self.address.eq(_PRECHARGE_ALL)]
        for i, one in enumerate(self.banks):
            m.d.comb += [
                one.row.eq(row),
                one.activate.eq(activates & (bank == i)),
                one.close.eq((closes & (bank == i)) | self.close_all),
                one.read.eq(reads & (bank == i)),
                one.write.eq(writes & (bank == i)),
            ]
