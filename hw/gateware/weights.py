"""Double-buffered weight tiles: unpacked words fill the shadow tile while the active tile works."""

from itertools import groupby

from amaranth import Cat, Module, Mux, Value
from amaranth.lib.data import View
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import COLUMNS_PER_COPY, COPY, copies, delayed, groups_of, registered
from hw.config import ArrayConfig
from hw.gateware.negatives import NegativesCounter
from hw.gateware.ports import beat_shape, negatives_layout, number_by_lanes, tile_layout, trits_per_word
from hw.gateware.unpack import Unpacker

__all__ = ["WeightTiles"]


class WeightTiles(Component):
    """Shadow and active tile, one edge behind the loader's and the swap's control.

    A word is unpacked into a register on the edge that accepts it and enters the shadow tile on the next; a swap moves
    shadow to active on the edge after its control edge. Lanes at position p of their chain do both p edges later, and
    all of them ``config.spread_stages`` edges later still, like the vectors.

    Members
    -------
    word : the weight stream's payload.
    accept : this edge accepts ``word``.
    beat : its number inside the tile.
    swap : this edge swaps.
    trits : the active tile, ``TritCode`` number ``c * rows + r``.
    negatives : tree: number of -1 trits of each column, in time with the chain heads.
    by_lanes : arrays with ``lane_loading``: tiles come lane by lane, trit ``(c, r)`` as number ``r * cols + c``.
    illegal : an accepted word held an illegal code, known two edges after it, and as many as its way to the columns
        takes; stays until ``clear``.
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
                "illegal": Out(1),
            }
            | ({"negatives": Out(negatives_layout(config))} if config.structure.counts_negatives else {})
            | ({"by_lanes": In(1)} if config.lane_loading else {})
        )

    def elaborate(self, platform) -> Module:
        """Word register, its delayed copies for later chain positions, shadow, active, and the counter of -1 trits."""
        m = Module()
        config = self.config
        m.submodules.unpacker = unpacker = Unpacker(config)
        groups, spread = groups_of(config.cols), config.spread_stages
        m.d.comb += unpacker.word.eq(delayed(m, self.word, spread, "spread_word", reset_less=True))
        came = unpacker.trits
        accept = delayed(m, self.accept, spread, "spread_accept")
        beat = delayed(m, self.beat, spread, "spread_beat", reset_less=True)
        swap = delayed(m, self.swap, spread, "spread_swap")
        # whether a word is accepted is decided late: it meets its number and what was found in it an edge later
        accepted = copies(m, accept, "accepted", 1 if spread else groups)
        suspect = registered(m, unpacker.illegal, "suspect")
        with m.If(registered(m, suspect.any() & accepted[0], "bad")):
            m.d.sync += self.illegal.eq(1)
        with m.Elif(self.clear):
            m.d.sync += self.illegal.eq(0)

        per_word = trits_per_word(config)
        of_word = Cat(beat == number for number in range(config.trit_beats))
        if spread:
            accepted = [accept] * groups
        else:
            of_word = registered(m, of_word, "of_word")
        words, swaps = [came] * groups, [swap] * groups
        here: dict[tuple[int, int], Value] = {}  # an accepted word of that number, for that group of columns
        trits: dict[int, Value] = {}
        for position in range(config.chain_lanes):
            # on every edge: what is not accepted enters no tile
            words = _later(m, words, f"word{position}", reset_less=True)
            swaps = _later(m, swaps, f"swap{position}")
            here = self._here(m, position, here, of_word, accepted)
            lanes = [i for i in range(config.lanes) if i % config.rows % config.chain_lanes == position]
            if config.lane_loading:
                trits |= self._load_both_ways(m, position, lanes, words, here, swaps)
                continue
            for (number, apart), group in groupby(lanes, key=lambda i: (i // per_word, self._group(i))):
                mine = list(group)
                arriving = Cat(words[apart][i % per_word] for i in mine)
                name = f"{position}_{number}_{apart}"
                shadow = registered(m, arriving, f"shadow{name}", enable=here[number, apart], reset_less=True)
                active = registered(m, shadow, f"active{name}", enable=swaps[apart], reset_less=True)
                trits.update((i, active.word_select(place, 2)) for place, i in enumerate(mine))
        m.d.comb += self.trits.as_value().eq(Cat(trits[i] for i in range(config.lanes)))
        if config.structure.counts_negatives:
            self._count_negatives(m, Cat(trit.negative for trit in came), accept, beat, swap)
        return m

    def _here(
        self, m: Module, position: int, here: dict[tuple[int, int], Value], of_word: Value, accepted: list[Value]
    ) -> dict[tuple[int, int], Value]:
        """Flags of the words that enter at ``position``, out of those of the position before.

        At the first, number and acceptance meet behind registers, or before them where they come on their way.
        """
        if position:
            return self._registers_of(m, position, here)
        per_word = trits_per_word(self.config)
        pairs = {(i // per_word, self._group(i)) for i in range(self.config.lanes)}
        if self.config.lane_loading:
            pairs |= {(number_by_lanes(self.config, i) // per_word, self._group(i)) for i in range(self.config.lanes)}
        flags = {(number, apart): of_word[number] & accepted[apart] for number, apart in sorted(pairs)}
        return self._registers_of(m, 0, flags) if self.config.spread_stages else flags

    @staticmethod
    def _registers_of(m: Module, position: int, flags: dict[tuple[int, int], Value]) -> dict[tuple[int, int], Value]:
        return {
            (number, apart): registered(m, flag, f"here{position}_{number}{COPY}{apart}", reset_less=True)
            for (number, apart), flag in flags.items()
        }

    def _load_both_ways(
        self,
        m: Module,
        position: int,
        lanes: list[int],
        words: list[View],
        here: dict[tuple[int, int], Value],
        swaps: list[Value],
    ) -> dict[int, Value]:
        """Shadow and active trits of ``lanes``, out of the place and the beat that either order gives them."""
        per_word = trits_per_word(self.config)
        both = {i: (divmod(i, per_word), divmod(number_by_lanes(self.config, i), per_word)) for i in lanes}
        groups: dict[tuple[int, int, int], list[int]] = {}
        for i, ((by_columns, _), (by_lanes, _)) in both.items():
            groups.setdefault((by_columns, by_lanes, self._group(i)), []).append(i)
        trits: dict[int, Value] = {}
        for (by_columns, by_lanes, apart), mine in groups.items():
            name = f"{position}_{by_columns}_{by_lanes}_{apart}"
            columns, rows = (Cat(words[apart][both[i][order][1]] for i in mine) for order in (0, 1))
            mine_now = Mux(self.by_lanes, here[by_lanes, apart], here[by_columns, apart])
            arriving = Mux(self.by_lanes, rows, columns)
            shadow = registered(m, arriving, f"shadow{name}", enable=mine_now, reset_less=True)
            active = registered(m, shadow, f"active{name}", enable=swaps[apart], reset_less=True)
            trits.update((i, active.word_select(place, 2)) for place, i in enumerate(mine))
        return trits

    def _group(self, lane: int) -> int:
        """Number of the group of columns that lies apart from others, see ``COLUMNS_PER_COPY``."""
        return lane // self.config.rows // COLUMNS_PER_COPY

    def _count_negatives(self, m: Module, negative: Value, accept: Value, beat: Value, swap: Value) -> None:
        """The counter of -1 trits; elements of a grid add a negation's missing 1 themselves."""
        m.submodules.counter = counter = NegativesCounter(self.config)
        m.d.comb += [
            counter.negative.as_value().eq(negative),
            counter.accept.eq(accept),
            counter.beat.eq(beat),
            counter.swap.eq(swap),
            self.negatives.eq(counter.negatives),
        ]
        if self.config.lane_loading:
            m.d.comb += counter.by_lanes.eq(self.by_lanes)


def _later(m: Module, values: list[Value | View], name: str, reset_less: bool = False) -> list[Value | View]:
    """What every group of columns has, one edge later; what is still one for all gets a register of each group.

    ``reset_less``: of the registers behind those.
    """
    if all(value is values[0] for value in values):
        return copies(m, values[0], name, len(values))
    return [registered(m, value, f"{name}_{group}", reset_less=reset_less) for group, value in enumerate(values)]
