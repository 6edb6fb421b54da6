"""Device side of the serial link: a core between buffers that the host fills and empties."""

from typing import NamedTuple

from amaranth import Cat, Const, Module, ResetInserter, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.arithmetic.adders import Cells
from hw.arithmetic.registers import copies
from hw.boards.server import Server, Sink, Source
from hw.boards.word_buffer import WordBuffer
from hw.config import ArrayConfig
from hw.gateware.core import Core
from hw.host.protocol import CAUSES, COUNTER_BYTES, Hello, Kind, check_carries, sum_bytes

__all__ = ["Buffers", "Link"]

_LEVEL_BITS = 16


class Buffers(NamedTuple):
    """Depths of the buffers between line and core, in words of their streams; a block RAM is 256 to 512 words deep."""

    weight_words: int = 256
    activation_vectors: int = 256
    result_beats: int = 256


class Link(Component):
    """A core with buffers and the protocol of ``hw/host/protocol.py`` around it.

    A GEMM whose weights, activations and results fit into the buffers runs without stalls when it is started last, so
    its counters are those of the array and not of the line.

    Members
    -------
    received, sent : bytes from and to the host.
    lost : pulse: a byte was lost on the way in; told in the status until the next RESET.
    running : a GEMM is under way.

    Raises
    ------
    InputError
        A word of the array does not fit a frame.
    """

    def __init__(
        self, config: ArrayConfig, clock_hz: float, gap_cycles: int, buffers: Buffers, cells: Cells = "portable"
    ):
        check_carries(config)
        self.config, self.gap_cycles, self.buffers = config, gap_cycles, buffers
        self.cells = cells
        self.hello = Hello.of(config, clock_hz, *buffers)
        super().__init__(
            {
                "received": In(stream.Signature(8)),
                "sent": Out(stream.Signature(8)),
                "lost": In(1),
                "running": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Three buffers around the core, and the server that the host talks to."""
        m = Module()
        core = Core(self.config, self.cells)
        weights = WordBuffer(width=len(core.weights.payload), depth=self.buffers.weight_words, shows="in turn")
        activations = WordBuffer(width=8 * self.config.rows, depth=self.buffers.activation_vectors)
        beat_bits = len(Value.cast(core.results.payload))
        results = WordBuffer(width=beat_bits, depth=self.buffers.result_beats, shows="with pauses")
        lost = Signal()
        # a register behind the block RAM, which is as slow as a few tables
        beat = Signal.like(results.r_data, reset_less=True)
        m.d.sync += beat.eq(results.r_data)
        status = self._status(core, weights, activations, results, lost)
        server = Server(
            {
                Kind.WEIGHTS: _fifo_sink(weights),
                Kind.ACTIVATIONS: _fifo_sink(activations),
                Kind.START: Sink(
                    Value.cast(core.descriptor.payload),
                    core.descriptor.valid,
                    core.descriptor.ready,
                    core.descriptor.ready,
                    once=True,
                ),
            },
            {
                Kind.HELLO: Source(Const(int.from_bytes(self.hello.pack(), "little"), 8 * len(self.hello.pack()))),
                Kind.RESULTS: Source(self._beat(beat), results.r_rdy, results.r_en),
                Kind.STATUS: Source(status),
            },
            self.gap_cycles,
        )
        m.submodules.server = server
        blocks = {"core": core, "weights": weights, "activations": activations, "results": results}
        # the blocks lie apart; no word comes in the edge between
        resets = copies(m, server.reset, "reset", len(blocks))
        for (name, block), reset in zip(blocks.items(), resets, strict=True):
            m.submodules[name] = ResetInserter(reset)(block)
        connect(m, flipped(self.received), server.received)
        connect(m, server.sent, flipped(self.sent))
        for fifo, port in ((weights, core.weights), (activations, core.activations)):
            m.d.comb += [
                Value.cast(port.payload).eq(fifo.r_data),
                port.valid.eq(fifo.r_rdy),
                fifo.r_en.eq(port.ready),
            ]
        m.d.comb += [
            self.running.eq(core.running),
            results.w_data.eq(Value.cast(core.results.payload)),
            results.w_en.eq(core.results.valid),
            core.results.ready.eq(results.w_rdy),
        ]
        with m.If(self.lost):
            m.d.sync += lost.eq(1)
        with m.Elif(server.reset):
            m.d.sync += lost.eq(0)
        return m

    def _beat(self, word: Value) -> Value:
        """A result beat with each sum sign-extended to whole bytes."""
        bits, whole = self.config.accumulator_bits, 8 * sum_bytes(self.config)
        sums = [word.word_select(column, bits) for column in range(self.config.cols)]
        return Cat(Cat(value, value[-1].replicate(whole - bits)) for value in sums)

    @staticmethod
    def _status(core: Core, weights, activations, results, lost: Signal) -> Value:
        """The bytes of ``hw.host.protocol.Status``."""
        flags = Cat(core.status, core.running, core.illegal_weights, lost, Const(0, 3))
        levels = [_wide(fifo.level, _LEVEL_BITS) for fifo in (weights, activations, results)]
        counters = [_wide(getattr(core.counters, name), 8 * COUNTER_BYTES) for name in ("cycles", *CAUSES)]
        return Cat(flags, *levels, *counters)


def _fifo_sink(fifo: WordBuffer) -> Sink:
    """The write side of a buffer."""
    return Sink(fifo.w_data, fifo.w_en, fifo.w_rdy, fifo.depth - fifo.level)


def _wide(value: Value, bits: int) -> Value:
    """``value`` with zeros above it."""
    return Cat(value, Const(0, bits - len(value)))
