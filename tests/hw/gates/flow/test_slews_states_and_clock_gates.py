"""Timing, simulation and energy that depend on slew, state, edge and clock gate, worked out by hand.

The cells are made here: every table is ``base + per_slew * slew + per_load * load``, so that bilinear interpolation is
exact and a wrong slew, load or edge shows. Units are those of the numbers, the supply is 2 V: C V^2 / 2 is 2 C.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from hw.gates.flow.cells import Cell, FlipFlop, Library, Pin, PowerArc, Table, TimingArc
from hw.gates.flow.event_simulation import simulate
from hw.gates.flow.netlist import ClockGate, Gate, Netlist
from hw.gates.flow.netlist import FlipFlop as Register
from hw.gates.flow.power import _clock, _clock_pin_energy, _shares, _state_energy, energy, inactive_levels, net_edges
from hw.gates.flow.timing import analyse, clock_slew

close = partial(pytest.approx, rel=1e-9, abs=0)
SHARP = 2.0  # second of the three slews of the flip-flop's table


def table(base, per_slew=0.0, per_load=0.0, slews=(0.5, SHARP, 4.0)):
    loads = (0.0, 10.0)
    return Table(slews, loads, tuple(tuple(base + per_slew * s + per_load * c for c in loads) for s in slews))


def arc(related, rise, fall, rise_slew, fall_slew, sense="negative_unate", kind="combinational"):
    return TimingArc(related, kind, sense, "", rise, fall, rise_slew, fall_slew)


def pin(name, direction, capacitance=0.0, function="", timing=(), power=(), gating=""):
    return Pin(name, direction, capacitance, function, tuple(timing), tuple(power), gating)


def cell(name, pins, flip_flop=None, gating="", leakage=0.0):
    return Cell(
        name, 1.0, leakage, {one.name: one for one in pins}, flip_flop, flip_flop is not None or bool(gating), gating
    )


# rise 10 + slew + 2 load, fall 6 + slew / 2 + load; slews 3 + slew / 4 + load / 10 and 2 + slew / 8 + load / 5
SLOPES = (table(10, 1, 2), table(6, 0.5, 1), table(3, 0.25, 0.1), table(2, 0.125, 0.2))
INVERTER = cell(
    "INV",
    [
        pin("A", "input", 1.0),
        pin(
            "Y",
            "output",
            function="!A",
            timing=[arc("A", *SLOPES)],
            power=[PowerArc("A", "", "", table(0.5, 0.25, 0.125), table(0.75, 0.5, 0.0625))],
        ),
    ],
)
# Two arcs of A by the state of B; both edges of an input cause either edge of the output.
EITHER = cell(
    "XOR",
    [
        pin("A", "input", 1.0),
        pin("B", "input", 1.5),
        pin(
            "Y",
            "output",
            function="A ^ B",
            timing=[
                arc("A", table(4, 1), table(5, 1), table(1, 1), table(1, 0.5), "positive_unate"),
                arc("A", table(8, 2), table(3, 1), table(1, 0.5), table(1, 1), "negative_unate"),
                arc("B", table(2), table(2.5), table(1), table(1), "non_unate"),
            ],
        ),
    ],
)
CLOCK_PIN = [
    PowerArc("", "!D & !Q", "", table(1.0), table(0.1)),
    PowerArc("", "!D & Q", "", table(2.0), table(0.2)),
    PowerArc("", "D & !Q", "", table(4.0), table(0.4)),
    PowerArc("", "D & Q", "", table(8.0, 0.5), table(0.8, 0.25)),
]
REGISTER = cell(
    "DFFR",
    [
        pin("CK", "input", 3.0, power=CLOCK_PIN),
        pin(
            "D",
            "input",
            1.0,
            timing=[arc("CK", table(0.5, 0.25, 0.125), table(0.75, 0.5, 0.25), None, None, "", "setup_rising")],
        ),
        pin("RN", "input", 0.5),
        pin(
            "Q",
            "output",
            function="IQ",
            timing=[arc("CK", table(20, 1, 3), table(16, 2, 1), table(4, 0, 1), table(5, 0, 2), "", "rising_edge")],
        ),
    ],
    FlipFlop("IQ", "IQN", "CK", "D", "!RN", ""),
)
GATE = cell(
    "ICG",
    [
        pin("CLK", "input", 5.0, gating="clock", power=[PowerArc("", "", "", table(0.3, 0.1), table(0.7, 0.2))]),
        pin("EN", "input", 2.0, gating="enable"),
        pin(
            "GCLK",
            "output",
            gating="out",
            power=[PowerArc("CLK", "", "", table(1.1, 0.5, 0.25), table(1.3, 0.25, 0.5))],
        ),
    ],
    gating="latch_posedge",
)
LIBRARY = Library("hand", 2.0, 1.0, 1.0, {one.name: one for one in (INVERTER, EITHER, REGISTER, GATE)}, "")


@pytest.mark.parametrize(("slews", "second"), [((0.5, SHARP, 4.0), SHARP), ((0.5, 3.0), 3.0), ((0.7,), 0.7)])
def test_clock_and_inputs_have_the_second_slew_of_the_clock_to_output_table(slews, second):
    tables = [Table(slews, (0.0,), tuple((1.0,) for _ in slews))] * 4
    flop = cell(
        "DFF",
        [
            pin("CK", "input"),
            pin("D", "input"),
            pin("Q", "output", timing=[arc("CK", *tables, "", "rising_edge")]),
        ],
        FlipFlop("IQ", "IQN", "CK", "D", "", ""),
    )
    assert clock_slew(Library("one", 1.0, 1.0, 1.0, {"DFF": flop}, "")) == second


def inverter(source, target):
    return Gate(INVERTER, "Y", 0b01, [source], target, True)


def test_arrivals_slews_and_setup_of_two_inverters_before_a_register():
    """Input net 2, nets 3 and 4 behind the inverters, register output 5; half a unit of wire per pin."""
    flop = Register(REGISTER, "D", "Q", 4, 5, False, None)
    netlist = Netlist(6, [inverter(2, 3), inverter(3, 4)], [flop], [], {"a": [2]}, {"q": [5]}, LIBRARY)
    timing = analyse(netlist, 0.5)
    load = 1.5  # a pin of 1 and its wire, on nets 2, 3 and 4
    assert timing.loads.tolist() == [0, 0, load, load, load, 0]
    rise_3, fall_3 = 10 + SHARP + 2 * load, 6 + SHARP / 2 + load
    slew_rise_3, slew_fall_3 = 3 + SHARP / 4 + load / 10, 2 + SHARP / 8 + load / 5
    rise_4 = fall_3 + 10 + slew_fall_3 + 2 * load  # an inverter's rise is caused by a fall
    fall_4 = rise_3 + 6 + slew_rise_3 / 2 + load
    slew_rise_4, slew_fall_4 = 3 + slew_fall_3 / 4 + load / 10, 2 + slew_rise_3 / 8 + load / 5
    assert timing.arrival[3].tolist() == close([fall_3, rise_3])
    assert timing.slew[4].tolist() == close([slew_fall_4, slew_rise_4])
    assert timing.arrival[4].tolist() == close([fall_4, rise_4])
    assert timing.gate_delays[1].tolist() == [close([fall_4 - rise_3, rise_4 - fall_3])]
    # The register's own output has no load: 20 + 2 and 16 + 4.
    assert timing.flop_delays.tolist() == [close([16 + 2 * SHARP, 20 + SHARP])]
    rising = rise_4 + 0.5 + 0.25 * slew_rise_4 + 0.125 * SHARP
    falling = fall_4 + 0.75 + 0.5 * slew_fall_4 + 0.25 * SHARP
    assert timing.critical == close(max(rising, falling))
    assert timing.path == ["INV", "INV"]


def test_a_path_that_ends_at_an_output_or_a_clock_gate_counts_without_setup():
    enable = ClockGate(GATE, "EN", 3)
    to_gate = Netlist(4, [inverter(2, 3)], [], [enable], {"a": [2]}, {}, LIBRARY)
    assert analyse(to_gate).critical == close(10 + SHARP + 2 * 2.0)
    to_output = Netlist(4, [inverter(2, 3)], [], [], {"a": [2]}, {"y": [3]}, LIBRARY)
    assert analyse(to_output).critical == close(10 + SHARP)


def test_arrival_takes_the_worst_arc_and_simulation_their_mean():
    netlist = Netlist(5, [Gate(EITHER, "Y", 0b0110, [2, 3], 4, True)], [], [], {"a": [2, 3]}, {"y": [4]}, LIBRARY)
    timing = analyse(netlist)
    assert timing.arrival[4].tolist() == close([5 + SHARP, 8 + 2 * SHARP])
    assert timing.slew[4].tolist() == close([1 + SHARP, 1 + SHARP])
    by_a = [((5 + SHARP) + (3 + SHARP)) / 2, ((4 + SHARP) + (8 + 2 * SHARP)) / 2]
    assert timing.gate_delays[0].tolist() == [close(by_a), close([2.5, 2.0])]


def gated():
    """Register 4 behind a clock gate and register 5 on the root clock both take net 2; net 3 enables."""
    flops = [Register(REGISTER, "D", "Q", 2, 4, False, 0), Register(REGISTER, "D", "Q", 2, 5, True, None)]
    return Netlist(6, [], flops, [ClockGate(GATE, "EN", 3)], {"d": [2], "en": [3]}, {"q": [4, 5]}, LIBRARY)


STIMULUS = [(1, 1), (0, 1), (1, 0), (1, 1), (0, 1), (0, 0), (1, 1)]
WARM_UP = 2


def expected():
    """The two registers of ``gated`` cycle by cycle: an edge sees what the row before it left."""
    data = enable = 0
    q, edges = [0, 0], {name: np.zeros((2, 4), int) for name in ("rise", "fall")}
    toggles, pulses, inputs, samples = np.zeros((2, 2), int), 0, np.zeros(2, int), []
    for cycle, (next_data, next_enable) in enumerate(STIMULUS):
        counted = cycle >= WARM_UP
        clocked = (enable, 1)
        pulses += counted * enable
        before = list(q)
        for f in range(2):
            if clocked[f]:
                edges["rise"][f, 2 * data + q[f]] += counted
                q[f] = data ^ f  # the second stores inverted
                toggles[f, q[f]] += counted and q[f] != before[f]
        inputs += counted * np.array([data != next_data, enable != next_enable])
        data, enable = next_data, next_enable
        for f in range(2):
            if clocked[f]:
                edges["fall"][f, 2 * data + q[f]] += counted
        samples.append(list(q))
    return edges, toggles, pulses, inputs, samples


def test_registers_behind_a_clock_gate_are_clocked_by_the_enable_of_the_cycle_before():
    netlist = gated()
    activity = simulate(netlist, analyse(netlist), np.array(STIMULUS, np.uint8), WARM_UP)
    edges, toggles, pulses, inputs, samples = expected()
    assert activity.cycles == 5
    assert activity.samples.tolist() == samples
    assert activity.clock_rise.tolist() == edges["rise"].tolist()
    assert activity.clock_fall.tolist() == edges["fall"].tolist()
    assert activity.flop_counts.tolist() == toggles.tolist()
    assert activity.pulses.tolist() == [pulses] == [3]
    assert activity.input_toggles.tolist() == inputs.tolist()


def test_energy_of_inputs_clock_pins_and_clock_gates():
    netlist = gated()
    timing = analyse(netlist)
    activity = simulate(netlist, timing, np.array(STIMULUS, np.uint8), WARM_UP)
    edges, _, pulses, inputs, _ = expected()
    result = energy(netlist, timing, activity)
    # Net 2 drives two D pins of 1, net 3 the enable of 2; each transition takes 2 C.
    assert result.registers == close(2 * (inputs[0] * 2.0 + inputs[1] * 2.0))
    rise, fall = [1, 2, 4, 8 + SHARP / 2], [0.1, 0.2, 0.4, 0.8 + SHARP / 4]
    pins = 2 * 3.0 * (edges["rise"].sum() + edges["fall"].sum())
    pins += sum(edges["rise"] @ rise) + sum(edges["fall"] @ fall)
    per_cycle = 2 * 2 * 5.0 + 0.3 + 0.1 * SHARP + 0.7 + 0.2 * SHARP
    per_pulse = 1.1 + 0.5 * SHARP + 0.25 * 3.0 + 1.3 + 0.25 * SHARP + 0.5 * 3.0  # it drives one clock pin of 3
    assert result.clock == close(pins + 5 * per_cycle + pulses * per_pulse)
    assert net_edges(netlist, activity)[[2, 3]].tolist() == [[inputs[0] / 2] * 2, [inputs[1] / 2] * 2]
    assert result.dynamic == close(result.registers + result.clock)


def test_internal_energy_of_a_gate_takes_the_mean_slew_of_its_input_and_its_own_load():
    netlist = Netlist(5, [inverter(2, 3), inverter(3, 4)], [], [], {"a": [2]}, {"y": [4]}, LIBRARY)
    timing = analyse(netlist)
    activity = simulate(netlist, timing, np.array([[0], [1], [0], [1], [0], [1]], np.uint8), 1)
    slew_3 = ((3 + SHARP / 4 + 0.1) + (2 + SHARP / 8 + 0.2)) / 2  # of both edges
    falls, rises = 3, 2  # of net 3; of net 4 the other way round
    first = rises * (0.5 + 0.25 * SHARP + 0.125) + falls * (0.75 + 0.5 * SHARP + 0.0625)
    second = falls * (0.5 + 0.25 * slew_3) + rises * (0.75 + 0.5 * slew_3)
    assert energy(netlist, timing, activity).logic == close(2 * 5 * 1.0 + first + second)


def test_conditions_may_name_outputs_whose_functions_replace_them():
    """A half adder whose pin A takes an energy by the state of both outputs after the pin has moved."""
    own = [
        PowerArc("", "S & !C", "", table(1.0), table(2.0)),
        PowerArc("", "C & !S", "", table(4.0), table(8.0)),
        PowerArc("", "!S & !C", "", table(16.0), table(32.0)),
    ]
    delays = [table(1.0)] * 4
    outputs = [
        pin(name, "output", function=text, timing=[arc(i, *delays, "non_unate") for i in ("A", "B")])
        for name, text in (("C", "A & B"), ("S", "A ^ B"))
    ]
    adder = cell("HA", [pin("A", "input", power=own), pin("B", "input"), *outputs])
    library = Library("two", 2.0, 1.0, 1.0, {"HA": adder, "DFFR": REGISTER}, "")
    gates = [Gate(adder, "C", 0b1000, [2, 3], 4, True), Gate(adder, "S", 0b0110, [2, 3], 5, False)]
    netlist = Netlist(6, gates, [], [], {"a": [2], "b": [3]}, {"y": [4, 5]}, library)
    timing = analyse(netlist)

    def logic(*rows):
        activity = simulate(netlist, timing, np.array(rows, np.uint8), 1)
        return energy(netlist, timing, activity).logic

    assert logic((0, 1), (1, 1)) == close(4)  # 1 + 1: carry alone
    assert logic((1, 1), (0, 1)) == close(2)  # 0 + 1: sum alone
    assert logic((0, 0), (1, 0)) == close(1)
    assert logic((1, 0), (0, 0)) == close(32)


def test_a_cycle_lasts_until_its_last_event():
    netlist = Netlist(5, [inverter(2, 3), inverter(3, 4)], [], [], {"a": [2]}, {"y": [4]}, LIBRARY)
    timing = analyse(netlist)
    activity = simulate(netlist, timing, np.array([[0], [1]], np.uint8), 0)
    tick = np.median(np.concatenate(timing.gate_delays)) / 64
    # The initial state is settled: only the rise of a moves anything: net 3 falls, net 4 rises.
    ticks = [round(timing.gate_delays[0][0, 0] / tick), round(timing.gate_delays[1][0, 1] / tick)]
    assert activity.settle == close((sum(ticks) + 1) * tick)


def test_asynchronous_pins_rest_where_they_neither_clear_nor_set():
    def flop(clear, preset):
        return cell("F", [pin("CK", "input")], FlipFlop("IQ", "IQN", "CK", "D", clear, preset))

    assert inactive_levels(flop("!RN", "S"), ["RN", "S", "T"]) == {"RN": 1, "S": 0, "T": 0}
    assert inactive_levels(flop("R", "!SN"), ["R", "SN"]) == {"R": 0, "SN": 1}


def test_a_clock_gate_drives_the_clock_pins_of_all_its_registers():
    """The same activity with one register behind the gate and with two: each pulse drives a pin of 3 more."""
    one = gated()
    two = replace(one, flip_flops=[one.flip_flops[0], Register(REGISTER, "D", "Q", 2, 5, True, 0)])
    activity = simulate(one, analyse(one), np.array(STIMULUS, np.uint8), WARM_UP)
    per_load = (0.25 + 0.5) * 3.0  # of the gate's own energies, by the load that it drives
    assert _clock(two, activity) - _clock(one, activity) == close(activity.pulses[0] * per_load)


def test_the_other_output_of_a_register_has_the_other_level():
    """A clock pin that takes 1 where QN is low and 5 where it is high: Q is bit 0 of the state."""
    arcs = [PowerArc("", "!QN", "", table(1.0), table(1.0)), PowerArc("", "QN", "", table(5.0), table(5.0))]
    outputs = [pin("Q", "output", function="IQ"), pin("QN", "output", function="IQN")]
    pins = [pin("CK", "input", 3.0, power=arcs), pin("D", "input", 1.0), *outputs]
    flop = cell("DFFQN", pins, FlipFlop("IQ", "IQN", "CK", "D", "", ""))
    rise, fall = _clock_pin_energy(flop, "D", "Q", SHARP)
    assert rise.tolist() == fall.tolist() == [5, 1, 5, 1]


def test_a_transition_goes_through_the_arcs_that_have_a_table_for_it():
    arcs = (PowerArc("A", "", "", table(1.0), None), PowerArc("A", "", "", table(3.0), table(5.0)))
    assert _shares(INVERTER, arcs, 1).tolist() == [[0.5, 0.5]] * 2
    assert _shares(INVERTER, arcs, 0).tolist() == [[0, 1]] * 2
    names, own = ["Q", "D", "CK"], tuple(replace(arc, related="") for arc in arcs)
    assert [_state_energy(own, names, 0, edge, SHARP) for edge in (1, 0)] == [2, 5]
    assert _state_energy(arcs, names, 0, 1, SHARP) == 0  # of another pin's transitions


def test_the_latest_of_several_arcs_of_a_clock_counts():
    early = arc("CK", table(20), table(16), table(4), table(5), "", "rising_edge")
    late = arc("CK", table(25), table(30), table(2), table(9), "", "rising_edge")
    pins = [pin("CK", "input", 3.0), pin("D", "input", 1.0), pin("Q", "output", function="IQ", timing=[early, late])]
    flop = cell("DFF", pins, FlipFlop("IQ", "IQN", "CK", "D", "", ""))
    library = Library("two", 2.0, 1.0, 1.0, {"DFF": flop, "INV": INVERTER}, "")
    netlist = Netlist(5, [], [Register(flop, "D", "Q", 2, 3, False, None)], [], {"d": [2]}, {"q": [3]}, library)
    timing = analyse(netlist)
    assert timing.arrival[3].tolist() == [30, 25]
    assert timing.slew[3].tolist() == [9, 4]
    assert timing.flop_delays.tolist() == [[23, 22.5]]
