"""Tables of many knots by definition, units and leakage of a Liberty text, cells that are chosen, fan-out trees."""

from functools import partial

import numpy as np
import pytest

from hw.errors import InputError
from hw.gates.flow.cell_choice import buffer_cell, clock_gate_cell, combinational_cells, flip_flop_cells
from hw.gates.flow.cells import Cell, FlipFlop, Library, Pin, Table, TimingArc
from hw.gates.flow.library import load_library
from hw.gates.flow.netlist import netlist_of

close = partial(pytest.approx, rel=1e-9, abs=0)

SLEWS, LOADS = (1.0, 2.0, 5.0, 7.0), (0.0, 1.0, 4.0)
CURVED = Table(SLEWS, LOADS, tuple(tuple(s * s + s * c + c * c for c in LOADS) for s in SLEWS))


def interval(axis, x):
    """The interval that holds x, the outermost ones beyond the ends; a knot begins the interval after it."""
    inside = [i for i in range(len(axis) - 1) if axis[i] <= x]
    return inside[-1] if inside else 0


def interpolated(slew, load):
    i, j = interval(SLEWS, slew), interval(LOADS, load)
    u = (slew - SLEWS[i]) / (SLEWS[i + 1] - SLEWS[i])
    v = (load - LOADS[j]) / (LOADS[j + 1] - LOADS[j])
    f = CURVED.values
    return sum((u if a else 1 - u) * (v if b else 1 - v) * f[i + a][j + b] for a in (0, 1) for b in (0, 1))


POINTS = [(s, c) for s in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 6.5, 7.0, 9.0) for c in (-0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 6.0)]


def test_interpolation_between_many_knots():
    for slew, load in POINTS:
        assert CURVED.at(slew, load) == pytest.approx(interpolated(slew, load), rel=1e-9, abs=1e-12)
    slews, loads = np.array(POINTS).T
    assert CURVED.at_each(slews, loads) == pytest.approx(
        [interpolated(*point) for point in POINTS], rel=1e-9, abs=1e-12
    )


def test_tables_of_one_row_or_column_or_value():
    row = Table((1.0,), LOADS, ((1.0, 3.0, 4.0),))
    column = Table(SLEWS, (2.0,), ((1.0,), (3.0,), (4.0,), (8.0,)))
    single = Table((1.0,), (2.0,), ((5.0,),))
    for slew, load in ((0.0, 0.5), (9.0, 2.5)):
        along_row = 1 + 2 * 0.5 if load < 1 else 3 + (load - 1) / 3
        along_column = 1 + 2 * (slew - 1) if slew < 2 else 4 + 4 * (slew - 5) / 2
        for table, value in ((row, along_row), (column, along_column), (single, 5.0)):
            assert table.at(slew, load) == close(value)
            assert table.at_each(np.array([slew]), np.array([load])) == close([value])


LIBERTY = """library (units) {{
  time_unit : "10ps"; voltage_unit : "1mV"; capacitive_load_unit (2, ff); leakage_power_unit : "1pW";
  {supply}
  lu_table_template (t) {{ variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("1, 3"); index_2 ("10, 20, 40"); }}
  cell (INV) {{ area : 1.5; cell_leakage_power : 7; {leakage}
    pin (A) {{ direction : input; capacitance : 4; }}
    pin (Y) {{ direction : output; function : "!A";
      timing () {{ related_pin : "A"; timing_sense : negative_unate;
        cell_rise (t) {{ values ("1, 2, 3", "4, 5, 6"); }} cell_fall (scalar) {{ values ("9"); }}
        rise_transition (t) {{ index_1 ("2, 4"); values ("1, 1, 1", "2, 2, 2"); }} }}
      internal_power () {{ related_pin : "A"; power (t) {{ values ("1, 2, 3", "4, 5, 6"); }} }} }} }}
}}
"""


