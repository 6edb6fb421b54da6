"""Wires: Donath's mean length against his sum over levels, clock wires by hand, and what they add to a netlist."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("amaranth")

from hw.gates import wires
from hw.gates.designs.candidates import Design
from hw.gates.measure import SUM_LENGTH
from hw.gates.table import STANDARD_ZEROS
from hw.gates.wires import Ends, _distribution, clock_wire_f, donath_pitches


def summed(cells, p, levels):
    """Donath's sum over the levels of a hierarchy of four blocks each: connections of a level times their length."""
    total, connections = 0.0, 0.0
    for level in range(levels):
        side = 2.0**level  # of a block of this level, in pitches
        length = 2 / 9 * (7 * side - 1 / side)
        weight = (1 - 4 ** (p - 1)) * 4.0 ** (level * (p - 1)) / (1 - cells ** (p - 1))
        total, connections = total + weight * length, connections + weight
    assert connections == pytest.approx(1)
    return total


@pytest.mark.parametrize("rent", [0.4, 0.5, 0.6, 0.75])
@pytest.mark.parametrize("levels", [1, 3, 6])
def test_the_closed_form_is_the_sum_over_levels(rent, levels):
    assert donath_pitches(4**levels, rent) == pytest.approx(summed(4**levels, rent, levels))


def test_lengths_grow_with_cells_and_with_the_rent_exponent():
    assert donath_pitches(10_000, 0.5) < donath_pitches(10_000, 0.6) < donath_pitches(10_000, 0.75)
    assert donath_pitches(1000, 0.6) < donath_pitches(10_000, 0.6)


def test_a_clock_wire_is_a_flip_flops_part_of_a_steiner_tree():
    """100 flip-flops in 75 um2 of cells: a block of 100 um2, so 0.76 um each, at 0.2 fF per um."""
    assert clock_wire_f(100, 75.0) == pytest.approx(0.76 * 1.0 * 0.2e-15)
    assert np.isclose(clock_wire_f(25, 75.0), 2 * clock_wire_f(100, 75.0))


def test_the_clocks_distribution_is_its_wires_and_two_levels_of_buffers_over_the_energy_of_its_pins():
    """Flip-flops of 3 and 5 fF at 2 V, clocked in two cycles and one; a buffer drives 12, 5 or 3 of them."""
    flops = [
        SimpleNamespace(
            cell=SimpleNamespace(flip_flop=SimpleNamespace(clock="CK"), pins={"CK": SimpleNamespace(capacitance=c)})
        )
        for c in (3e-15, 5e-15)
    ]
    netlist = SimpleNamespace(library=SimpleNamespace(voltage=2.0), flip_flops=flops, area=75.0)
    activity = SimpleNamespace(clock_rise=np.array([[1, 0, 1], [0, 1, 0]]), clock_fall=np.array([[1, 1, 0], [0, 0, 1]]))
    wire = clock_wire_f(2, 75.0)
    wires = pins = 0.0
    for cycles, capacitance in ((2, 3e-15), (1, 5e-15)):  # both edges of a cycle charge and discharge once
        wires += cycles * wire * 2.0**2
        pins += cycles * capacitance * 2.0**2
    clock_j = 4e-14
    for share, fan_out in zip(_distribution(netlist, activity, clock_j), (12, 5, 3), strict=True):
        assert share == pytest.approx((wires + 2 * (pins + wires) / (fan_out - 1)) / clock_j)


@pytest.mark.parametrize(
    ("design", "run"), [(Design("tree", "ternary", 24, 16, 4), SUM_LENGTH), (Design("lane", "fp16-fp32", 20), 1)]
)
def test_shares_are_what_lengths_of_wires_add_to_the_energy_without_them(monkeypatch, design, run):
    """A netlist of 400 cells on 12 um2, pitch 0.2 um; logic takes 3 J more per fF of a wire, beside 5 J in all."""
    asked = {}
    netlist = SimpleNamespace(cells=400, area=12.0, inputs=["x"], flip_flops=[None] * 9, library="library")
    bench = SimpleNamespace(inputs={"x": np.zeros((4, 1), int)}, latency=7)
    candidate = SimpleNamespace(label="wanted", build=lambda: "component", rtlil=str, recipe=())

    def operands(kind, cycles, length, rows, cols, zeros):
        asked["operands"] = (kind, cycles, length, rows, cols, zeros)
        return "operands"

    def simulated(given, wire_f, stimulus, warm_up):
        asked["warm up"] = warm_up
        return wire_f

    for name, fake in {
        "candidates": lambda *_: [SimpleNamespace(label="other"), candidate],
        "mapped_module": lambda *_: "module",
        "netlist_of": lambda *_: netlist,
        "synthetic": operands,
        "array_bench": lambda *_: bench,
        "lane_bench": lambda *_: bench,
        "analyse": lambda given, wire_f: wire_f,
        "simulate": simulated,
        "energy": lambda given, wire_f, activity: SimpleNamespace(logic=4.0 + 3e15 * wire_f, registers=1.0, clock=2.0),
        "_distribution": lambda given, activity, clock: Ends(activity, clock, 3.0),
    }.items():
        monkeypatch.setattr(wires, name, fake)
    row = wires._measure(design, "wanted", "library", None)
    lengths = [donath_pitches(400, rent) * 0.2 for rent in (0.5, 0.6, 0.75)]
    assert list(row["net_um"].values()) == pytest.approx(lengths)
    assert list(row["wires_share"].values()) == pytest.approx([3 * length * 0.2 / 5 for length in lengths])
    assert list(row["clock_share"].values()) == [0.0, 2.0, 3.0]  # activity and clock pins without wires
    assert (row["cells"], row["flip_flops"], row["area_um2"]) == (400, 9, 12.0)
    assert asked["operands"][2:] == (run, design.rows, design.cols, STANDARD_ZEROS)
    assert asked["warm up"] == SUM_LENGTH + 7
