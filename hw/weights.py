"""Double-buffered weight tiles: unpacked words fill the shadow tile while the active tile works."""

from itertools import groupby

from amaranth import Cat, Module, Signal, Value
from amaranth.lib.data import View
from amaranth.lib.wiring import Component, In, Out

from hw.config import ArrayConfig
from hw.ports import beat_shape, negatives_layout, tile_layout, trits_per_word
from hw.unpack import Unpacker

__all__ = ["WeightTiles"]

_COUNTED_AT_ONCE = 4  # trits whose -1 are counted before the first register: one table level


class WeightTiles(Component):
    """Shadow and active tile, one edge behind the loader's and the swap's control.

    A word is unpacked into a register on the edge that accepts it and enters the shadow tile on the next; a swap moves
    shadow to active on the edge after its control edge. Lanes at position p of their chain do both p edges later.

    Members
    -------
    word : the weight stream's payload.
    accept : this edge accepts ``word``.
    beat : its number inside the tile.
    swap : this edge swaps.
    trits : the active tile, ``TritCode`` number ``c * rows + r``.
    negatives : number of -1 trits of each column, in time with the chain heads.
    illegal : an accepted word held an illegal code; stays until ``clear``.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "word": In(config.weight_bus_bits),
                "accept": In(1),
                "beat": In(beat_shape(config)),
                "swap": In(1),
                "clear": In(1),
                "trits": Out(tile_layout(config)),
                "negatives": Out(negatives_layout(config)),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Word register, its delayed copies for later chain positions, shadow, active, and the count of -1 trits."""
        m = Module()
        config = self.config
        m.submodules.unpacker = unpacker = Unpacker(config)
        m.d.comb += unpacker.word.eq(self.word)

        with m.If(self.accept & unpacker.illegal):
            m.d.sync += self.illegal.eq(1)
        with m.Elif(self.clear):
            m.d.sync += self.illegal.eq(0)

        word, beat, accept, swap = unpacker.trits, self.beat, self.accept, self.swap
        per_word = trits_per_word(config)
        trits: dict[int, Value] = {}
        for position in range(config.chain_lanes):
            word, beat = _copy(m, word, f"word{position}", accept), _copy(m, beat, f"beat{position}", accept)
            accept, swap = _copy(m, accept, f"accept{position}"), _copy(m, swap, f"swap{position}")
            lanes = [i for i in range(config.lanes) if i % config.rows % config.chain_lanes == position]
            for number, group in groupby(lanes, key=lambda i: i // per_word):
                mine = list(group)
                arriving = Cat(word[i % per_word] for i in mine)
                shadow = _copy(m, arriving, f"shadow{position}_{number}", accept & (beat == number))
                active = _copy(m, shadow, f"active{position}_{number}", swap)
                trits.update((i, active.word_select(place, 2)) for place, i in enumerate(mine))
        m.d.comb += self.trits.as_value().eq(Cat(trits[i] for i in range(config.lanes)))
        self._count_negatives(m, unpacker.trits)
        return m

    def _count_negatives(self, m: Module, trits: View) -> None:
        """Count each column's -1 trits while they stream in, with one running sum for the column that a word cuts."""
        config = self.config
        per_word = trits_per_word(config)
        accept, swap = _copy(m, self.accept, "count_accept"), _copy(m, self.swap, "count_swap")
        beat = _copy(m, self.beat, "count_beat", self.accept)
        running = Signal(range(config.rows + 1))  # -1 trits so far of the column that the last word cut
        parts: dict[tuple[int, int], Signal] = {}  # -1 trits of a few neighbours in a word, counted on its way in

        def count(start: int, stop: int, number: int) -> Value:
            """-1 trits up to word ``number`` of the column of trits ``start`` to ``stop``."""
            low, high = max(start - number * per_word, 0), min(stop - number * per_word, per_word)
            window = []
            for first in range(low, high, _COUNTED_AT_ONCE):
                part = (first, min(first + _COUNTED_AT_ONCE, high))
                if part not in parts:
                    ones = _sum([trits[i].negative for i in range(*part)])
                    parts[part] = _copy(m, ones, f"ones{part[0]}_{part[1]}", self.accept)
                window.append(parts[part])
            return _sum([running, *window] if start < number * per_word else window)

        active = []
        for column in range(config.cols):
            start, stop = column * config.rows, (column + 1) * config.rows
            last = (stop - 1) // per_word
            for number in range(start // per_word, last):
                partial = count(start, stop, number)
                with m.If(accept & (beat == number)):
                    m.d.sync += running.eq(partial)
            final = count(start, stop, last)
            shadow = Signal(range(config.rows + 1), name=f"count{column}")
            with m.If(accept & (beat == last)):
                m.d.sync += shadow.eq(final)
            active.append(_copy(m, shadow, f"negatives{column}", swap))
        m.d.comb += self.negatives.as_value().eq(Cat(active))


def _sum(values: list[Value]) -> Value:
    """A balanced tree of additions."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return _sum(values[:half]) + _sum(values[half:])


def _copy(m: Module, value, name: str, enable=None) -> Signal:
    """A register that follows ``value`` by one edge, only where ``enable`` is high if it is given."""
    register = Signal(value.shape(), name=name)
    if enable is None:
        m.d.sync += register.eq(value)
    else:
        with m.If(enable):
            m.d.sync += register.eq(value)
    return register
