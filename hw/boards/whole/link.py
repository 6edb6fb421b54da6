"""Device side of the serial link of a whole-token machine: frames to memory, tokens in, next tokens out."""

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.boards.server import Server, Sink, Source
from hw.boards.whole.access import HostAccess
from hw.gateware.whole.machine import Machine
from hw.gateware.whole.ports import COUNT_BITS, POSITION_BITS, request_layout, write_layout
from hw.host.whole.protocol import PATIENCE_BITS, TOKEN_QUEUE, WholeHello, WholeKind
from hw.program.image import config_tag
from hw.program.machine import MachineConfig

__all__ = ["WholeLink"]

_RECEIVED_BYTES = 256  # that may come while a request is carried out: writing a frame takes under 20 bytes' time
_CYCLE_BITS = 32


class WholeLink(Component):
    """A whole-token machine, and the protocol of ``hw/host/whole/protocol.py`` between a host, it and its memory.

    After configuration and RESET the machine is held and the host has the memory port; RUN hands it over.

    Members
    -------
    received, sent : bytes from and to the host.
    lost : pulse: a byte was lost on the way in.
    request, words, writes : the memory port.
    memory_ready : the memory may be used.
    reset : pulse of one clock cycle: the memory did not answer, its controller shall be reset.
    running : a token is being worked on.
    """

    def __init__(
        self, machine: MachineConfig, memory_words: int, clock_hz: float, gap_cycles: int,
        patience_bits: int = PATIENCE_BITS,
    ):  # fmt: skip
        self.machine, self.gap_cycles, self.patience_bits = machine, gap_cycles, patience_bits
        self.hello = WholeHello.of(machine.word_bytes, memory_words, clock_hz, config_tag(machine))
        super().__init__(
            {
                "received": In(stream.Signature(8)),
                "sent": Out(stream.Signature(8)),
                "lost": In(1),
                "request": Out(stream.Signature(request_layout())),
                "words": In(stream.Signature(machine.array.weight_bus_bits)),
                "writes": Out(stream.Signature(write_layout(machine.array.weight_bus_bits))),
                "memory_ready": In(1),
                "reset": Out(1),
                "running": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Server, the two users of the memory, and queues of tokens."""
        m = Module()
        core, access = Machine(self.machine, self.patience_bits), HostAccess(self.machine, self.patience_bits)
        incoming = SyncFIFOBuffered(width=8, depth=_RECEIVED_BYTES)
        tokens = SyncFIFOBuffered(width=POSITION_BITS + 1, depth=TOKEN_QUEUE)
        answers = SyncFIFOBuffered(width=POSITION_BITS + _CYCLE_BITS, depth=TOKEN_QUEUE)
        self.held = held = Signal(init=1)
        self.core, lost, taken = core, Signal(), Signal()
        piece, run, token, sought = Signal(32), Signal(8), Signal(32), Signal(32)
        check, answer = Signal(64), Signal(64)
        pushed = {name: Signal(name=f"{name}_pushed") for name in ("write", "check", "run", "token", "seek")}
        first, seeking = Signal(), Signal()
        self.stale = stale = Signal()
        usable = self.memory_ready & ~stale
        free = held & usable
        m.d.sync += answer.eq(Cat(_wide(answers.r_data[:POSITION_BITS], 32), answers.r_data[POSITION_BITS:]))
        flags = Cat(held, usable, access.silent, access.checking, lost, core.saturated, self.running)
        status = Cat(
            _wide(flags, 8), _wide(core.status, 8), _wide(tokens.depth - tokens.level, 8)[:8],
            _wide(answers.level, 8), _wide(core.position, 32), access.crc, self._cycles(m, core, held),
        )  # fmt: skip
        server = Server(
            {
                WholeKind.WRITE: Sink(piece, pushed["write"], access.pieces.ready, Mux(free, 255, 0), first=first),
                WholeKind.CHECK: Sink(check, pushed["check"], access.check.ready, free, once=True),
                WholeKind.RUN: Sink(run, pushed["run"], Const(1), usable, once=True),
                WholeKind.TOKENS: Sink(token, pushed["token"], tokens.w_rdy, tokens.depth - tokens.level),
                WholeKind.SEEK: Sink(sought, pushed["seek"], Const(1), ~seeking, once=True),
            },
            {
                WholeKind.HELLO: Source(Const(int.from_bytes(self.hello.pack(), "little"), 8 * len(self.hello.pack()))),
                WholeKind.NEXT: Source(answer, answers.r_rdy, taken),
                WholeKind.STATUS: Source(status),
            },
            self.gap_cycles,
        )
        m.submodules.incoming, m.submodules.server = incoming, server
        m.submodules.access = ResetInserter(server.reset)(access)
        m.submodules.core = ResetInserter(held | server.reset)(core)
        m.submodules.tokens, m.submodules.answers = (ResetInserter(server.reset)(fifo) for fifo in (tokens, answers))
        connect(m, server.sent, flipped(self.sent))
        m.d.comb += [
            incoming.w_data.eq(self.received.payload),
            incoming.w_en.eq(self.received.valid),
            self.received.ready.eq(incoming.w_rdy),
            server.received.payload.eq(incoming.r_data),
            server.received.valid.eq(incoming.r_rdy),
            incoming.r_en.eq(server.received.ready),
            access.pieces.payload.eq(piece),
            access.pieces.valid.eq(pushed["write"]),
            access.first.eq(first),
            access.check.payload.eq(check),
            access.check.valid.eq(pushed["check"]),
            tokens.w_data.eq(Cat(token[:POSITION_BITS], token[-1])),
            tokens.w_en.eq(pushed["token"]),
            core.tokens.payload.eq(tokens.r_data),
            core.tokens.valid.eq(tokens.r_rdy),
            tokens.r_en.eq(core.tokens.ready),
            core.seek.payload.eq(sought),
            core.seek.valid.eq(seeking),
            answers.w_data.eq(Cat(core.next.payload, self.cycles)),
            answers.w_en.eq(core.next.valid),
            core.next.ready.eq(answers.w_rdy),
            answers.r_en.eq(taken),
        ]
        with m.If(server.reset):
            m.d.sync += [held.eq(1), seeking.eq(0), lost.eq(0)]
        with m.Else():
            with m.If(pushed["run"]):
                m.d.sync += held.eq(0)
            with m.If(pushed["seek"]):
                m.d.sync += seeking.eq(1)
            with m.Elif(core.seek.ready):
                m.d.sync += seeking.eq(0)
            with m.If(self.lost):
                m.d.sync += lost.eq(1)
        self._memory(m, core, access, server.reset)
        return m

    def _cycles(self, m: Module, core: Machine, held: Signal) -> Value:
        """Clock cycles on tokens since the latest answer: of a prompt, to the edge of its answer; of a token then."""
        self.cycles = cycles = Signal(_CYCLE_BITS)
        answered = Signal(init=1)
        with m.If(held):
            m.d.sync += [cycles.eq(0), self.running.eq(0), answered.eq(1)]
        with m.Elif(core.tokens.valid & core.tokens.ready):
            m.d.sync += [cycles.eq(Mux(answered, 1, cycles + 1)), self.running.eq(1), answered.eq(0)]
        with m.Elif(core.tokens.ready | core.seek.ready | core.status.any()):
            m.d.sync += self.running.eq(0)
        with m.Elif(core.next.valid):
            m.d.sync += answered.eq(1)
        with m.Elif(self.running):
            m.d.sync += cycles.eq(cycles + 1)
        return cycles

    def _memory(self, m: Module, core: Machine, access: HostAccess, reset: Signal) -> None:
        """The memory port is the host's while the machine is held, else the machine's.

        Words that a machine was owed when it was held come and are dropped first; if they do not come, the memory's
        controller is reset.
        """
        held, stale = self.held, self.stale
        owed, waited = Signal(COUNT_BITS), Signal(self.patience_bits)
        asked = self.request.valid & self.request.ready
        came = self.words.valid & self.words.ready
        m.d.comb += self.reset.eq((reset & access.silent) | (stale & waited.all()))
        m.d.sync += [
            owed.eq(Mux(self.reset, 0, owed + Mux(asked, self.request.payload.count, 0) - came)),
            waited.eq(Mux(stale & ~came, waited + 1, 0)),
        ]
        with m.If(reset):
            m.d.sync += stale.eq(1)
        with m.Elif(owed == 0):
            m.d.sync += stale.eq(0)
        with m.If(stale):
            m.d.comb += self.words.ready.eq(1)
        for user, mine in ((access, held & ~stale), (core, ~held)):
            with m.If(mine):
                m.d.comb += [
                    self.request.valid.eq(user.request.valid),
                    self.request.payload.eq(user.request.payload),
                    self.words.ready.eq(user.words.ready),
                    self.writes.valid.eq(user.writes.valid),
                    self.writes.payload.eq(user.writes.payload),
                ]
            m.d.comb += [
                user.request.ready.eq(self.request.ready & mine),
                user.words.valid.eq(self.words.valid & mine),
                user.words.payload.eq(self.words.payload),
                user.writes.ready.eq(self.writes.ready & mine),
            ]


def _wide(value: Value, bits: int) -> Value:
    """``value`` with zeros above it."""
    return Cat(value, Const(0, max(0, bits - len(value))))