def units(tmp_path, supply="nom_voltage : 900;", leakage=""):
    path = tmp_path / "units.lib"
    path.write_text(LIBERTY.format(supply=supply, leakage=leakage))
    return load_library([path])


def test_units_other_than_nanoseconds_and_picofarads(tmp_path):
    library = units(tmp_path)
    assert (library.voltage, library.time_unit, library.cap_unit) == close((0.9, 1e-11, 2e-15))
    cell = library.cells["INV"]
    assert (cell.area, cell.leakage, cell.pins["A"].capacitance) == close((1.5, 7e-12, 8e-15))
    arc = cell.pins["Y"].timing[0]
    # The template has the load first: the table is turned, so that slews are its rows.
    assert arc.rise.slews == close((1e-10, 2e-10, 4e-10))
    assert arc.rise.loads == close((2e-15, 6e-15))
    assert arc.rise.values == tuple(map(close, ((1e-11, 4e-11), (2e-11, 5e-11), (3e-11, 6e-11))))
    assert arc.fall.at(1e-9, 1e-12) == close(9e-11)
    assert arc.rise_slew.loads == close((4e-15, 8e-15))  # the table's own index
    assert arc.fall_slew is None
    power = cell.pins["Y"].power[0]
    assert power.rise == power.fall
    assert power.rise.at(1e-10, 2e-15) == close(2e-15 * 1e-6)  # capacitance x voltage squared


@pytest.mark.parametrize(
    ("unit", "watts"),
    [("1fW", 1e-15), ("1pW", 1e-12), ("1nW", 1e-9), ("1uW", 1e-6), ("1mW", 1e-3), ("1W", 1.0), ("100pW", 1e-10)],
)
def test_prefixes_of_units(tmp_path, unit, watts):
    path = tmp_path / "units.lib"
    text = LIBERTY.format(supply="nom_voltage : 900;", leakage="").replace('"1pW"', f'"{unit}"')
    path.write_text(text)
    assert load_library([path]).cells["INV"].leakage == close(7 * watts)


def test_operating_conditions_go_before_the_nominal_voltage(tmp_path):
    both = "nom_voltage : 900; operating_conditions (tt) { voltage : 750; }"
    assert units(tmp_path, both).voltage == close(0.75)
    with pytest.raises(InputError, match="must state its supply"):
        units(tmp_path, "")


@pytest.mark.parametrize(
    ("states", "mean"),
    [
        ("leakage_power () { value : 3; }", 3),
        ('leakage_power () { when : "A"; value : 3; } leakage_power () { when : "!A"; value : 5; }', 4),
        # two supplies of a state are added; the figure without a state is left out beside those with one
        (
            'leakage_power () { when : "A"; value : 3; } leakage_power () { when : "A"; value : 4; }'
            'leakage_power () { when : "!A"; value : 1; } leakage_power () { value : 100; }',
            4,
        ),
    ],
)
def test_leakage_is_the_mean_over_states(tmp_path, states, mean):
    assert units(tmp_path, leakage=states).cells["INV"].leakage == close(mean * 1e-12)


ARC = TimingArc("A", "combinational", "positive_unate", "", None, None, None, None)


def pin(name, direction, function="", timing=(), gating="", capacitance=1.0):
    return Pin(name, direction, capacitance, function, tuple(timing), (), gating)


def gate(name, area, function, inputs=("A",), outputs=("Y",), timing=(ARC,)):
    pins = [*(pin(i, "input") for i in inputs), *(pin(o, "output", function, timing) for o in outputs)]
    return Cell(name, area, 0.0, {one.name: one for one in pins}, None, False, "")


def flop(name, area, next_state="D", extra=(), outputs=("Q",), clear=""):
    pins = [pin("CK", "input"), pin("D", "input"), *(pin(one, "input") for one in extra)]
    pins += [pin(one, "output", "IQ") for one in outputs]
    return Cell(
        name, area, 0.0, {p.name: p for p in pins}, FlipFlop("IQ", "IQN", "CK", next_state, clear, ""), True, ""
    )


