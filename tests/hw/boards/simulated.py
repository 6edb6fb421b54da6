"""A link in Amaranth's simulator that looks like a serial line to the host program, with faults on demand."""

from collections.abc import Callable

from amaranth.lib.wiring import Component
from amaranth.sim import Simulator

from hw.boards.link import Buffers, Link
from hw.config import ArrayConfig

CLOCK_HZ = 20_000  # so that a second of the host's patience is 20 000 edges
GAP_CYCLES = 600

SMALL = ArrayConfig(name="small", rows=4, cols=2, weight_bus_bits=8, token_tile=4, accumulator_bits=20, chain_lanes=2)


class SimulatedLine:
    """Bytes in and out of the ``link`` of a design; ``to_device`` and ``to_host`` may damage what passes."""

    clock_hz = CLOCK_HZ

    def __init__(self, design: Component, link: Component):
        self.link = link
        self.to_device: Callable[[bytes], bytes] = lambda data: data
        self.to_host: Callable[[bytes], bytes] = lambda data: data
        self.writes: list[bytes] = []
        self._sending, self._received = bytearray(), bytearray()
        self._edges = 0
        self._simulator = Simulator(design)
        self._simulator.add_clock(1)
        self._simulator.add_testbench(self._drive, background=True)
        self._simulator.add_testbench(self._listen, background=True)

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._sending += self.to_device(data)

    def read(self, timeout_s: float) -> bytes:
        """Run until bytes have come and the device pauses, or time is up."""
        end = self._edges + round(timeout_s * self.clock_hz)
        before = -1
        while len(self._received) != before and (before >= 0 or self._edges < end):
            before = len(self._received) or -1
            self.run(20)
        data, self._received = self.to_host(bytes(self._received)), bytearray()
        return data

    def run(self, edges: int) -> None:
        self._edges += edges
        self._simulator.run_until(self._edges)

    def on_edge(self, ctx) -> None:
        """What else a design is given on an edge."""

    async def _drive(self, ctx) -> None:
        port = self.link.received
        while True:
            self.on_edge(ctx)
            if self._sending:
                ctx.set(port.payload, self._sending.pop(0))
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)
            else:
                await ctx.tick()

    async def _listen(self, ctx) -> None:
        port = self.link.sent
        ctx.set(port.ready, 1)
        async for _, _, valid, payload in ctx.tick().sample(port.valid, port.payload):
            if valid:
                self._received.append(payload)


class LinkLine(SimulatedLine):
    """That of a plain ``Link``."""

    def __init__(self, config: ArrayConfig = SMALL):
        link = Link(config, CLOCK_HZ, GAP_CYCLES, Buffers(16, 16, 16))
        super().__init__(link, link)

    def read_all(self, timeout_s: float) -> bytes:
        """Everything that comes until time is up."""
        self.run(round(timeout_s * self.clock_hz))
        return self.read(0)
