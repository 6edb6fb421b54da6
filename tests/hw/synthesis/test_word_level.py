"""No multiplier: proved on the word-level netlist, where one would still be visible."""

import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from hw.__main__ import main
from hw.config import ArrayConfig
from hw.synthesis import word_level
from hw.synthesis.word_level import prove_multiplier_free, word_level_cells


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
    proof = prove_multiplier_free(config)
    assert proof.adders >= config.lanes - cols  # the array is really in there
    assert proof.multipliers == 0


def test_digits_are_weighted_without_a_multiplier():
    config = ArrayConfig(name="t", rows=4, cols=3, planes=5, digits=True, lane_loading=True)
    proof = prove_multiplier_free(config)
    plain = prove_multiplier_free(ArrayConfig(name="t", rows=4, cols=3))
    assert proof.multipliers == 0
    assert proof.adders >= plain.adders + 3 * config.cols  # times 3, times 9, times 9 in every column


@pytest.mark.parametrize(("sum_of_x", "multipliers"), [(False, 3), (True, 6)])
def test_int8_results_take_a_multiplier_per_column_and_scale_and_no_other(sum_of_x, multipliers):
    config = ArrayConfig(name="t", rows=4, cols=3, results="int8", sum_of_x=sum_of_x)
    proof = prove_multiplier_free(config)
    assert (proof.multipliers, proof.in_requantizers) == (multipliers, multipliers)


def test_a_core_that_multiplies_is_refused(monkeypatch):
    monkeypatch.setattr(word_level, "Core", lambda config: Multiplier())
    with pytest.raises(RuntimeError, match=r"^t: the core must hold 0 multipliers, not 1$"):
        prove_multiplier_free(ArrayConfig(name="t", rows=1, cols=1))


def test_the_command_shows_the_proof(tmp_path, capsys):
    main(["verilog", "--array", "2x3", "--out", str(tmp_path), "--check"])
    assert "no weight is multiplied: " in capsys.readouterr().out
    main(["verilog", "--array", "2x3", "--out", str(tmp_path), "--check", "--json"])
    assert json.loads(capsys.readouterr().out)["check"]["multipliers"] == 0
