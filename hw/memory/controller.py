"""``SdramController``: bursts of memory words and masked writes to an SDR SDRAM, its rows kept open, one clock."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.whole.ports import COUNT_BITS, log2, request_layout, write_layout
from hw.memory.bank import Bank, Countdown
from hw.memory.chip import SdramChip
from hw.memory.geometry import IO_EDGES, QUEUED_WORDS, Geometry
from hw.memory.pins import ACTIVATE, MODE, PRECHARGE, READ, REFRESH, WRITE, PinSignature
from hw.memory.words import Gatherer, WriteBuffer

__all__ = ["SdramController"]

_PRECHARGE_ALL = 1 << 10


class SdramController(Component):
    """A chip behind the memory port of the whole-token machine: ``docs/memory_controller.md``.

    Reads of one request come in the order of their words, requests in their own. A write is carried out before every
    read that has not begun. Addresses count memory words and wrap at the end of the chip. Reset may come on any edge:
    the chip keeps what lies in it, but for a word that was being written, whose rest stays as it was.

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
    pins : to ``SdramIo``, in domain ``pins_domain``.
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
        """Words on both sides, the burst that is next, banks, and the sequence of commands."""
        m = Module()
        chip, timing, geometry = self.chip, self.timing, self.geometry
        m.submodules.gatherer = self.gatherer = gatherer = Gatherer(
            self.word_bits, chip.data_bits, geometry.burst, self.read_edges, QUEUED_WORDS
        )
        m.submodules.buffer = self.buffer = buffer = WriteBuffer(self.word_bits, chip.data_bits, geometry.burst)
        self.banks = [Bank(timing, geometry.burst, chip.rows) for _ in range(chip.banks)]
        for i, bank in enumerate(self.banks):
            m.submodules[f"bank{i}"] = bank
        connect(m, gatherer.words, flipped(self.words))
        connect(m, flipped(self.writes), buffer.writes)
        m.d.comb += [
            gatherer.beat.eq(self.pins.dq_i),
            self.pins.cke.eq(1),
            self.pins.dqm.eq(Mux(buffer.driving, buffer.keep, Mux(self.ready, 0, -1))),
            self.pins.dq_o.eq(buffer.beat),
            self.pins.dq_oe.eq(buffer.driving),
        ]
        self._walk(m)
        self._refresh_clock(m)
        self._sequence(m)
        return m

    def _walk(self, m: Module) -> None:
        """The burst that is next: of a write, else of the request; and the row behind the request's, if it goes on."""
        geometry, buffer, gatherer = self.geometry, self.buffer, self.gatherer
        parts, column_bits, row_bits = log2(geometry.parts), log2(geometry.row_bursts), log2(self.chip.rows)
        bank_bits = log2(self.chip.banks)
        bits = column_bits + bank_bits + row_bits
        at, left = Signal(bits), Signal(COUNT_BITS + parts)
        self.advance = advance = Signal()
        written = (buffer.address << parts | (buffer.part if parts else 0))[:bits]
        first = at[:parts] == 0
        burst = Signal(bits)
        self.wanted, self.writing = Signal(), Signal()
        self.column = Signal(column_bits)
        self.bank, self.row = Signal(bank_bits), Signal(row_bits)
        self.next_bank, self.next_row, self.goes_on = Signal(bank_bits), Signal(row_bits), Signal()
        m.d.comb += [
            self.request.ready.eq(left == 0),
            self.writing.eq(buffer.pending),
            burst.eq(Mux(self.writing, written, at)),
            Cat(self.column, self.bank, self.row).eq(burst),
            Cat(self.next_bank, self.next_row).eq(at[column_bits:] + 1),
            self.goes_on.eq(~self.writing & (left > geometry.row_bursts - at[:column_bits])),
            self.wanted.eq(self.writing | ((left != 0) & (gatherer.room | ~first))),
            gatherer.claim.eq(advance & first),
            gatherer.read.eq(advance),
        ]
        with m.If(advance):
            m.d.sync += [at.eq(at + 1), left.eq(left - 1)]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [
                at.eq(self.request.payload.address << parts),
                left.eq(self.request.payload.count << parts),
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
        """Power up, then commands of the wanted burst, of the row behind it, and refreshes."""
        timing = self.timing
        wait = Countdown(m, max(timing.power_up, timing.rfc, timing.rp, timing.mrd), "wait", timing.power_up)
        again = Signal(range(self.chip.init_refreshes + 1), init=self.chip.init_refreshes)
        burst = self.geometry.burst
        powered = Signal(reset_less=True)  # another reset finds the chip at work, perhaps within a burst or a refresh
        settled = timing.rfc + timing.ras + burst + timing.wr
        self.until_read = Countdown(m, burst, "until_read")
        self.until_write = Countdown(m, timing.cas + burst + 1, "until_write")
        self.until_activate = Countdown(m, timing.rrd, "until_activate")
        closable = Cat(bank.precharge for bank in self.banks).all()
        with m.FSM():
            with m.State("POWER UP"):
                with m.If(wait.passed | (powered & (wait.left < max(0, timing.power_up - settled)))):
                    self._close_all(m)
                    m.d.sync += powered.eq(1)
                    wait.load(timing.rp)
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(wait.passed):
                    m.d.comb += [self.pins.command.eq(REFRESH), self.refreshed.eq(1)]
                    wait.load(timing.rfc)
                    with m.If(self.ready):
                        m.next = "RUN"
                    with m.Else():
                        m.d.sync += again.eq(again - 1)
                        with m.If(again == 1):
                            m.next = "MODE"
            with m.State("MODE"):
                with m.If(wait.passed):
                    m.d.comb += [self.pins.command.eq(MODE), self.pins.a.eq(self.mode)]
                    m.d.sync += self.ready.eq(1)
                    wait.load(timing.mrd)
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.due):
                    with m.If(closable & wait.passed):
                        self._close_all(m)
                        wait.load(timing.rp)
                        m.next = "REFRESH"
                with m.Elif(wait.passed):
                    self._run(m)

    @property
    def mode(self) -> int:
        """Mode register: burst length, sequential, CAS latency, writes as long as reads."""
        return log2(self.geometry.burst) | self.timing.cas << 4

    def _close_all(self, m: Module) -> None:
        m.d.comb += [self.pins.command.eq(PRECHARGE), self.pins.a.eq(_PRECHARGE_ALL)]
        m.d.comb += [bank.close.eq(1) for bank in self.banks]

    def _run(self, m: Module) -> None:
        """One command for the wanted burst, or one that prepares the row behind it."""
        timing, burst, banks = self.timing, self.geometry.burst, self.banks
        reads, writes = self.until_read, self.until_write

        def of(bank: Value, member: str) -> Value:
            return Array([getattr(one, member) for one in banks])[bank]

        usable = Signal()
        here, column, row = Signal(), Signal(), Signal()
        free, close = Signal(), Signal()
        m.d.comb += [
            here.eq(of(self.bank, "open_row") == self.row),
            usable.eq(self.wanted & of(self.bank, "open")),
            column.eq(usable & here & of(self.bank, "column") & Mux(self.writing, writes.passed, reads.passed)),
            close.eq(usable & ~here & of(self.bank, "precharge")),
            free.eq(self.until_activate.passed),
            row.eq(self.wanted & ~of(self.bank, "open") & of(self.bank, "reopen") & free),
        ]
        with m.If(column):
            m.d.comb += [
                self.pins.command.eq(Mux(self.writing, WRITE, READ)),
                self.pins.ba.eq(self.bank),
                self.pins.a.eq(self.column << log2(burst)),
                self.advance.eq(~self.writing),
                self.buffer.send.eq(self.writing),
            ]
            reads.load(burst)
            with m.If(self.writing):
                writes.load(burst)
            with m.Else():
                writes.load(timing.cas + burst + 1)  # an edge without a driver between
            with m.Switch(self.bank):
                for i, bank in enumerate(banks):
                    with m.Case(i):
                        m.d.comb += [bank.read.eq(~self.writing), bank.write.eq(self.writing)]
        with m.Elif(close | row):
            self._prepare(m, self.bank, self.row, row)
        with m.Elif(self.goes_on):
            bank, there = self.next_bank, of(self.next_bank, "open")
            other = of(bank, "open_row") != self.next_row
            row_ahead = ~there & of(bank, "reopen") & free
            with m.If(row_ahead | (there & other & of(bank, "precharge"))):
                self._prepare(m, bank, self.next_row, row_ahead)

    def _prepare(self, m: Module, bank: Value, row: Value, activate: Value) -> None:
        """Open the row of a closed bank, or close the bank."""
        m.d.comb += [
            self.pins.command.eq(Mux(activate, ACTIVATE, PRECHARGE)),
            self.pins.ba.eq(bank),
            self.pins.a.eq(Mux(activate, row, Const(0, self.chip.address_bits))),
        ]
        with m.If(activate):
            self.until_activate.load(self.timing.rrd)
        with m.Switch(bank):
            for i, one in enumerate(self.banks):
                with m.Case(i):
                    m.d.comb += [one.row.eq(row), one.activate.eq(activate), one.close.eq(~activate)]
