"""RowReader: a token's row of the table, a digit plane of it, out of the weight tiles that the head streams."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.ports import ADDRESS_BITS, COUNT_BITS, log2
from hw.gateware.whole.slices import slice_of
from hw.program.machine import MachineConfig
from hw.token.formats import WORD_BITS
from hw.trit import TRITS_PER_BYTE

__all__ = ["RowReader"]

_ROW_DIVISION = 24  # edges, a bit of the beat's number each
_FIVES = TRITS_PER_BYTE["5in8"]
_TRIT_BITS = 2


class RowReader(Component):
    """Per fold a column of a tile, ``array.rows`` trits of one beat, becomes scratch words of -1, 0 and 1.

    Where weights are packed, five beats lie in four words: the beat's number is divided by five, the words are read
    whichever beat it is, so that the edges do not depend on the token.

    Members
    -------
    start, table, beat, place, destination, words, packed : begin. ``table``: its first memory word; ``beat``: number of
        the first fold's beat behind it; ``place``: column of the beat; ``words``: of scratch.
    ask, address, count : read memory from the next edge on; they stay while ``taking``.
    taking : beats are awaited; the unpacker begins anew where this is low.
    input : beats of trits in 2 bits.
    write, write_address, word : into scratch memory.
    done : this edge writes the last word.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        bits, array = machine.array.weight_bus_bits, machine.array
        super().__init__(
            {
                "start": In(1),
                "table": In(ADDRESS_BITS),
                "beat": In(ADDRESS_BITS),
                "place": In(range(max(2, array.cols // machine.tile_words))),
                "destination": In(16),
                "words": In(16),
                "packed": In(1),
                "ask": Out(1),
                "address": Out(ADDRESS_BITS),
                "count": Out(COUNT_BITS),
                "taking": Out(1),
                "input": In(stream.Signature(bits)),
                "write": Out(1),
                "write_address": Out(16),
                "word": Out(data.ArrayLayout(WORD_BITS, machine.lanes)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Divide, ask, keep the beat as it passes, write its column; then the next fold."""
        m = Module()
        machine, lanes = self.machine, self.machine.lanes
        parts = machine.array.rows // lanes  # scratch words of a column
        beat, quotient = Signal(_ROW_DIVISION), Signal(_ROW_DIVISION)
        rest, step = Signal(range(_FIVES)), Signal(range(_ROW_DIVISION))
        kept, passed = Signal(machine.array.weight_bus_bits), Signal(range(_FIVES))
        part, left = Signal(range(max(2, parts))), Signal(16)
        doubled, large = Signal(range(2 * _FIVES)), Signal()
        m.d.comb += [
            doubled.eq(Cat(quotient[-1], rest)),
            large.eq(doubled >= _FIVES),
            self.address.eq(self.table + Mux(self.packed, quotient << log2(_FIVES - 1), beat)),
            self.count.eq(Mux(self.packed, _FIVES - 1, 1)),
        ]
        trits = slice_of(kept, Cat(part[: log2(parts)], self.place), _TRIT_BITS * lanes)
        numbers = (trits[_TRIT_BITS * lane : _TRIT_BITS * (lane + 1)] for lane in range(lanes))
        m.d.comb += self.word.as_value().eq(
            Cat(Cat(trit, trit[1].replicate(WORD_BITS - _TRIT_BITS)) for trit in numbers)
        )

        def begin(number) -> None:
            m.d.sync += [beat.eq(number), quotient.eq(number), rest.eq(0), step.eq(0), passed.eq(0), part.eq(0)]
            m.next = "ASK"
            with m.If(self.packed):
                m.next = "DIVIDE"

        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [left.eq(self.words), self.write_address.eq(self.destination)]
                begin(self.beat)
            with m.State("DIVIDE"):
                m.d.sync += [
                    quotient.eq(Cat(large, quotient)),
                    rest.eq(Mux(large, doubled - _FIVES, doubled)),
                    step.eq(step + 1),
                ]
                with m.If(step == _ROW_DIVISION - 1):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.ask.eq(1)
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += [self.taking.eq(1), self.input.ready.eq(1)]
                with m.If(self.input.valid):
                    m.d.sync += passed.eq(passed + 1)
                    with m.If(passed == rest):
                        m.d.sync += kept.eq(self.input.payload)
                    with m.If(~self.packed | (passed == _FIVES - 1)):
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += self.write.eq(1)
                m.d.sync += [part.eq(part + 1), left.eq(left - 1), self.write_address.eq(self.write_address + 1)]
                with m.If(left == 1):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
                with m.Elif(part == parts - 1):
                    begin(beat + machine.tile_words)
        return m
