"""Column totals times the weight of their digit plane, 3**p, in gated additions before the accumulator.

    times 3   y = x + 2x   for planes 1, 3
    times 9   y = x + 8x   for planes 2, 3, 4
    times 9   y = x + 8x   for plane 4

Digits of a balanced-ternary number enter as ternary planes; Horner's ``3 * acc + sum`` would need no plane numbers, but
a carry chain more in the accumulator's read-add-write loop.
"""

from amaranth import Cat, Const, Module, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.adders import Cells, GatedAdder
from hw.arithmetic.registers import delayed, registered
from hw.config import ArrayConfig
from hw.formats import DIGIT_STAGES
from hw.gateware.ports import plane_shape, totals_layout, weighted_layout

__all__ = ["PlaneWeight"]


class PlaneWeight(Component):
    """``weighted = total * 3**plane`` for every column; latency ``config.digit_stages`` registers behind the array.

    Members
    -------
    plane : number of the plane that the vector issued on this edge meets.
    digits : planes weigh 3**p, not 1; constant during a GEMM.
    totals : from the array, ``1 + config.array_stages`` edges after their issue.
    weighted : ``config.digit_stages`` edges later.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "plane": In(plane_shape(config)),
                "digits": In(1),
                "totals": In(totals_layout(config)),
                "weighted": Out(weighted_layout(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        """The plane's number travels beside its totals; each stage ends in a register."""
        m = Module()
        config = self.config
        plane = delayed(m, self.plane, 1 + config.array_stages, "plane")
        values: list[Value] = list(self.totals)
        for number, (stage, width) in enumerate(zip(DIGIT_STAGES, config.digit_adder_bits, strict=False)):
            gate = self.digits & Cat(plane == one for one in stage.planes if one < config.planes).any()
            for column, value in enumerate(values):
                m.submodules[f"adder{number}_{column}"] = adder = GatedAdder(width, self.cells)
                shifted = Cat(Const(0, stage.shift), value).as_signed()
                m.d.comb += [adder.a.eq(shifted), adder.b.eq(value), adder.restart.eq(~gate)]
                name = f"weighted{number}_{column}"
                values[column] = registered(m, adder.total, name, shape=signed(width), reset_less=True)
            plane = registered(m, plane, f"plane_of_stage{number}")
        m.d.comb += [weighted.eq(value) for weighted, value in zip(self.weighted, values, strict=True)]
        return m
