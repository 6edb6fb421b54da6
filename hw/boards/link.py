"""Device side of the host link: byte frames become the core's streams, results and status become byte frames."""

from amaranth import Array, Cat, Const, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hw.boards.host import HEADS, result_bytes
from hw.config import ArrayConfig
from hw.core import Core
from hw.counters import CAUSES
from hw.ports import SIZE_BITS

__all__ = ["Link"]


class Link(Component):
    """A core with the protocol of ``hw/host.py`` around it; one frame is buffered in each direction.

    Members
    -------
    received : bytes from the host; unknown heads are skipped.
    sent : bytes to the host.
    lost : bytes were lost on the way in; told in the status frame.
    running : the core works.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "received": In(stream.Signature(8)),
                "sent": Out(stream.Signature(8)),
                "lost": In(1),
                "running": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """The core, a frame register and a length counter per direction."""
        m = Module()
        m.submodules.core = core = Core(self.config)
        m.d.comb += self.running.eq(core.running)
        status_wanted = self._receive(m, core)
        self._send(m, core, status_wanted)
        return m

    def _receive(self, m: Module, core: Core) -> Signal:
        """Collect a frame, then offer it to its stream; returns the pulse of a status request."""
        config = self.config
        streams = {
            "descriptor": (core.descriptor, 3 * SIZE_BITS // 8),
            "weights": (core.weights, config.weight_bus_bits // 8),
            "activations": (core.activations, config.rows),
        }
        longest = max(size for _, size in streams.values())
        frame, left = Signal(8 * longest), Signal(range(longest + 1))
        kind = Signal(range(len(streams)))
        collecting, offering, status_wanted = Signal(), Signal(), Signal()
        ready = Array(sink.ready for sink, _ in streams.values())[kind]
        m.d.comb += self.received.ready.eq(~offering)
        for index, (sink, size) in enumerate(streams.values()):
            payload = frame[8 * (longest - size) :]
            m.d.comb += [sink.payload.eq(payload), sink.valid.eq(offering & (kind == index))]
        with m.If(offering):
            m.d.sync += offering.eq(~ready)
        with m.Elif(self.received.valid & collecting):
            m.d.sync += [frame.eq(Cat(frame[8:], self.received.payload)), left.eq(left - 1)]
            with m.If(left == 1):
                m.d.sync += [collecting.eq(0), offering.eq(1)]
        with m.Elif(self.received.valid):
            for index, (name, (_, size)) in enumerate(streams.items()):
                with m.If(self.received.payload == ord(HEADS[name])):
                    m.d.sync += [collecting.eq(1), kind.eq(index), left.eq(size)]
            m.d.comb += status_wanted.eq(self.received.payload == ord(HEADS["status"]))
        return status_wanted

    def _send(self, m: Module, core: Core, status_wanted: Signal) -> None:
        """Send results as they come; a status frame goes out when no result waits."""
        head = {name: Const(ord(HEADS[name]), 8) for name in ("result", "status")}
        sum_bits = 8 * result_bytes(self.config) // self.config.cols
        sums = [Cat(value, value[-1].replicate(sum_bits - len(value))) for value in core.results.payload]
        flags = Cat(core.status.as_value(), core.running, core.illegal_weights, self.lost, Const(0, 3))
        counters = [getattr(core.counters, name) for name in ("cycles", *CAUSES)]
        frames = {"result": Cat(head["result"], *sums), "status": Cat(head["status"], flags, *counters)}

        buffer = Signal(max(len(frame) for frame in frames.values()))
        left = Signal(range(len(buffer) // 8 + 1))
        status_pending = Signal()
        with m.If(status_wanted):
            m.d.sync += status_pending.eq(1)
        m.d.comb += [
            self.sent.payload.eq(buffer[:8]),
            self.sent.valid.eq(left != 0),
            core.results.ready.eq(left == 0),
        ]
        with m.If(left == 0):
            with m.If(core.results.valid):
                m.d.sync += [buffer.eq(frames["result"]), left.eq(len(frames["result"]) // 8)]
            with m.Elif(status_pending):
                m.d.sync += [buffer.eq(frames["status"]), left.eq(len(frames["status"]) // 8), status_pending.eq(0)]
        with m.Elif(self.sent.ready):
            m.d.sync += [buffer.eq(buffer[8:]), left.eq(left - 1)]
