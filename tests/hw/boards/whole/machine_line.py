"""A whole-token machine's link and a memory in Amaranth's simulator, seen by the host program as a serial line."""

from collections.abc import Callable

from amaranth import Module, ResetInserter, Signal
from amaranth.lib.wiring import Component, connect
from amaranth.sim import Simulator

from hw.boards.whole.block_memory import BlockMemory
from hw.boards.whole.link import WholeLink

CLOCK_HZ = 20_000  # so that a second of the host's patience is 20 000 edges
GAP_CYCLES = 600


class _Board(Component):
    """Link and memory; ``frozen``: the memory neither takes nor gives."""

    def __init__(self, machine, words: int, patience_bits: int):
        self.link = WholeLink(machine, words, CLOCK_HZ, GAP_CYCLES, patience_bits)
        self.memory = BlockMemory(machine, words)
        self.frozen = Signal()
        super().__init__({})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.link = link = self.link
        m.submodules.memory = memory = ResetInserter(link.reset)(self.memory)
        for name in ("request", "writes"):
            here, there = getattr(link, name), getattr(memory, name)
            m.d.comb += [
                there.payload.eq(here.payload),
                there.valid.eq(here.valid & ~self.frozen),
                here.ready.eq(there.ready & ~self.frozen),
            ]
        connect(m, memory.words, link.words)
        m.d.comb += link.memory_ready.eq(memory.ready)
        return m


class MachineLine:
    """Bytes in and out of the board; ``to_device`` and ``to_host`` may damage what passes."""

    def __init__(self, machine, words: int, patience_bits: int = 16):
        self.board = _Board(machine, words, patience_bits)
        self.to_device: Callable[[bytes], bytes] = lambda data: data
        self.to_host: Callable[[bytes], bytes] = lambda data: data
        self.writes: list[bytes] = []
        self.freeze = False
        self._sending, self._received = bytearray(), bytearray()
        self._edges = 0
        self._simulator = Simulator(self.board)
        self._simulator.add_clock(1)
        self._simulator.add_testbench(self._drive, background=True)
        self._simulator.add_testbench(self._listen, background=True)

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._sending += self.to_device(data)

    def read(self, timeout_s: float) -> bytes:
        """Run until bytes have come and the device pauses, or time is up."""
        end = self._edges + round(timeout_s * CLOCK_HZ)
        before = -1
        while len(self._received) != before and (before >= 0 or self._edges < end):
            before = len(self._received) or -1
            self.run(20)
        data, self._received = self.to_host(bytes(self._received)), bytearray()
        return data

    def run(self, edges: int) -> None:
        self._edges += edges
        self._simulator.run_until(self._edges)

    async def _drive(self, ctx) -> None:
        port = self.board.link.received
        while True:
            ctx.set(self.board.frozen, self.freeze)
            if self._sending:
                ctx.set(port.payload, self._sending.pop(0))
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)
            else:
                await ctx.tick()

    async def _listen(self, ctx) -> None:
        port = self.board.link.sent
        ctx.set(port.ready, 1)
        async for _, _, valid, payload in ctx.tick().sample(port.valid, port.payload):
            if valid:
                self._received.append(payload)
