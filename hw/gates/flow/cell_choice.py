"""Which cells a netlist may use, and the slim Liberty file of just those that yosys and abc map to.

One small file replaces five (ASAP7) or twenty megabytes (GF180), so mapping starts in a fraction of a second.
"""

import re

from hw.errors import InputError
from hw.gates.flow.cells import Cell, Library, Table, TimingArc
from hw.gates.flow.logic import truth_table

__all__ = ["MAX_INPUTS", "buffer_cell", "clock_gate_cell", "combinational_cells", "flip_flop_cells", "mapping_liberty"]

MAX_INPUTS = 6  # a truth table fits 64 bits
# Not for data paths: level shifters, delay cells, clock and scan cells; sub-unit drives of ASAP7 (x1p*, xp*).
_EXCLUDED = re.compile(r"lpflow|dly|probe|macro_|clkbuf|clkinv|einv|ebuf|hold|x1p|xp\d|bufz|invz", re.IGNORECASE)
_BUFFER_DRIVE = 4  # drive strength of the buffers that split large fan-outs
_SELF_TIMED = ("combinational", "combinational_rise", "combinational_fall")


def combinational_cells(library: Library, multiple_outputs: bool = False) -> list[Cell]:
    """Gates that mapping may use, smallest area first; with ``multiple_outputs`` adders are among them."""
    chosen = [
        cell
        for cell in library.cells.values()
        if not cell.sequential
        and not _EXCLUDED.search(cell.name)
        and 1 <= len(cell.inputs) <= MAX_INPUTS
        and (len(cell.outputs) == 1 or (multiple_outputs and cell.outputs))
        and all(_plain_output(cell, pin) for pin in cell.outputs)
    ]
    if not chosen:
        raise InputError(f"library {library.name}: holds no combinational cell that mapping may use")
    return sorted(chosen, key=lambda cell: (cell.area, cell.name))


def flip_flop_cells(library: Library) -> list[Cell]:
    """Rising-edge D flip-flops with one output whose asynchronous pins, if any, can be tied off.

    Raises:
        InputError: the library has none.
    """
    chosen = [cell for cell in library.cells.values() if _is_plain_flip_flop(cell)]
    if not chosen:
        raise InputError(f"library {library.name}: needs a rising-edge D flip-flop, which the Liberty file lacks")
    fewest = min(len(cell.inputs) for cell in chosen)
    chosen = [cell for cell in chosen if len(cell.inputs) == fewest]
    return sorted(chosen, key=lambda cell: (cell.area, cell.name))


def clock_gate_cell(library: Library) -> Cell | None:
    """The smallest rising-edge integrated clock gate, or None where the library has none."""
    gates = [cell for cell in library.cells.values() if cell.gating.startswith("latch_posedge")]
    plain = [cell for cell in gates if cell.gating == "latch_posedge"] or gates
    return min(plain, key=lambda cell: (cell.area, cell.name), default=None)


def buffer_cell(library: Library) -> Cell:
    """The buffer that splits large fan-outs: about four times the smallest area class.

    Raises:
        InputError: the library has no buffer.
    """
    buffers = [
        cell
        for cell in combinational_cells(library)
        if len(cell.inputs) == 1 and truth_table(cell.pins[cell.outputs[0]].function, cell.inputs) == 0b10
    ]
    if not buffers:
        raise InputError(f"library {library.name}: needs a buffer cell, which the Liberty file lacks")
    strong = [cell for cell in buffers if re.search(rf"[x_]{_BUFFER_DRIVE}(?!\d)", cell.name)]
    return (strong or buffers)[0]


def mapping_liberty(library: Library) -> str:
    """Liberty text of the mappable cells with one worst-case timing arc per input."""
    cells = combinational_cells(library) + flip_flop_cells(library)
    gate = clock_gate_cell(library)
    lines = [
        "library (mapping) {",
        "  delay_model : table_lookup;",
        f'  time_unit : "{_unit(library.time_unit, "s")}";',
        f"  capacitive_load_unit (1, {_unit(library.cap_unit, 'f')[1:]});",
        '  voltage_unit : "1V"; current_unit : "1mA"; leakage_power_unit : "1nW"; pulling_resistance_unit : "1kohm";',
        f"  nom_voltage : {library.voltage}; nom_process : 1; nom_temperature : 25;",
    ]
    body = [line for cell in cells + ([gate] if gate else []) for line in _cell_lines(cell, library)]
    grids = sorted({line.split("(")[1].split(")")[0] for line in body if "(grid_" in line})
    return "\n".join([*lines, *map(_template, grids), *body, "}", ""])