def clock_gate(name, area, gating):
    pins = [pin("CK", "input", gating="clock"), pin("E", "input", gating="enable"), pin("G", "output", gating="out")]
    return Cell(name, area, 0.0, {p.name: p for p in pins}, None, True, gating)


def library(*cells):
    return Library("choices", 1.0, 1.0, 1.0, {cell.name: cell for cell in cells}, "")


def names(cells):
    return [cell.name for cell in cells]


def test_gates_that_mapping_may_use_smallest_first():
    six = tuple("ABCDEF")
    cells = library(
        gate("B_wide", 3, "A", six),
        gate("A_wide", 3, "A", six),
        gate("seven", 1, "A", (*six, "G")),
        gate("tie", 1, "1", ()),
        gate("adder", 2, "A", outputs=("S", "Y")),
        gate("clkbuf_1", 1, "A"),
        gate("dlybuf", 1, "A"),
        gate("INVxp5", 1, "!A"),
        gate("tristate", 1, ""),
        gate("untimed", 1, "A", timing=()),
        gate("small", 1, "A"),
        flop("DFF", 1),
    )
    assert names(combinational_cells(cells)) == ["small", "A_wide", "B_wide"]
    assert names(combinational_cells(cells, multiple_outputs=True)) == ["small", "adder", "A_wide", "B_wide"]
    with pytest.raises(InputError, match="holds no combinational cell"):
        combinational_cells(library(flop("DFF", 1)))


def test_flip_flops_with_the_fewest_pins_smallest_first():
    cells = library(
        flop("reset", 1, extra=("RN",), clear="!RN"),
        flop("big", 5),
        flop("small", 4),
        flop("inverting", 4.5, "!D"),
        flop("muxed", 1, "D & E"),
        flop("both", 1, outputs=("Q", "QN")),
    )
    assert names(flip_flop_cells(cells)) == ["small", "inverting", "big"]
    assert names(flip_flop_cells(library(flop("reset", 1, extra=("RN",), clear="!RN")))) == ["reset"]


def test_clock_gates_without_test_pins_are_preferred_then_the_smallest():
    plain = [clock_gate("p2", 3, "latch_posedge"), clock_gate("p1", 2, "latch_posedge")]
    tested = clock_gate("t", 1, "latch_posedge_precontrol")
    assert clock_gate_cell(library(*plain, tested, clock_gate("n", 0.5, "latch_negedge"))).name == "p1"
    assert clock_gate_cell(library(tested)).name == "t"
    assert clock_gate_cell(library(clock_gate("n", 0.5, "latch_negedge"))) is None


def test_the_buffer_of_drive_four_else_the_smallest():
    cells = [gate("buf_1", 1, "A"), gate("buf_4", 2, "A"), gate("buf_40", 1.5, "A"), gate("inv_4", 1, "!A")]
    assert buffer_cell(library(*cells)).name == "buf_4"
    assert buffer_cell(library(gate("BUFx4_ASAP", 3, "A"), gate("BUFx2", 1, "A"))).name == "BUFx4_ASAP"
    assert buffer_cell(library(gate("buf_2", 2, "A"), gate("buf_1", 1, "A"), gate("inv_4", 0.5, "!A"))).name == "buf_1"


def wide(sinks):
    """One input that drives ``sinks`` inverters and a flip-flop's data pin."""
    ports = {
        "clk": {"direction": "input", "bits": [2]},
        "rst": {"direction": "input", "bits": [3]},
        "a": {"direction": "input", "bits": [4]},
        "y": {"direction": "output", "bits": [*range(10, 10 + sinks), 9]},
    }
    cells = {f"g{i}": {"type": "inv", "connections": {"A": [4], "Y": [10 + i]}} for i in range(sinks)}
    cells["f"] = {"type": "DFF", "connections": {"CK": [2], "D": [4], "Q": [9]}}
    return {"ports": ports, "cells": cells}


