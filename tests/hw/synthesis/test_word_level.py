"""No multiplier: proved on the word-level netlist, where one would still be visible."""

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from hw.config import ArrayConfig
from hw.synthesis.word_level import MULTIPLIERS, word_level_cells
from hw.verilog import core_rtlil


class Multiplier(Component):
    x: In(8)
    w: In(8)
    y: Out(16)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(self.x * self.w)
        return m


def test_the_check_sees_a_multiplication():
    assert word_level_cells(rtlil.convert(Multiplier()))["$mul"] == 1


def test_the_check_refuses_a_net_with_two_drivers():
    cell = "cell $not $n{0}\n parameter \\A_SIGNED 0\n parameter \\A_WIDTH 1\n parameter \\Y_WIDTH 1\n"
    cell += "connect \\A \\a [{0}]\n connect \\Y \\y\n end\n"
    two = f"module \\top\n wire width 2 input 1 \\a\n wire output 2 \\y\n {cell.format(0)} {cell.format(1)} end\n"
    with pytest.raises(RuntimeError, match="problems"):
        word_level_cells(two)


@pytest.mark.parametrize(
    ("rows", "cols", "packing", "chain"),
    [(1, 1, "2bit", 1), (3, 5, "5in8", 1), (8, 8, "2bit", 1), (16, 4, "2bit", 4), (16, 16, "2bit", 1)],
)
def test_no_array_multiplies_or_divides(rows, cols, packing, chain):
    config = ArrayConfig(name="t", rows=rows, cols=cols, packing=packing, chain_lanes=chain)
    cells = word_level_cells(core_rtlil(config))
    assert cells["$add"] >= config.lanes - cols  # the array is really in there
    assert not set(cells) & set(MULTIPLIERS)
