"""The array: ``cols`` columns over one activation vector, with the vector's skew along the chains."""

from amaranth import Cat, Module, Value
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.adders import Cells
from hw.arithmetic.lane import TritCode
from hw.arithmetic.registers import COLUMNS_PER_COPY, COPY, copies, delayed, groups_of
from hw.config import ArrayConfig
from hw.gateware.column import Column
from hw.gateware.ports import negatives_layout, tile_layout, totals_layout, vector_layout

__all__ = ["Array"]


class Array(Component):
    """One vector per edge times the active tile; totals come ``1 + config.array_stages`` registers later.

    Members
    -------
    vector : ``rows`` activations, int8; what comes of it is a total where this edge issues it, and ignored else.
    trits, negatives : the active tile, see ``WeightTiles``.
    totals : per column, the exact sum over the lanes.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "vector": In(vector_layout(config)),
                "trits": In(tile_layout(config)),
                "negatives": In(negatives_layout(config)),
                "totals": Out(totals_layout(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        """The vector's registers, one more per chain position, and the columns.

        Each group of columns has its own copy of all these registers, because the groups lie apart on a chip. They take
        what the stream shows on every edge, an issue or not: a valid vector stands still until it is issued, and an
        enable would be a net from the control, which decides late, to every lane.
        """
        m = Module()
        rows = self.config.rows
        groups = groups_of(self.config.cols)
        skewed: list[list[Value]] = [[] for _ in range(groups)]
        for lane in range(rows):
            near = delayed(m, self.vector[lane], self.config.spread_stages, f"spread_x{lane}_", reset_less=True)
            heads = copies(m, near, f"x{lane}", groups)
            for group, head in enumerate(heads):
                name = f"x{lane}_" if groups == 1 else f"x{lane}{COPY}{group}_"
                skewed[group].append(delayed(m, head, lane % self.config.chain_lanes, name, reset_less=True))
        totals = []
        for index in range(self.config.cols):
            m.submodules[f"column{index}"] = column = Column(self.config, self.cells)
            m.d.comb += [
                column.x.as_value().eq(Cat(skewed[index // COLUMNS_PER_COPY])),
                column.trits.as_value().eq(self.trits.as_value().word_select(index, rows * TritCode.size)),
                column.negatives.eq(self.negatives[index]),
            ]
            totals.append(column.total)
        m.d.comb += self.totals.as_value().eq(Cat(totals))
        return m
