"""KvWriter: quantized numbers become digits, and the digits of a piece of a head writes of parts of memory words."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.formats import MAX_PLANES
from hw.gateware.whole.ports import ADDRESS_BITS, POSITION_BITS, write_layout
from hw.golden import digits
from hw.program.machine import MachineConfig

__all__ = ["KvWriter"]

_ENTRIES, _MIDDLE = 256, 128


class KvWriter(Component):
    """Gathers the trits of a column of K or of a lane of V, then writes them plane by plane.

    Members
    -------
    clear : forget what was gathered: all trits 0.
    numbers, valid, place : a word of quantized numbers, the ``place``-th of its piece.
    flush, address, plane_words : write ``planes`` planes from ``address`` on, ``plane_words`` words apart.
    by_lanes, planes, position : V, not K; digits; of the token.
    flush_scale, scale_address, scale : write a stored scale.
    writes : the memory port.
    following : where the next piece of V begins, in time with ``done``.
    done : this edge hands the last write over.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        super().__init__(
            {
                "clear": In(1),
                "numbers": In(data.ArrayLayout(signed(32), machine.lanes)),
                "valid": In(1),
                "place": In(8),
                "flush": In(1),
                "address": In(ADDRESS_BITS),
                "plane_words": In(24),
                "by_lanes": In(1),
                "planes": In(3),
                "position": In(POSITION_BITS),
                "flush_scale": In(1),
                "scale_address": In(ADDRESS_BITS),
                "scale": In(16),
                "writes": Out(stream.Signature(write_layout(machine.array.weight_bus_bits))),
                "following": Out(ADDRESS_BITS),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """A table of digits per lane, a register per plane, and the writes."""
        m = Module()
        machine, array = self.machine, self.machine.array
        lanes, word = machine.lanes, array.weight_bus_bits
        codes = [_codes(value) for value in range(_ENTRIES)]
        found = []
        for i in range(lanes):
            m.submodules[f"digits{i}"] = table = Memory(shape=2 * MAX_PLANES, depth=_ENTRIES, init=codes)
            read = table.read_port()
            m.d.comb += read.addr.eq(self.numbers[i][:8] + _MIDDLE)
            found.append(read.data)
        valid, place = delayed(m, self.valid, 1, "valid"), delayed(m, self.place, 1, "place")
        size = 2 * max(array.rows, array.cols)
        gathered = [Signal(size, name=f"gathered{plane}") for plane in range(MAX_PLANES)]
        for plane, register in enumerate(gathered):
            with m.If(self.clear):
                m.d.sync += register.eq(0)
            with m.Elif(valid):
                trits = Cat(one[2 * plane : 2 * plane + 2] for one in found)
                for number, first in enumerate(range(0, size, 2 * lanes)):
                    with m.If(place == number):
                        m.d.sync += register[first : first + 2 * lanes].eq(trits)

        plane, writing, address = Signal(3), Signal(), Signal(ADDRESS_BITS)
        scaling = Signal()
        with m.If(self.flush):
            m.d.sync += [writing.eq(1), plane.eq(0), address.eq(self.address)]
        with m.If(self.flush_scale):
            m.d.sync += [scaling.eq(1), address.eq(self.scale_address)]
        payload = self.writes.payload
        chosen = Array(gathered)[plane]
        column, lane = self._part(chosen, array.rows), self._part(chosen, array.cols)
        m.d.comb += [self.writes.valid.eq(writing | scaling), self.following.eq(address + self.plane_words)]
        with m.If(scaling):
            per_word = word // 16
            slot = self.position[: per_word.bit_length() - 1] if per_word > 1 else Const(0, 1)
            m.d.comb += [
                payload.address.eq(address + (self.position >> per_word.bit_length() - 1)),
                payload.data.eq(self.scale.replicate(per_word)),
                payload.mask.eq(Const(3) << Cat(Const(0, 1), slot)),
            ]
        with m.Else():
            for way, (word_number, image, mask) in ((self.by_lanes, lane), (~self.by_lanes, column)):
                with m.If(way):
                    m.d.comb += [
                        payload.address.eq(address + word_number),
                        payload.data.eq(image),
                        payload.mask.eq(mask),
                    ]
        transfer = self.writes.valid & self.writes.ready
        with m.If(transfer):
            m.d.sync += [plane.eq(plane + 1), address.eq(address + self.plane_words)]
            with m.If(scaling | (plane == self.planes - 1)):
                m.d.sync += [writing.eq(0), scaling.eq(0)]
                m.d.comb += self.done.eq(1)
        return m

    def _part(self, trits: Value, count: int) -> tuple[Value, Value, Value]:
        """Word inside the tile, a word full of copies, and the mask of ``count`` trits; the tile has one per token."""
        array, word = self.machine.array, self.machine.array.weight_bus_bits
        others = array.lanes // count  # columns of K in a tile, lanes of V in a tile
        per_word, length = word // (2 * count), 2 * count // 8
        inner = self.position[: others.bit_length() - 1]
        low = per_word.bit_length() - 1
        slot = inner[:low] if low else Const(0, 1)
        places = Mux(slot == 0, (1 << length) - 1, 0)
        for number in range(1, per_word):
            places = Mux(slot == number, (1 << length) - 1 << length * number, places)
        return inner >> low, trits[: 2 * count].replicate(per_word), places


def _codes(entry: int) -> int:
    """2-bit codes of the digits of ``entry - 128``, plane 0 in the lowest bits; 0 beyond five digits."""
    value = entry - _MIDDLE
    if abs(value) > (3**MAX_PLANES - 1) // 2:
        return 0
    return sum({0: 0, 1: 1, -1: 3}[int(trit)] << 2 * place for place, trit in enumerate(digits(value, MAX_PLANES)))
