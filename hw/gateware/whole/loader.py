"""Loader: numbers of 8, 16 or 32 bits out of memory words become scratch words."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.slices import slice_of
from hw.program.instructions import ELEMENTS
from hw.program.machine import MachineConfig
from hw.token.formats import WORD_BITS

__all__ = ["Loader"]

_BITS = {"int8": 8, "int16": 16, "uint16": 16, "int32": 32}


class Loader(Component):
    """A memory word gives ``32 / bits`` scratch words, one per edge.

    Members
    -------
    start, destination, words, element : begin; ``element``: code of ``ELEMENTS``.
    pick, place : one number of 16 bits alone, that at ``place`` of the memory word, goes to lane 0.
    memory_words : how many memory words that takes.
    input : memory words.
    write, address, word : into scratch memory.
    done : this edge writes the last one.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        super().__init__(
            {
                "start": In(1),
                "destination": In(16),
                "words": In(16),
                "element": In(2),
                "pick": In(1),
                "place": In(range(2 * machine.lanes)),
                "memory_words": Out(16),
                "input": In(stream.Signature(machine.array.weight_bus_bits)),
                "write": Out(1),
                "address": Out(16),
                "word": Out(data.ArrayLayout(signed(WORD_BITS), machine.lanes)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """The memory word stays valid until its last part is taken."""
        m = Module()
        left, part = Signal(16), Signal(2)
        parts = [WORD_BITS // _BITS[name] for name in ELEMENTS]  # per memory word
        with m.Switch(self.element):
            for code, count in enumerate(parts):
                with m.Case(code):
                    m.d.comb += self.memory_words.eq(self.words + (count - 1) >> count.bit_length() - 1)
        last_part = part == Array(count - 1 for count in parts)[self.element]
        running = left != 0
        m.d.comb += [
            self.write.eq(self.input.valid & running),
            self.done.eq(self.write & (left == 1)),
            self.input.ready.eq(running & (last_part | (left == 1))),
        ]
        with m.If(self.start):
            m.d.sync += [left.eq(self.words), part.eq(0), self.address.eq(self.destination)]
        with m.Elif(self.write):
            m.d.sync += [left.eq(left - 1), self.address.eq(self.address + 1), part.eq(Mux(last_part, 0, part + 1))]
        with m.Switch(self.element):
            for code, name in enumerate(ELEMENTS):
                with m.Case(code):
                    m.d.comb += self.word.as_value().eq(self._widened(m, part, _BITS[name], not name.startswith("u")))
        with m.If(self.pick):
            m.d.comb += self.word.as_value().eq(slice_of(self.input.payload, self.place, 16))
        return m

    def _widened(self, m: Module, part: Value, bits: int, is_signed: bool) -> Value:
        """A part of the memory word, every number widened to 32 bits."""
        lanes = self.machine.lanes
        if bits == WORD_BITS:
            return self.input.payload
        chosen = Signal(bits * lanes)
        m.d.comb += chosen.eq(slice_of(self.input.payload, part, bits * lanes))
        numbers = [chosen[bits * i : bits * (i + 1)] for i in range(lanes)]
        tops = [number[-1] if is_signed else Const(0, 1) for number in numbers]
        return Cat(Cat(number, top.replicate(WORD_BITS - bits)) for number, top in zip(numbers, tops, strict=True))
