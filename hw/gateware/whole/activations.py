"""ActivationBuffer: int8 vectors as wide as the array, written a few numbers at a time, replayed for every tile."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.ports import vector_layout
from hw.program.machine import MachineConfig

__all__ = ["ActivationBuffer"]


class ActivationBuffer(Component):
    """``activation_words`` words of ``rows`` int8; word ``base + fold * m + token``.

    A GEMM reads its ``folds * m`` words in order, again and again for every plane and column tile: activations enter
    once. A vector is valid from the edge behind ``start`` on, one per edge.

    Members
    -------
    start, base, tokens, folds : begin to replay; ``folds`` and ``tokens`` stay.
    vectors : the replayed stream, without end until the next ``start``.
    write, write_address, write_slice, write_numbers : lanes' int8 numbers into a slice of a word.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        slices = machine.array.rows // machine.lanes
        super().__init__(
            {
                "start": In(1),
                "base": In(range(machine.activation_words)),
                "tokens": In(8),
                "folds": In(16),
                "vectors": Out(stream.Signature(vector_layout(machine.array))),
                "write": In(1),
                "write_address": In(range(machine.activation_words)),
                "write_slice": In(range(max(2, slices))),
                "write_numbers": In(data.ArrayLayout(8, machine.lanes)),
            }
        )

    def elaborate(self, platform) -> Module:
        """The read address runs one edge ahead of the vectors."""
        m = Module()
        machine = self.machine
        bits, slices = 8 * machine.array.rows, machine.array.rows // machine.lanes
        m.submodules.memory = self.memory = memory = Memory(shape=bits, depth=machine.activation_words, init=[])
        read = memory.read_port()
        write = memory.write_port(granularity=8 * machine.lanes)
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_numbers.as_value().replicate(slices)),
            write.en.eq(Mux(self.write, 1 << self.write_slice, 0)),
        ]
        base, place = Signal.like(self.base), Signal.like(self.base)
        token, fold, valid = Signal(8), Signal(16), Signal()
        advance = valid & self.vectors.ready
        last_token, last_fold = token == self.tokens - 1, fold == self.folds - 1
        ahead = Signal.like(place)
        with m.If(self.start):
            m.d.comb += ahead.eq(self.base)
        with m.Elif(advance):
            m.d.comb += ahead.eq(Mux(last_token & last_fold, base, place + 1))
        with m.Else():
            m.d.comb += ahead.eq(place)
        m.d.sync += place.eq(ahead)
        m.d.comb += [read.addr.eq(ahead), self.vectors.payload.as_value().eq(read.data), self.vectors.valid.eq(valid)]
        with m.If(self.start):
            m.d.sync += [base.eq(self.base), token.eq(0), fold.eq(0), valid.eq(1)]
        with m.Elif(advance):
            m.d.sync += token.eq(Mux(last_token, 0, token + 1))
            with m.If(last_token):
                m.d.sync += fold.eq(Mux(last_fold, 0, fold + 1))
        return m
