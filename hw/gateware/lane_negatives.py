"""The number of -1 trits of each column while a tile streams in lane by lane: every word adds to many counts."""

from functools import reduce
from math import gcd
from operator import add
from typing import TYPE_CHECKING

from amaranth import Const, Module, Mux, Signal, Value

from hw.arithmetic.registers import registered
from hw.config import ArrayConfig
from hw.gateware.ports import trits_per_word

if TYPE_CHECKING:
    from hw.gateware.negatives import NegativesCounter

__all__ = ["count_by_lanes"]


def count_by_lanes(m: Module, counter: "NegativesCounter", accept: Value, beat: Value) -> list[Value]:
    """Per column, the -1 trits of the tile whose last word came: in time with ``NegativesCounter``'s third step.

    ``accept``, ``beat``: of the word that is two registers behind. The steps are those of a tile that comes column by
    column: the bits of the word, the count of each column in it, the running sums. No word follows a tile's last one
    before the swap, so that the second step still holds its counts then.
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
                m.d.sync += count.eq(_sum([bits[i] for i in _places(config, column, number)]))
        total = Signal(range(config.rows + 1), name=f"lane_total{column}")
        running = Signal(range(config.rows + 1), name=f"lane_running{column}")
        m.d.comb += total.eq(Mux(accept & (beat == 0), 0, running) + count)
        with m.If(accept & (beat != last)):
            m.d.sync += running.eq(total)
        totals.append(total)
    return totals


def _places(config: ArrayConfig, column: int, phase: int) -> list[int]:
    """Places of a column's trits in a word that starts ``phase`` words behind the start of a lane."""
    per_word = trits_per_word(config)
    return [i for i in range(per_word) if (phase * per_word + i) % config.cols == column]


def _sum(bits: list[Value]) -> Value:
    return reduce(add, bits) if bits else Const(0, 1)
