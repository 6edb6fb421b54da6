"""The array: ``cols`` columns over one activation vector, with the vector's skew along the chains."""

from amaranth import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.adders import Cells
from hw.arithmetic.lane import ACTIVATION_BITS, TritCode
from hw.arithmetic.registers import delayed
from hw.config import ArrayConfig
from hw.gateware.column import Column
from hw.gateware.ports import negatives_layout, tile_layout, totals_layout, vector_layout

__all__ = ["Array"]


class Array(Component):
    """One vector per edge times the active tile; totals come ``1 + config.column_stages`` registers later.

    Members
    -------
    vector : ``rows`` activations, int8.
    issue : this edge accepts ``vector``.
    trits, negatives : the active tile, see ``WeightTiles``.
    totals : per column, the exact sum over the lanes.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "vector": In(vector_layout(config)),
                "issue": In(1),
                "trits": In(tile_layout(config)),
                "negatives": In(negatives_layout(config)),
                "totals": Out(totals_layout(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        """The vector register, one more register per chain position, and the columns."""
        m = Module()
        rows = self.config.rows
        skewed = []
        for lane in range(rows):
            x = Signal(ACTIVATION_BITS, name=f"x{lane}")
            with m.If(self.issue):
                m.d.sync += x.eq(self.vector[lane])
            skewed.append(delayed(m, x, lane % self.config.chain_lanes, f"x{lane}_"))
        totals = []
        for index in range(self.config.cols):
            m.submodules[f"column{index}"] = column = Column(self.config, self.cells)
            m.d.comb += [
                column.x.as_value().eq(Cat(skewed)),
                column.trits.as_value().eq(self.trits.as_value().word_select(index, rows * TritCode.size)),
                column.negatives.eq(self.negatives[index]),
            ]
            totals.append(column.total)
        m.d.comb += self.totals.as_value().eq(Cat(totals))
        return m
