"""One output of the array: chains of lanes and a pipelined adder tree over them."""

from amaranth import Const, Module
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.adders import Cells, TermAdder
from hw.arithmetic.lane import TERM_RANGE, TritCode, term
from hw.arithmetic.operand import Operand
from hw.config import ArrayConfig
from hw.gateware.compressor_tree import compressor_tree
from hw.gateware.pair_tree import pair_tree
from hw.gateware.ports import total_shape, vector_layout

__all__ = ["Column"]

_TREES = {"lut6": pair_tree, "asic": compressor_tree}


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
        """Chains of registered additions, then a tree; without chains, the tree that LUT6 or ASIC cells ask for."""
        m = Module()
        config = self.config
        if self.cells in _TREES and config.chain_lanes == 1:
            m.d.comb += self.total.eq(_TREES[self.cells](m, config, self.x, self.trits, self.negatives))
            return m
        heads = range(0, config.rows, config.chain_lanes)
        operands = [self._chain(m, head) for head in heads]
        for level in range(config.tree_levels):
            operands = _pairs(operands)
            if (level + 1) % config.adders_per_register == 0 or level + 1 == config.tree_levels:
                operands = [operand.registered(m, f"level{level}_{i}") for i, operand in enumerate(operands)]
        m.d.comb += self.total.eq(operands[0].value)
        return m

    def _chain(self, m: Module, head: int) -> Operand:
        """Sum of the lanes from ``head`` on, ``chain_lanes`` registers after the head's operands."""
        lanes = min(self.config.chain_lanes, self.config.rows - head)
        partial = Operand(self.negatives, 0, self.config.rows) if head == 0 else Operand(Const(0, 1), 0, 0)
        for position in range(self.config.chain_lanes):
            if position < lanes:
                partial = self._add_lane(m, partial, head + position)
            partial = partial.registered(m, f"chain{head}_{position}")
        return partial

    def _add_lane(self, m: Module, partial: Operand, lane: int) -> Operand:
        """The partial sum of a chain with one more lane; a head without a partial sum is a mere selection."""
        if partial.low == partial.high == 0:
            return Operand(term(self.x[lane], self.trits[lane]), *TERM_RANGE)
        more = Operand(partial.value, partial.low + TERM_RANGE[0], partial.high + TERM_RANGE[1])
        m.submodules[f"lane{lane}"] = adder = TermAdder(more.width, self.cells)
        m.d.comb += [adder.a.eq(partial.value), adder.x.eq(self.x[lane]), adder.code.eq(self.trits[lane])]
        return more._replace(value=adder.total)


def _pairs(operands: list[Operand]) -> list[Operand]:
    """One level of the tree: neighbours added, an odd one passed on."""
    pairs = [a.plus(b) for a, b in zip(operands[::2], operands[1::2], strict=False)]
    return pairs + operands[len(pairs) * 2 :]
