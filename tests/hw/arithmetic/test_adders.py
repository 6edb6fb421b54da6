"""Carry cells against their portable twins: equal for every input, by proof over Yosys' model of the vendor cell."""

import gc

import pytest
from amaranth import Module
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.adders import EitherAdder, GatedAdder, PairAdder, TermAdder, TripleAdder
from hw.config import load_array
from hw.errors import InputError
from hw.synthesis.yosys import run_yosys
from hw.verilog import core_verilog
from tests.hw.gateware.rtl import VENDOR_MODELS


class Legal(Component):
    """A pair of lanes that never meets the code 10, of which nothing is promised."""

    def __init__(self, adder: PairAdder):
        self.adder = adder
        super().__init__({"x": In(16), "nonzero": In(2), "negative": In(2), "total": Out(9)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.adder = adder = self.adder
        m.d.comb += [adder.x.as_value().eq(self.x), self.total.eq(adder.total)]
        for code, nonzero, negative in zip(adder.codes, self.nonzero, self.negative, strict=True):
            m.d.comb += [code.nonzero.eq(nonzero), code.negative.eq(nonzero & negative)]
        return m


def legal(adder: Component) -> Component:
    """The adder, behind legal codes where it needs them."""
    return Legal(adder) if isinstance(adder, PairAdder) else adder


def prove_equal(folder, gold, gate, cells, spoil=("", "")) -> str:
    """Yosys' SAT proof that two combinational designs agree; ``spoil``: a text replaced in the second one."""
    (folder / "gold.il").write_text(rtlil.convert(gold, name="gold"))
    text = rtlil.convert(gate, name="gate")
    assert spoil[0] in text
    (folder / "gate.il").write_text(text.replace(*spoil))
    return run_yosys(
        [
            *("read_rtlil gold.il", "hierarchy -check -top gold", "proc", "flatten", "design -stash gold"),
            *(f"read_verilog {model}" for model in VENDOR_MODELS[cells]),
            *("read_rtlil gate.il", "hierarchy -check -top gate", "proc", "flatten"),
            "design -copy-from gold -as gold gold",
            "miter -equiv -flatten gold gate both",
            "sat -verify -prove trigger 0 both",
        ],
        folder,
    )


ADDERS = [
    *(
        (adder, cells, (width,))
        for adder in (TermAdder, GatedAdder, EitherAdder)
        for cells in ("ecp5", "lut6")
        for width in (9, 10, 13, 20)
    ),
    (PairAdder, "lut6", ()),
    *((TripleAdder, "lut6", (width,)) for width in (9, 12, 14)),
]


@pytest.mark.parametrize(("adder", "cells", "width"), ADDERS)
def test_a_carry_chain_equals_its_twin_for_every_input(tmp_path, adder, cells, width):
    log = prove_equal(tmp_path, legal(adder(*width)), legal(adder(*width, cells)), cells)
    assert "SAT proof finished - no model found: SUCCESS!" in log


@pytest.mark.parametrize(
    ("adder", "table"),
    [(TermAdder, 0b0110100101011010), (GatedAdder, 0b0101101001011010), (EitherAdder, 0b0110011010101010)],
)
def test_the_proof_fails_for_another_table(tmp_path, adder, table):
    text = rtlil.convert(adder(10, "ecp5"), name="gate")
    init = text.split("\\INIT0 ")[1].split("\n")[0]
    with pytest.raises(RuntimeError, match="yosys failed"):
        prove_equal(tmp_path, adder(10), adder(10, "ecp5"), "ecp5", (f"\\INIT0 {init}", f"\\INIT0 16'{table:016b}"))


@pytest.mark.parametrize("adder", [PairAdder, lambda cells="portable": TripleAdder(9, cells)])
def test_the_proof_fails_for_another_lut(tmp_path, adder):
    text = rtlil.convert(legal(adder("lut6")), name="gate")
    init = text.split("\\INIT ")[1].split("\n")[0]
    other = init[:-1] + str(1 - int(init[-1]))
    with pytest.raises(RuntimeError, match="yosys failed"):
        prove_equal(tmp_path, legal(adder()), legal(adder("lut6")), "lut6", (f"\\INIT {init}", f"\\INIT {other}"))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")  # refused, so never used
def test_unknown_cells_are_refused():
    with pytest.raises(InputError, match=r"^cells must be one of portable, ecp5, lut6, asic, not 'sky'$"):
        core_verilog(load_array("2x2"), "sky")
    gc.collect()  # the warning comes with the destruction
