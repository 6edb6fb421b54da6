"""Timing, simulation and energy of circuits small enough to work out by hand."""

from functools import partial

import numpy as np
import pytest

from hw.errors import InputError
from hw.gates.flow.event_simulation import simulate
from hw.gates.flow.netlist import FlipFlop, Gate, Netlist
from hw.gates.flow.power import energy
from hw.gates.flow.timing import analyse

# The default absolute tolerance, 1e-12, is larger than a femtojoule.
close = partial(pytest.approx, rel=1e-6, abs=0)

INV, NAND, BUF = 0b01, 0b0111, 0b10
FJ = 1e-15


def gate(library, name, inputs, output):
    truth = {"INV": INV, "NAND2": NAND, "BUF_4": BUF}[name]
    return Gate(library.cells[name], "Y", truth, inputs, output, True)


def toggler(library):
    """A flip-flop (net 2) whose inverse (net 3) is its next state."""
    flop = FlipFlop(library.cells["DFF"], "D", "Q", 3, 2, False, None)
    return Netlist(4, [gate(library, "INV", [2], 3)], [flop], [], {}, {"q": [2]}, library)


def test_critical_path_of_a_toggling_register(tiny):
    timing = analyse(toggler(tiny))
    # clock to Q 0.30 + 10 x 0.001 (load: INV); INV falling 0.08 + 10 x 0.001 (load: D), setup of a falling D 0.06,
    # against rising 0.10 + 0.01 and 0.05: the rising path is longer.
    assert timing.critical == close((0.31 + 0.11 + 0.05) * 1e-9)
    assert timing.path == ["DFF", "INV"]


def test_energy_of_a_toggling_register(tiny):
    netlist = toggler(tiny)
    timing = analyse(netlist)
    activity = simulate(netlist, timing, np.zeros((12, 0), dtype=np.uint8), warm_up=2)
    assert activity.samples[:, 0].tolist() == [1, 0] * 6
    result = energy(netlist, timing, activity)
    # Ten cycles, five rises and five falls of each net; 1/2 C V^2 = 0.5 fJ for a load of 1 fF.
    assert result.logic == close((10 * 0.5 + 5 * 2 + 5 * 1) * FJ)  # INV: load D, internal rise 2, fall 1
    assert result.registers == close((10 * 0.5 + 5 * 4 + 5 * 2 + 5 * 0.5 + 5 * 0.7) * FJ)  # Q and D pin
    assert result.clock == close(10 * (2 * 0.5 * 2 + 3 + 1) * FJ)  # both edges of 2 fF, internal 3 + 1
    assert result.leakage_w == close(6e-9)
    assert netlist.area == 6


def delayed_and(library, delay_buffers):
    """y = nand(a, not(a) late): a rising ``a`` makes a low pulse as wide as the late path is long."""
    chain = [gate(library, "INV", [2], 3)]
    chain += [gate(library, "BUF_4", [3 + i], 4 + i) for i in range(delay_buffers)]
    last = 3 + delay_buffers
    return Netlist(
        last + 2, [*chain, gate(library, "NAND2", [2, last], last + 1)], [], [], {"a": [2]}, {"y": [last + 1]}, library
    )


def test_a_wide_pulse_is_counted_and_a_narrow_one_filtered(tiny):
    stimulus = np.array([[0], [1], [0], [1]], dtype=np.uint8)
    wide = delayed_and(tiny, 3)  # the pulse, 0.08 + 3 x 0.2 ns and loads, is longer than the gate's 0.12 ns
    activity = simulate(wide, analyse(wide), stimulus, warm_up=0)
    assert activity.samples[:, 0].tolist() == [1, 1, 1, 1]
    assert activity.gate_counts[-1].sum() == 4  # two rises of a, a fall and a rise of y each
    narrow = delayed_and(tiny, 0)  # 0.08 + 0.02 ns: shorter than the 0.12 ns that a falling output takes
    assert simulate(narrow, analyse(narrow), stimulus, warm_up=0).gate_counts[-1].sum() == 0


def test_internal_energy_follows_cause_state_and_supply(tiny):
    netlist = Netlist(5, [gate(tiny, "NAND2", [2, 3], 4)], [], [], {"a": [2], "b": [3]}, {"y": [4]}, tiny)
    timing = analyse(netlist)

    def logic(*rows):
        activity = simulate(netlist, timing, np.array(rows, dtype=np.uint8), warm_up=1)
        return energy(netlist, timing, activity).logic / FJ

    assert logic((0, 1), (1, 1), (0, 1)) == close(1 + 2)  # y falls by A (1), rises by A (2); B high: no pin energy
    assert logic((1, 0), (1, 1), (1, 0)) == close(3 + 4)  # the same by B
    # A toggles while B is low: the output stays, the pin takes VDD + VSS: rise 0.1 + 0.3, fall 0.2 + 0.4 fJ
    assert logic((0, 0), (1, 0), (0, 0)) == close(0.4 + 0.6)


def test_combinational_loops_are_refused(tiny):
    netlist = Netlist(4, [gate(tiny, "INV", [2], 3), gate(tiny, "INV", [3], 2)], [], [], {}, {}, tiny)
    with pytest.raises(InputError, match="no combinational loop"):
        analyse(netlist)
