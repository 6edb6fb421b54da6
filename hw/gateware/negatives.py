"""The number of -1 trits of each column of a weight tile, counted while the tile streams in."""

from itertools import pairwise
from math import gcd

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import COLUMNS_PER_COPY, copies, groups_of, registered
from hw.config import ArrayConfig
from hw.gateware.ports import beat_shape, negatives_layout, trits_per_word

__all__ = ["NegativesCounter"]

_FEW = 4  # trits that one table counts: inputs of a four-input table


class NegativesCounter(Component):
    """Counts in three steps, each behind a register, so that no step adds many numbers.

    On the edge that accepts a word, as on any other, the -1 of neighbouring trits are counted (its *parts*); on
    the next, the parts of each column in an accepted word are added; on the one after, that enters the column's
    *shadow* count, or the running sum of the column that the word cuts. A swap may follow the tile's last word at
    once, an edge too early for its columns; but no word follows until the swap, so the second step still holds their
    counts and is their shadow.

    Members
    -------
    negative : per trit of the bus word, whether it is -1.
    accept : this edge accepts the word.
    beat : its number inside the tile.
    swap : this edge swaps; the counts are those of the active tile one edge later.
    negatives : per column, the number of -1 trits of the active tile.
    by_lanes : arrays with ``lane_loading``: every word holds trits of many columns, see ``_count_by_lanes``.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "negative": In(data.ArrayLayout(1, trits_per_word(config))),
                "accept": In(1),
                "beat": In(beat_shape(config)),
                "swap": In(1),
                "negatives": Out(negatives_layout(config)),
            }
            | ({"by_lanes": In(1)} if config.lane_loading else {})
        )

    def elaborate(self, platform) -> Module:
        """The three steps for every column, a word's parts and sums shared by the columns that need the same."""
        m = Module()
        config = self.config
        self._tables: dict[tuple[int, int], Signal] = {}
        self._parts: dict[tuple[int, int], Signal] = {}
        self._in_word: dict[tuple[int, int], Signal] = {}
        self._accepted = registered(m, self.accept, "accept0")
        late_beat = registered(m, self.beat, "beat0")
        now = registered(m, Cat(self._accepted & (late_beat == n) for n in range(config.trit_beats)), "now")
        swaps = copies(m, self.swap, "swap", groups_of(config.cols))
        # -1 trits so far of the column that the last word cut
        running = Signal(range(config.rows + 1), reset_less=True)

        by_lanes = _count_by_lanes(m, self, now) if config.lane_loading else []
        per_word = trits_per_word(config)
        for column in range(config.cols):
            start, stop = column * config.rows, (column + 1) * config.rows
            first, last = start // per_word, (stop - 1) // per_word
            for number in range(first, last + 1):
                count = self._count(m, max(start - number * per_word, 0), min(stop - number * per_word, per_word))
                so_far = count if number == first else running + count
                if number < last:
                    with m.If(now[number]):
                        m.d.sync += running.eq(so_far)
            if last < config.trit_beats - 1:
                shadow = Signal.like(self.negatives[column], name=f"shadow{column}", reset_less=True)
                with m.If(now[last]):
                    m.d.sync += shadow.eq(so_far)
                so_far = shadow
            if config.lane_loading:
                so_far = Mux(self.by_lanes, by_lanes[column], so_far)
            swap = swaps[column // COLUMNS_PER_COPY]
            active = registered(
                m, so_far, f"active{column}", shape=self.negatives[column].shape(), enable=swap, reset_less=True
            )
            m.d.comb += self.negatives[column].eq(active)
        return m

    def _count(self, m: Module, low: int, high: int) -> Value:
        """-1 trits ``low`` to ``high`` of the latest word, two registers behind it."""
        if (low, high) in self._in_word:
            return self._in_word[low, high]
        size = _part_size(high - low)
        borders = [*range(low, high, size), high]
        parts = [self._part(m, *border) for border in pairwise(borders)]
        count = Signal(range(high - low + 1), name=f"count{low}_{high}", reset_less=True)
        with m.If(self._accepted):
            m.d.sync += count.eq(_sum(parts))
        self._in_word[low, high] = count
        return count

    def _few(self, m: Module, low: int, high: int) -> Value:
        """-1 trits ``low`` to ``high`` of the word that comes: a table, which synthesis does not spread into adders."""
        if (low, high) not in self._tables:
            here = Cat(self.negative[i] for i in range(low, high))
            count = Signal(range(high - low + 1), name=f"few{low}_{high}")
            with m.Switch(here):
                for value in range(1 << len(here)):
                    with m.Case(value):
                        m.d.comb += count.eq(value.bit_count())
            self._tables[low, high] = count
        return self._tables[low, high]

    def _part(self, m: Module, low: int, high: int) -> Value:
        """-1 trits ``low`` to ``high`` of the latest word, one register behind it."""
        if (low, high) not in self._parts:
            part = Signal(range(high - low + 1), name=f"part{low}_{high}", reset_less=True)
            m.d.sync += part.eq(_sum([self._few(m, i, min(i + _FEW, high)) for i in range(low, high, _FEW)]))
            self._parts[low, high] = part
        return self._parts[low, high]


def _part_size(trits: int) -> int:
    """Trits of a part, so that the first step adds as many tables as the second adds parts, or half as many."""
    size = _FEW
    while size * size < _FEW * trits:
        size *= 2
    return size


def _sum(values: list[Value]) -> Value:
    """A balanced tree of additions."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return _sum(values[:half]) + _sum(values[half:])


def _count_by_lanes(m: Module, counter: NegativesCounter, now: Value) -> list[Value]:
    """Per column, the -1 trits of the tile whose last word came: in time with ``NegativesCounter``'s third step.

    ``now``: a flag per word of a tile, of the one that was accepted two edges before. The steps are those of a tile
    that comes column by column: the bits of the word, the count of each column in it, the running sums. No word follows
    a tile's last one before the swap, so that the second step still holds its counts then.
    """
    config = counter.config
    last, per_word = config.trit_beats - 1, trits_per_word(config)
    padding = (1 << per_word) - (1 << config.lanes - last * per_word)  # places of the last word behind the tile
    within = ~(Const(padding, per_word) & (counter.beat == last).replicate(per_word))
    bits = registered(m, counter.negative.as_value() & within, "lane_bits", enable=counter.accept)
    phases = config.cols // gcd(config.cols, per_word)  # words until a lane starts in a word's place 0
    phase = Signal(range(max(2, phases)))  # of the word in ``bits``
    with m.If(counter.accept):
        m.d.sync += phase.eq(Mux((counter.beat == 0) | (phase == phases - 1), 0, phase + 1))
    totals = []
    for column in range(config.cols):
        count = Signal(range(config.rows + 1), name=f"lane_count{column}")
        for number in range(phases):
            with m.If(phase == number):
                m.d.sync += count.eq(_sum([bits[i] for i in _places(config, column, number)] or [Const(0, 1)]))
        total = Signal(range(config.rows + 1), name=f"lane_total{column}")
        running = Signal(range(config.rows + 1), name=f"lane_running{column}")
        m.d.comb += total.eq(Mux(now[0], 0, running) + count)
        with m.If(now[:last].any()):
            m.d.sync += running.eq(total)
        totals.append(total)
    return totals


def _places(config: ArrayConfig, column: int, phase: int) -> list[int]:
    """Places of a column's trits in a word that starts ``phase`` words behind the start of a lane."""
    per_word = trits_per_word(config)
    return [i for i in range(per_word) if (phase * per_word + i) % config.cols == column]
