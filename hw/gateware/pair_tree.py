"""The sum of a column made of LUT6: lanes added in pairs where they are selected, then three operands at a time."""

from functools import reduce

from amaranth import Module, Value
from amaranth.lib.data import View

from hw.arithmetic.adders import PairAdder, TermAdder, TripleAdder
from hw.arithmetic.lane import TERM_RANGE
from hw.arithmetic.operand import Operand
from hw.config import ArrayConfig
from hw.division import ceil_divide

__all__ = ["pair_tree"]


def pair_tree(m: Module, config: ArrayConfig, x: View, trits: View, negatives: Value) -> Value:
    """The exact sum of a column without chains, ``config.column_stages`` registers after its operands.

    The first register stands behind the pairs; the others are spread over the levels, and those that are left, because
    three at a time need fewer levels than two, follow the root.
    """
    operands = [operand.registered(m, f"pair{i}") for i, operand in enumerate(_pairs(m, config, x, trits, negatives))]
    levels, left = _levels(len(operands)), config.column_stages - 1
    spread = min(levels, left)
    for level in range(levels):
        operands = _triples(m, operands, f"level{level}")
        if (level + 1) * spread // levels > level * spread // levels:
            operands = [operand.registered(m, f"sum{level}_{i}") for i, operand in enumerate(operands)]
    (root,) = operands
    for stage in range(left - spread):
        root = root.registered(m, f"root{stage}")
    return root.value


def _pairs(m: Module, config: ArrayConfig, x: View, trits: View, negatives: Value) -> list[Operand]:
    """Two lanes each; the number of -1 trits is an operand of its own, or is added by a last, single lane."""
    low, high = TERM_RANGE
    pairs = []
    for lane in range(0, config.rows - 1, 2):
        m.submodules[f"pair{lane}"] = adder = PairAdder("lut6")
        m.d.comb += [adder.x[i].eq(x[lane + i]) for i in range(2)]
        m.d.comb += [adder.codes[i].eq(trits[lane + i]) for i in range(2)]
        pairs.append(Operand(adder.total, 2 * low, 2 * high))
    count = Operand(negatives, 0, config.rows)
    if config.rows % 2:
        count = Operand(negatives, low, config.rows + high)
        m.submodules.single = adder = TermAdder(count.width, "lut6")
        m.d.comb += [adder.a.eq(negatives), adder.x.eq(x[config.rows - 1]), adder.code.eq(trits[config.rows - 1])]
        count = count._replace(value=adder.total)
    return [*pairs, count]


def _levels(operands: int) -> int:
    """Levels of additions of three that leave one operand."""
    levels = 0
    while operands > 1:
        operands, levels = ceil_divide(operands, 3), levels + 1
    return levels


def _triples(m: Module, operands: list[Operand], name: str) -> list[Operand]:
    """One level: each three operands added; a rest of two added, a single one passed on."""
    sums = []
    for first in range(0, len(operands), 3):
        some = operands[first : first + 3]
        total = reduce(Operand.plus, some)
        if len(some) == 3:
            m.submodules[f"{name}_{first}"] = adder = TripleAdder(total.width, "lut6")
            m.d.comb += [
                port.eq(operand.value) for port, operand in zip((adder.a, adder.b, adder.c), some, strict=True)
            ]
            total = total._replace(value=adder.total)
        sums.append(total)
    return sums
