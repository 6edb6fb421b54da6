"""Wires: Donath's mean length against his sum over levels, clock wires by hand, and what they add to a netlist."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("amaranth")

from hw.gates.wires import _distribution, clock_wire_f, donath_pitches


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
