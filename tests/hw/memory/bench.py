"""A controller, its pins' registers and a checking chip in the Amaranth simulator, and traffic for them."""

from typing import NamedTuple

from amaranth.hdl import ClockDomain, DomainRenamer, Module, ResetInserter
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from amaranth.sim import Simulator

from hw.gateware.whole.ports import request_layout, write_layout
from hw.memory.chip import SdramChip
from hw.memory.controller import SdramController
from hw.memory.model import ChipModel, Pins
from hw.memory.pins import PinSignature, SdramIo

TINY = {
    "name": "tiny", "source": "for tests", "data_bits": 16, "banks": 4, "rows": 16, "columns": 32,
    "cas2_clock_hz": 100e6, "cas3_clock_hz": 143e6, "rcd_ns": 20, "rp_ns": 20, "ras_ns": 44, "rc_ns": 66, "rrd_ns": 15,
    "wr_ns": 15, "rfc_ns": 66, "refresh_ns": 1500, "power_up_ns": 200, "init_refreshes": 2,
}  # fmt: skip


def tiny(**fields) -> SdramChip:
    """A chip of 32 columns, so that rows end often, which wants to be refreshed five times as often as a real one."""
    return SdramChip(**TINY | fields)


class Write(NamedTuple):
    address: int
    data: int
    mask: int
    gap: int = 0


class Read(NamedTuple):
    address: int
    count: int
    gap: int = 0  # edges before it is offered
    slow: int = 1  # a word is taken on every so-manieth edge
    beside: Write | None = None  # offered while the words come, of a word that is not among them


class Reset(NamedTuple):
    gap: int = 0  # edges behind the operation before, which may not have ended


