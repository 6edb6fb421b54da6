"""Carry cells against their portable twins: equal for every input, by proof over Yosys' model of the vendor cell."""

import gc

import pytest
from amaranth.back import rtlil

from hw.cells import GatedAdder, TermAdder
from hw.config import load_array
from hw.errors import InputError
from hw.gates.yosys import run_yosys
from hw.verilog import core_verilog
from tests.hw.rtl import VENDOR_MODELS


def prove_equal(folder, gold, gate, spoil=("", "")) -> str:
    """Yosys' SAT proof that two combinational designs agree; ``spoil``: a text replaced in the second one."""
    (folder / "gold.il").write_text(rtlil.convert(gold, name="gold"))
    text = rtlil.convert(gate, name="gate")
    assert spoil[0] in text
    (folder / "gate.il").write_text(text.replace(*spoil))
    return run_yosys(
        [
            *(f"read_verilog {model}" for model in VENDOR_MODELS),
            "read_rtlil gate.il",
            "hierarchy -check -top gate",
            "proc",
            "flatten",
            "read_rtlil gold.il",
            "miter -equiv -flatten gold gate both",
            "sat -verify -prove trigger 0 both",
        ],
        folder,
    )


@pytest.mark.parametrize("adder", [TermAdder, GatedAdder])
@pytest.mark.parametrize("width", [9, 10, 13, 20])
def test_a_carry_chain_equals_its_twin_for_every_input(tmp_path, adder, width):
    assert "SAT proof finished - no model found: SUCCESS!" in prove_equal(tmp_path, adder(width), adder(width, "ecp5"))


@pytest.mark.parametrize(("adder", "table"), [(TermAdder, 0b0110100101011010), (GatedAdder, 0b0101101001011010)])
def test_the_proof_fails_for_another_table(tmp_path, adder, table):
    text = rtlil.convert(adder(10, "ecp5"), name="gate")
    init = text.split("\\INIT0 ")[1].split("\n")[0]
    with pytest.raises(RuntimeError, match="yosys failed"):
        prove_equal(tmp_path, adder(10), adder(10, "ecp5"), (f"\\INIT0 {init}", f"\\INIT0 16'{table:016b}"))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")  # refused, so never used
def test_unknown_cells_are_refused():
    with pytest.raises(InputError, match=r"^cells must be one of portable, ecp5, not 'sky'$"):
        core_verilog(load_array("2x2"), "sky")
    gc.collect()  # the warning comes with the destruction
