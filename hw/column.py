"""One output of the array: chains of lanes and a pipelined adder tree over them."""

from amaranth import Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import bits_for

from hw.cells import Cells, TermAdder
from hw.config import ArrayConfig
from hw.lane import TERM_RANGE, TritCode, term
from hw.ports import total_shape, vector_layout

__all__ = ["Column"]

Operand = tuple[Value, int, int]  # value with its smallest and largest number


class Column(Component):
    """``total = sum of t[i] * x[i]`` over ``rows`` lanes; latency ``config.column_stages`` registers, one sum per edge.

    Lane i stands at position ``i % chain_lanes`` of its chain and works that many edges behind the head: its ``x`` and
    ``trits`` must arrive that much later, which ``Array`` and ``WeightTiles`` see to.

    Members
    -------
    x : ``rows`` x 8 bits, two's complement.
    trits : ``rows`` x ``TritCode``.
    negatives : number of -1 trits of the column, in time with the chain heads.
    total : the exact sum, signed.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "x": In(vector_layout(config)),
                "trits": In(data.ArrayLayout(TritCode, config.rows)),
                "negatives": In(range(config.rows + 1)),
                "total": Out(total_shape(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Chains of registered additions, then a tree registered every ``adders_per_register`` levels."""
        m = Module()
        config = self.config
        heads = range(0, config.rows, config.chain_lanes)
        operands = [self._chain(m, head) for head in heads]
        for level in range(config.tree_levels):
            operands = _pairs(operands)
            if (level + 1) % config.adders_per_register == 0 or level + 1 == config.tree_levels:
                operands = [_registered(m, operand, f"level{level}_{i}") for i, operand in enumerate(operands)]
        m.d.comb += self.total.eq(operands[0][0])
        return m

    def _chain(self, m: Module, head: int) -> Operand:
        """Sum of the lanes from ``head`` on, ``chain_lanes`` registers after the head's operands."""
        lanes = min(self.config.chain_lanes, self.config.rows - head)
        partial: Operand = (self.negatives, 0, self.config.rows) if head == 0 else (Value.cast(0), 0, 0)
        for position in range(self.config.chain_lanes):
            if position < lanes:
                lane = head + position
                partial = self._add_lane(m, partial, lane)
            partial = _registered(m, partial, f"chain{head}_{position}")
        return partial

    def _add_lane(self, m: Module, partial: Operand, lane: int) -> Operand:
        """The partial sum of a chain with one more lane; a head without a partial sum is a mere selection."""
        value, low, high = partial
        if low == high == 0:
            return term(self.x[lane], self.trits[lane]), *TERM_RANGE
        low, high = low + TERM_RANGE[0], high + TERM_RANGE[1]
        m.submodules[f"lane{lane}"] = adder = TermAdder(_width(low, high), self.cells)
        m.d.comb += [adder.a.eq(value), adder.x.eq(self.x[lane]), adder.code.eq(self.trits[lane])]
        return adder.total, low, high


def _sum(a: Operand, b: Operand) -> Operand:
    """The sum of two operands."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _width(low: int, high: int) -> int:
    """Bits of a signed number from ``low`` to ``high``."""
    return max(bits_for(low, True), bits_for(high, True))


def _registered(m: Module, operand: Operand, name: str) -> Operand:
    """A register as wide as the operand's range asks for."""
    value, low, high = operand
    register = Signal(signed(_width(low, high)), name=name)
    m.d.sync += register.eq(value)
    return register, low, high


def _pairs(operands: list[Operand]) -> list[Operand]:
    """One level of the tree: neighbours added, an odd one passed on."""
    pairs = [_sum(a, b) for a, b in zip(operands[::2], operands[1::2], strict=False)]
    return pairs + operands[len(pairs) * 2 :]
