"""Wires and clock distribution of a placed block, which netlists do not have, from the netlist's own size and activity.

Signal nets: every driven pin hangs on a wire of Donath's mean length for a Rent exponent, in pitches of the cells as
they are placed; the netlist is timed and simulated with that capacitance.

Clock: a Steiner tree over n flip-flops in an area A is about 0.76 sqrt(n A) long; buffers of a fan-out F, level by
level, add 1 / (F - 1) of the load in their inputs and as much in themselves. Edges are those that reach each flip-flop.

Ref: Donath, Placement and average interconnection lengths of computer logic, IEEE Trans. Circuits Syst. 26 (1979);
Steele, Snyder, Steiner tree growth of random points (0.7124 n, 0.76 with rectilinear wires); Ho, Mai, Horowitz, The
future of wires, Proc. IEEE 89 (2001): about 0.2 fF per um at every node.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw.artifact import write_artifact
from hw.gates.designs.bench import array_bench, lane_bench
from hw.gates.designs.candidates import Design, candidates, operand_kind
from hw.gates.designs.operands import synthetic
from hw.gates.flow.cells import Cell, Library
from hw.gates.flow.event_simulation import Activity, simulate
from hw.gates.flow.netlist import Netlist, netlist_of
from hw.gates.flow.power import energy
from hw.gates.flow.timing import analyse
from hw.gates.mapped import mapped_module
from hw.gates.measure import SUM_LENGTH
from hw.gates.table import RESULTS, STANDARD_ZEROS, read_table

__all__ = ["DESIGNS", "Ends", "clock_wire_f", "donath_pitches", "run_wires"]

SCHEMA, VERSION = "tritforge.wires", 1

DESIGNS = (Design("tree", "ternary", 24, 16, 4), Design("tree", "int8", 32, 16, 4), Design("lane", "fp16-fp32", 20))

_FARAD_PER_UM = 0.2e-15
_UTILIZATION = 0.75  # share of a placed block that cells cover, as for areas
_STEINER = 0.76
_CYCLES = 512


class Ends(NamedTuple):
    """Low, typical and high."""

    low: float
    typical: float
    high: float


_RENT = Ends(0.5, 0.6, 0.75)  # regular arrays to random logic (Landman and Russo 1971; Christie and Stroobandt 2000)
_FAN_OUT = Ends(12.0, 5.0, 3.0)  # of clock buffers


def donath_pitches(cells: int, rent: float) -> float:
    """Mean length of a connection in cell pitches, by Donath's hierarchical placement of ``cells`` on a square."""
    p, n = rent, float(cells)
    across = 7.0 * _geometric(n, p - 0.5) / _geometric(4.0, p - 0.5) - _geometric(n, p - 1.5) / _geometric(4.0, p - 1.5)
    return 2 / 9 * (1 - 4 ** (p - 1)) / (1 - n ** (p - 1)) * across


def _geometric(base: float, exponent: float) -> float:
    """``base ** exponent - 1``, or its limit over the exponent, so that quotients of two are right at 0."""
    return np.log(base) if abs(exponent) < 1e-9 else base**exponent - 1


def clock_wire_f(flip_flops: int, area_um2: float) -> float:
    """Capacitance of the clock's wire per flip-flop, F."""
    return _STEINER * np.sqrt(area_um2 / _UTILIZATION / flip_flops) * _FARAD_PER_UM


def run_wires(
    library: Library,
    name: str,
    path: Path,
    cache: Path,
    progress: Callable[[str, int, int], None] = lambda text, done, total: None,
) -> list[dict]:
    """Measure ``DESIGNS`` with the structures of the table of ``name``, beside ``path`` or committed, and write it."""
    beside = path.with_name(f"{name}.json")
    table, rows = read_table(beside if beside.is_file() else RESULTS / beside.name)["rows"], []
    for done, design in enumerate(DESIGNS):
        progress(f"wires: {design.name}", done, len(DESIGNS))
        structure = next(row["structure"] for row in table.values() if row["design"] == design.name)
        rows.append(_measure(design, structure, library, cache))
    write_artifact(path, SCHEMA, VERSION, {"library": library.name, "designs": rows}, {"library": library.sha256})
    return rows


def _measure(design: Design, structure: str, library: Library, cache: Path) -> dict:
    """What wires add to logic and registers, and distribution to clock pins, as shares of these."""
    candidate = next(one for one in candidates(design, library) if one.label == structure)
    component = candidate.build()
    module = mapped_module(candidate.rtlil(component), library, candidate.recipe, cache)
    netlist = netlist_of(module, library)
    run = SUM_LENGTH if design.organisation == "tree" else 1
    operands = synthetic(operand_kind(design.format), _CYCLES, run, design.rows, design.cols, STANDARD_ZEROS)
    tree = design.organisation == "tree"
    bench = array_bench(component, operands) if tree else lane_bench(component, operands, SUM_LENGTH)
    stimulus = np.concatenate([bench.inputs[port] for port in netlist.inputs], axis=1)
    warm_up = SUM_LENGTH + bench.latency
    pitch_um = np.sqrt(netlist.area / _UTILIZATION / netlist.cells)

    def simulated(wire_f: float) -> tuple[float, float, Activity]:
        """Energy of logic and registers, of clock pins, and the activity."""
        timing = analyse(netlist, wire_f)
        activity = simulate(netlist, timing, stimulus, warm_up)
        found = energy(netlist, timing, activity)
        return found.logic + found.registers, found.clock, activity

    bare, clock, activity = simulated(0.0)
    lengths = [donath_pitches(netlist.cells, rent) * pitch_um for rent in _RENT]
    wires = [simulated(length * _FARAD_PER_UM)[0] / bare - 1 for length in lengths]
    return {
        "design": design.name,
        "cells": netlist.cells,
        "flip_flops": len(netlist.flip_flops),
        "area_um2": netlist.area,
        "net_um": _ends(lengths),
        "wires_share": _ends(wires),  # of the energy of logic and registers
        "clock_share": _ends(_distribution(netlist, activity, clock)),  # of the energy of clock pins and gates
    }


def _clock_pin_f(cell: Cell) -> float:
    """Capacitance of a flip-flop's clock pin, F."""
    assert cell.flip_flop is not None  # netlists hold no other registers
    return cell.pins[cell.flip_flop.clock].capacitance


def _ends(values: Iterable[float]) -> dict[str, float]:
    """As JSON."""
    return dict(zip(Ends._fields, map(float, values), strict=True))


def _distribution(netlist: Netlist, activity: Activity, clock_j: float) -> Ends:
    """Wires and buffers of the clock over what its pins take."""
    v2 = netlist.library.voltage**2
    cycles = (activity.clock_rise.sum(axis=1) + activity.clock_fall.sum(axis=1)) / 2  # that reach each flip-flop
    pins = [_clock_pin_f(flop.cell) for flop in netlist.flip_flops]
    wire = clock_wire_f(len(netlist.flip_flops), netlist.area)
    load = float((cycles * (np.array(pins) + wire)).sum()) * v2
    wires = float(cycles.sum()) * wire * v2
    return Ends(*((wires + 2 * load / (fan_out - 1)) / clock_j for fan_out in _FAN_OUT))