class Board(Component):
    """Controller and registers, with the chip's pins outside; ``fast``: chip and controller in domain ``memory``."""

    def __init__(self, chip: SdramChip, clock_hz: float, word_bits: int, controller: type, **how):
        self.io = SdramIo(chip)
        self.controller = controller(chip, clock_hz, word_bits, **how)
        self.fast = self.controller.pins_domain == "memory"
        super().__init__(
            {
                "request": In(stream.Signature(request_layout())),
                "words": Out(stream.Signature(word_bits)),
                "writes": In(stream.Signature(write_layout(word_bits))),
                "ready": Out(1),
                "reset": In(1),
                "chip": Out(PinSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        if self.fast:  # whose registers go on, as on a board
            m.domains.memory = ClockDomain(reset_less=True)
            m.submodules.io = DomainRenamer("memory")(self.io)
        else:
            m.submodules.io = ResetInserter(self.reset)(self.io)
        m.submodules.controller = ResetInserter(self.reset)(self.controller)
        connect(m, self.controller.pins, self.io.pins)
        connect(m, self.io.chip_pins, flipped(self.chip))
        connect(m, flipped(self.request), self.controller.request)
        connect(m, self.controller.words, flipped(self.words))
        connect(m, flipped(self.writes), self.controller.writes)
        m.d.comb += self.ready.eq(self.controller.ready)
        return m


class Bench:
    """Carries out operations in order: a read is offered when the words of the one before have come.

    ``words``: of every read in turn; ``times``: the edge of each word; ``model``: the chip. ``ratio``: edges of chip
    and controller per edge of the port; ``lag``: how far the port's first edge lies behind the chip's first one, in
    edges of the chip.
    """

    def __init__(
        self, chip, clock_hz=100e6, word_bits=128, controller=SdramController, cas=None, ratio=1, lag=0, **how
    ):
        self.ratio, self.lag = ratio, lag
        self.dut = Board(chip, clock_hz, word_bits, controller, cas=cas, **how)
        self.model = ChipModel(chip, clock_hz, self.dut.controller.timing.cas)
        self.words: list[list[int]] = []
        self.times: list[list[int]] = []

    def run(self, operations, limit=100_000) -> "Bench":
        simulator = Simulator(self.dut)
        period = 1e-6
        simulator.add_clock(self.ratio * period, phase=(0.5 + self.lag) * period)
        if self.dut.fast:
            simulator.add_clock(period, phase=period / 2, domain="memory")
            simulator.add_testbench(self._chip, background=True)
        self.operations, self.limit = operations, limit
        simulator.add_testbench(self._drive)
        simulator.run()
        return self

    async def _chip(self, ctx):
        while True:
            await self._chip_edge(ctx, "memory")

    async def _drive(self, ctx):
        self.edge = 0
        while not ctx.get(self.dut.ready):
            await self._tick(ctx)
        for one in self.operations:
            for _ in range(one.gap):
                await self._tick(ctx)
            await {Read: self._read, Write: self._write, Reset: self._reset}[type(one)](ctx, one)
        for _ in range(40):
            await self._tick(ctx)

    async def _read(self, ctx, one):
        request, words = self.dut.request, self.dut.words
        found, times = [], []
        self.words.append(found)
        self.times.append(times)
        ctx.set(request.payload, {"address": one.address, "count": one.count})
        ctx.set(request.valid, 1)
        writes, begin, owed = self.dut.writes, self.edge, one.beside is not None
        if one.beside:
            ctx.set(writes.payload, self._payload(one.beside))
        while len(found) < one.count or ctx.get(request.valid) or owed:
            if owed and self.edge > begin + one.beside.gap:
                ctx.set(writes.valid, 1)
            wrote = ctx.get(writes.valid) and ctx.get(writes.ready)
            ctx.set(words.ready, self.edge % one.slow == 0)
            taken = ctx.get(request.valid) and ctx.get(request.ready)
            if ctx.get(words.valid) and ctx.get(words.ready):
                found.append(ctx.get(words.payload))
                times.append(self.edge)
            await self._tick(ctx)
            if taken:
                ctx.set(request.valid, 0)
            if wrote:
                ctx.set(writes.valid, 0)
                owed = False
        ctx.set(words.ready, 0)

    async def _write(self, ctx, one):
        writes = self.dut.writes
        ctx.set(writes.payload, self._payload(one))
        ctx.set(writes.valid, 1)
        while not ctx.get(writes.ready):
            await self._tick(ctx)
        await self._tick(ctx)
        ctx.set(writes.valid, 0)

    @staticmethod
    def _payload(one):
        return {"address": one.address, "data": one.data, "mask": one.mask}

    async def _reset(self, ctx, one):
        ctx.set(self.dut.reset, 1)
        await self._tick(ctx)
        ctx.set(self.dut.reset, 0)
        while not ctx.get(self.dut.ready):
            assert not ctx.get(self.dut.words.valid), "a word that nobody asked for"
            await self._tick(ctx)

    async def _tick(self, ctx):
        if self.dut.fast:
            await ctx.tick()
        else:
            await self._chip_edge(ctx, "sync")
        self.edge += 1
        assert self.edge < self.limit, "the controller hangs"

    async def _chip_edge(self, ctx, domain):
        chip = self.dut.chip
        pins = Pins(
            ctx.get(chip.command), ctx.get(chip.ba), ctx.get(chip.a), ctx.get(chip.dqm),
            ctx.get(chip.dq_o) if ctx.get(chip.dq_oe) else None, ctx.get(chip.cke),
        )  # fmt: skip
        driven = self.model.step(pins)
        await ctx.tick(domain)
        ctx.set(chip.dq_i, 0x5A5A5A5A & (1 << len(chip.dq_i)) - 1 if driven is None else driven)


def naive(operations, words, word_bits):
    """Words of every read from a byte array."""
    memory, size, found = bytearray(words * word_bits // 8), word_bits // 8, []
    for one in operations:
        if isinstance(one, Read):
            addresses = [(one.address + i) % words for i in range(one.count)]
            found.append([int.from_bytes(memory[a * size : a * size + size], "little") for a in addresses])
        write = one if isinstance(one, Write) else getattr(one, "beside", None)
        for byte in range(size) if write else []:
            if write.mask >> byte & 1:
                memory[write.address % words * size + byte] = write.data >> 8 * byte & 0xFF
    return found