CELLS = library(gate("inv", 1, "!A"), gate("buf_4", 2, "A"), flop("DFF", 5), clock_gate("icg", 3, "latch_posedge"))


@pytest.mark.parametrize(("sinks", "buffers"), [(3, 0), (4, 2), (7, 2), (8, 3), (15, 4), (16, 7)])
def test_no_net_drives_more_than_the_fan_out_allows(sinks, buffers):
    """With one for the register: 4 sinks need none, 5 to 8 two buffers, 16 four, 17 five and two above them."""
    netlist = netlist_of(wide(sinks), CELLS, max_fanout=4)
    assert sum(one.cell.name == "buf_4" for one in netlist.gates) == buffers
    users = np.zeros(netlist.nets, int)
    for one in netlist.gates:
        users[one.inputs] += 1
    users[[one.data for one in netlist.flip_flops]] += 1
    assert users.max() <= 4
    driver = {one.output: one for one in netlist.gates}
    for one in [*(g for g in netlist.gates if g.cell.name == "inv")]:
        net = one.inputs[0]
        while net in driver:  # through buffers to the input
            assert driver[net].truth == 0b10
            net = driver[net].inputs[0]
        assert net == netlist.inputs["a"][0]


def test_a_fan_out_of_twelve_by_default_and_none_for_zero():
    assert netlist_of(wide(11), CELLS).cells == 12
    assert netlist_of(wide(12), CELLS).cells == 13 + 2
    assert netlist_of(wide(50), CELLS, max_fanout=0).cells == 51


def test_area_leakage_loads_and_clock_gates_of_a_netlist():
    module = {
        "ports": {
            "clk": {"direction": "input", "bits": [2]},
            "en": {"direction": "input", "bits": [4]},
            "y": {"direction": "output", "bits": [6, "0", "1", "x"]},
        },
        "cells": {
            "icg": {"type": "icg", "connections": {"CK": [2], "E": [4], "G": [5]}},
            "f": {"type": "DFF", "connections": {"CK": [5], "D": [7], "Q": [6]}},
            "g": {"type": "inv", "connections": {"A": [6], "Y": [7]}},
        },
    }
    netlist = netlist_of(module, CELLS)
    assert (netlist.area, netlist.cells, len(netlist.clock_gates)) == (9, 3, 1)
    assert netlist.flip_flops[0].clock == 0
    assert netlist.outputs["y"][1:] == [0, 1, 0]
    loads = netlist.loads(0.25)
    assert loads[netlist.inputs["en"][0]] == loads[netlist.flip_flops[0].data] == loads[netlist.outputs["y"][0]] == 1.25
    module["cells"]["f"]["connections"]["CK"] = [4]
    with pytest.raises(InputError, match="every flip-flop must be clocked by clk or a clock gate"):
        netlist_of(module, CELLS)


@pytest.mark.parametrize(("next_state", "function", "inverted"), [
    ("D", "IQ", False), ("!D", "IQ", True), ("D", "IQN", True), ("!D", "IQN", False), ("(D)", "(IQN)", True),
])  # fmt: skip
def test_a_register_inverts_where_its_input_or_its_output_does(next_state, function, inverted):
    pins = [pin("CK", "input"), pin("D", "input"), pin("Q", "output", function)]
    cell = Cell("F", 1, 0.0, {p.name: p for p in pins}, FlipFlop("IQ", "IQN", "CK", next_state, "", ""), True, "")
    module = {
        "ports": {"clk": {"direction": "input", "bits": [2]}, "d": {"direction": "input", "bits": [3]}},
        "cells": {"f": {"type": "F", "connections": {"CK": [2], "D": [3], "Q": [4]}}},
    }
    netlist = netlist_of(module, library(cell, gate("buf_4", 2, "A")))
    assert netlist.flip_flops[0].inverted is inverted
