"""FiveTritUnpacker: memory words of five trits a byte become the array's beats of 2-bit trits, 5 of 4 words."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.unpack import Unpacker
from hw.program.machine import MachineConfig
from hw.trit import TRITS_PER_BYTE

__all__ = ["FiveTritUnpacker"]

_PARTS = TRITS_PER_BYTE["2bit"]  # of a beat; a memory word holds one more


class FiveTritUnpacker(Component):
    """A beat leaves on the edge that takes its last word; every fifth one is made of what is left of four.

    Trits of a byte that is never written (above 242) are 0.

    Members
    -------
    start : forget what is left.
    input : memory words.
    output : beats, in order.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        bits = machine.array.weight_bus_bits
        super().__init__(
            {"start": In(1), "input": In(stream.Signature(bits)), "output": Out(stream.Signature(bits))},
        )

    def elaborate(self, platform) -> Module:
        """Part numbers: ``left`` of them wait, and a word adds five."""
        m = Module()
        bits = self.machine.array.weight_bus_bits
        part = bits // _PARTS
        wide = self.machine.array.model_copy(update={"packing": "5in8"})
        m.submodules.unpacker = unpacker = Unpacker(wide)
        waiting, left = Signal(bits), Signal(range(_PARTS + 1))
        word = Signal((_PARTS + 1) * part)
        m.d.comb += [
            unpacker.word.eq(self.input.payload),
            word.eq(unpacker.trits.as_value()),
            self.output.valid.eq(self.input.valid | (left == _PARTS)),
            self.input.ready.eq(self.output.ready & (left != _PARTS)),
        ]
        with m.Switch(left):
            for count in range(_PARTS + 1):
                with m.Case(count):
                    there = Cat(waiting[: count * part], word)
                    m.d.comb += self.output.payload.eq(there)
                    with m.If(self.output.valid & self.output.ready):
                        m.d.sync += [waiting.eq(there[bits:]), left.eq(count + 1 if count < _PARTS else 0)]
        with m.If(self.start):
            m.d.sync += left.eq(0)
        return m
