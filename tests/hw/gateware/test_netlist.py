"""The netlist after synthesis: random GEMMs on a core of gates give the same results in the same cycles as its RTL.

Three times: Yosys' own gates, the hand-written library of the tests, and SKY130 where its Liberty file is.
"""

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.config import ArrayConfig
from hw.gates.flow.technology_mapping import Recipe
from hw.gateware.core import Core
from hw.verilog import CORE_NAME
from tests.hw.gateware.gate_level import generic_netlist, mapped_netlist
from tests.hw.gateware.random_gemms import check
from tests.hw.gateware.rtl import play_verilog, random_case

PLAIN = ArrayConfig(name="plain", rows=4, cols=3, chain_lanes=2, weight_bus_bits=16, token_tile=4, accumulator_bits=14)
OPTIONS = ArrayConfig(
    name="options", rows=3, cols=2, packing="5in8", weight_bus_bits=16, token_tile=2, accumulator_bits=14
).model_copy(update={"planes": 2, "group_exponent_bits": 1, "sum_of_x": True, "results": "int8"})


def design(config: ArrayConfig) -> str:
    return rtlil.convert(Core(config), name="top", emit_src=False)


def judge(config: ArrayConfig, netlist: str, folder) -> None:
    rng = np.random.default_rng(4)
    cases = [case for case in (random_case(rng, config, stalls=i % 3 != 0) for i in range(12)) if fits(config, case)]
    assert len(cases) > 8
    for case, record in zip(cases, play_verilog(netlist, config, cases, folder), strict=True):
        check(config, case, record)


def fits(config: ArrayConfig, case) -> bool:
    return case.k * case.formats.planes <= config.max_k


@pytest.mark.parametrize("config", [PLAIN, OPTIONS], ids=lambda config: config.name)
def test_a_core_of_gates_is_the_same_machine(config, tmp_path):
    netlist = generic_netlist(design(config), CORE_NAME)
    assert "always @(posedge" in netlist
    assert " + " not in netlist, "words are left"
    judge(config, netlist, tmp_path)


def test_a_core_of_the_tests_own_cells_is_the_same_machine(tiny, tmp_path):
    netlist = mapped_netlist(design(PLAIN), CORE_NAME, tiny, Recipe())
    assert "NAND2 " in netlist or "NAND " in netlist
    judge(PLAIN, netlist, tmp_path)


@pytest.mark.parametrize("config", [PLAIN, pytest.param(OPTIONS, marks=pytest.mark.slow)], ids=lambda c: c.name)
def test_a_core_of_sky130_cells_is_the_same_machine(config, sky130, tmp_path):
    netlist = mapped_netlist(design(config), CORE_NAME, sky130, Recipe(adder_cells=True, clock_gate=False))
    assert "sky130_fd_sc_hd__fa" in netlist
    judge(config, netlist, tmp_path)


def test_a_wrong_gate_is_seen(tmp_path):
    netlist = generic_netlist(design(PLAIN), CORE_NAME)
    wrong = netlist.replace(" ^ ", " | ", 1)
    assert wrong != netlist
    with pytest.raises(AssertionError):
        judge(PLAIN, wrong, tmp_path)
