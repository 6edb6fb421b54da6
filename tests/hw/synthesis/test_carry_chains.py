"""Rewritten carry chains: the same function for every input, by proof, without the cells that nextpnr would add."""

import json

import pytest
from amaranth import Module, signed
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, In, Out

from hw.synthesis.carry_chains import shorten_chains
from hw.synthesis.yosys import run_yosys

MODELS = ["read_verilog +/lattice/ccu2c_sim.vh", "read_verilog -overwrite +/lattice/common_sim.vh"]


class Sums(Component):
    """Chains of odd and even width with carries in of 0 and 1, and one whose carry out is read."""

    def __init__(self):
        widths = {"a": 9, "b": 9, "c": 12, "d": 12}
        outputs = {"odd": 9, "even": 12, "less": 12, "below": 1, "wide": 13, "minus": 9}
        super().__init__({n: In(signed(w)) for n, w in widths.items()} | {n: Out(w) for n, w in outputs.items()})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += [
            self.odd.eq(self.a + self.b),
            self.even.eq(self.c + self.d),
            self.minus.eq(self.a - self.b),
            self.less.eq(self.c - self.d),
            self.below.eq(self.c < self.d),
            self.wide.eq(self.c.as_unsigned() + self.d.as_unsigned()),
        ]
        return m


def synthesized(folder) -> dict:
    (folder / "top.il").write_text(rtlil.convert(Sums(), name="top"))
    run_yosys(["read_rtlil top.il", "synth_ecp5 -noabc9 -top top", "write_json top.json"], folder)
    return json.loads((folder / "top.json").read_text())


def prove_equal(folder, netlist: dict) -> str:
    """Yosys' proof that ``netlist`` is what it was before; an open carry in is any value."""
    other = json.loads(json.dumps(netlist))
    for cell in cells(other):  # Yosys, unlike nextpnr, wants open outputs left out
        cell["connections"] = {n: b for n, b in cell["connections"].items() if b != ["x"] or n == "CIN"}
    for name, one in (("gold", json.loads((folder / "top.json").read_text())), ("gate", other)):
        (folder / f"{name}.json").write_text(json.dumps({"modules": {"top": one["modules"]["top"]}}))
    read = ["hierarchy -top top", "proc", "flatten", "rename top {0}", "design -stash {0}"]
    passes = []
    for name in ("gold", "gate"):
        passes += [*MODELS, f"read_json {name}.json", *(step.format(name) for step in read)]
    passes += [f"design -copy-from {name} -as {name} {name}" for name in ("gold", "gate")]
    passes += ["setundef -undriven -anyseq gate", "miter -equiv -flatten gold gate both"]
    return run_yosys([*passes, "sat -verify -prove trigger 0 both"], folder)


def cells(netlist: dict) -> list[dict]:
    return [cell for cell in netlist["modules"]["top"]["cells"].values() if cell["type"] == "CCU2C"]


def test_a_rewritten_chain_computes_the_same_for_every_input(tmp_path):
    netlist = synthesized(tmp_path)
    assert shorten_chains(netlist) >= 3
    assert "SAT proof finished - no model found: SUCCESS!" in prove_equal(tmp_path, netlist)


def test_the_proof_fails_for_a_wrong_carry(tmp_path):
    netlist = synthesized(tmp_path)
    shorten_chains(netlist)
    starts = [cell for cell in cells(netlist) if cell["connections"]["CIN"] == ["x"]]
    for cell in starts:
        cell["parameters"]["INIT0"] = f"{0xF ^ int(cell['parameters']['INIT0'], 2):016b}"
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove_equal(tmp_path, netlist)


def test_an_odd_chain_takes_no_more_cells_and_both_ends_are_open(tmp_path):
    netlist = synthesized(tmp_path)
    before = len(cells(netlist))
    chains = shorten_chains(netlist)
    after = cells(netlist)
    assert len(after) - before <= chains - 2  # at least ``odd`` and ``minus`` have a half to spare
    assert sum(cell["connections"]["CIN"] == ["x"] for cell in after) == chains
    assert all("COUT" in cell["connections"] for cell in after)  # nextpnr looks for it


def test_a_chain_whose_carry_is_no_constant_or_read_elsewhere_stays():
    ports = {name: ["0"] for name in ("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1")}
    directions = {name: "input" for name in (*ports, "CIN")} | dict.fromkeys(("S0", "S1", "COUT"), "output")
    parameters = {"INIT0": "0" * 16, "INIT1": "0" * 16, "INJECT1_0": "NO", "INJECT1_1": "NO"}
    cell = {"type": "CCU2C", "parameters": parameters, "port_directions": directions}
    fed = cell | {"connections": ports | {"CIN": [2], "S0": [3], "S1": [4], "COUT": [5]}}
    led_out = cell | {"connections": ports | {"CIN": ["0"], "S0": [6], "S1": [7], "COUT": [8]}}
    outputs = {name: {"bits": [bit]} for name, bit in (("s", 3), ("t", 6), ("carry", 8))}
    netlist = {"modules": {"top": {"ports": outputs, "cells": {"fed": fed, "led_out": led_out}}}}
    kept = json.loads(json.dumps(netlist))
    assert shorten_chains(netlist) == 0
    assert netlist == kept