def _plain_output(cell: Cell, pin_name: str) -> bool:
    """Whether the output has a function of the inputs alone, never floats, and has delay tables."""
    pin = cell.pins[pin_name]
    arcs = [arc for arc in pin.timing if arc.kind in _SELF_TIMED]
    return bool(pin.function and arcs and len(arcs) == len(pin.timing))


def _is_plain_flip_flop(cell: Cell) -> bool:
    flop = cell.flip_flop
    if flop is None or _EXCLUDED.search(cell.name) or len(cell.outputs) != 1 or flop.clock not in cell.inputs:
        return False
    return flop.next_state.strip("()!' ") in cell.inputs and not re.search(r"[|&^*+ ]", flop.next_state.strip())


def _unit(value: float, kind: str) -> str:
    prefix = {1e-9: "n", 1e-12: "p", 1e-15: "f"}[float(f"{value:.0e}")]
    return f"1{prefix}{kind}"


def _cell_lines(cell: Cell, library: Library) -> list[str]:
    lines = [f"  cell ({cell.name}) {{", f"    area : {cell.area};"]
    if flop := cell.flip_flop:
        lines.append(
            f'    ff ({flop.state}, {flop.inverse}) {{ clocked_on : "{flop.clock}"; next_state : "{flop.next_state}";'
        )
        lines += [f'      {key} : "{text}";' for key, text in (("clear", flop.clear), ("preset", flop.preset)) if text]
        if flop.clear and flop.preset:
            lines.append("      clear_preset_var1 : L; clear_preset_var2 : L;")
        lines.append("    }")
    if cell.gating:
        lines.append(f'    clock_gating_integrated_cell : "{cell.gating}";')
    for pin in cell.pins.values():
        if pin.direction not in ("input", "output"):
            continue
        capacitance = f" capacitance : {pin.capacitance / library.cap_unit:.6g};" if pin.direction == "input" else ""
        lines.append(f"    pin ({pin.name}) {{ direction : {pin.direction};{capacitance}")
        if pin.gating:
            lines.append(f"      clock_gate_{pin.gating}_pin : true;")
        if cell.flip_flop and pin.name == cell.flip_flop.clock:
            lines.append("      clock : true;")
        if pin.function and not cell.gating:
            lines.append(f'      function : "{pin.function}";')
        if not cell.sequential:
            for related in cell.inputs:
                lines += _arc_lines([arc for arc in pin.timing if arc.related == related], related, library)
        lines.append("    }")
    return [*lines, "  }"]


def _arc_lines(arcs: list[TimingArc], related: str, library: Library) -> list[str]:
    if not arcs:
        return []
    senses = {arc.sense for arc in arcs}
    sense = senses.pop() if len(senses) == 1 else "non_unate"
    lines = [f'      timing () {{ related_pin : "{related}"; timing_sense : {sense};']
    for kind, name in (
        ("rise", "cell_rise"),
        ("fall", "cell_fall"),
        ("rise_slew", "rise_transition"),
        ("fall_slew", "fall_transition"),
    ):
        tables = [table for arc in arcs if (table := getattr(arc, kind)) is not None]
        if tables:
            lines += _table_lines(name, _worst(tables), library)
    return [*lines, "      }"]


def _template(grid: str) -> str:
    """Abc wants a template of each table's size, whose indices the table then replaces."""
    sizes = [", ".join(map(str, range(1, int(n) + 1))) for n in grid.removeprefix("grid_").split("x")]
    return (
        f"  lu_table_template ({grid}) {{ variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;"
        f' index_1 ("{sizes[0]}"); index_2 ("{sizes[1]}"); }}'
    )


def _worst(tables: list[Table]) -> Table:
    """Element-wise maximum over the tables that share the axes of the first."""
    first = tables[0]
    same = [table.values for table in tables if (table.slews, table.loads) == (first.slews, first.loads)]
    values = tuple(tuple(max(cells) for cells in zip(*rows, strict=True)) for rows in zip(*same, strict=True))
    return Table(first.slews, first.loads, values)


def _table_lines(name: str, table: Table, library: Library) -> list[str]:
    def row(values: tuple[float, ...], unit: float) -> str:
        return '"' + ", ".join(f"{value / unit:.6g}" for value in values) + '"'

    values = ", ".join(row(line, library.time_unit) for line in table.values)
    return [
        f"        {name} (grid_{len(table.slews)}x{len(table.loads)}) {{",
        f"          index_1 ({row(table.slews, library.time_unit)}); index_2 ({row(table.loads, library.cap_unit)});",
        f"          values ({values});",
        "        }",
    ]
