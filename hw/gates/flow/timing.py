"""Static timing over NLDM tables: worst arrival and slew of every net, critical path, and the delays of every gate.

Graph-based, as sign-off tools do by default: at a net the latest arrival and the slowest slew are kept for each edge.
Clock edges are ideal and sharp (``clock_slew``); nets have pin capacitance, plus a given wire capacitance per pin.
"""

from dataclasses import dataclass

import numpy as np

from hw.gates.flow.cell_choice import flip_flop_cells
from hw.gates.flow.cells import Library, TimingArc
from hw.gates.flow.netlist import FlipFlop, Gate, Netlist

__all__ = ["Timing", "analyse", "clock_slew"]

RISE, FALL = 1, 0  # an edge is named by the value that it ends at
_NEVER = -np.inf


@dataclass
class Timing:
    """Worst-case timing of a netlist, s.

    ``slew[net, edge]``, ``arrival[net, edge]`` with edge 1 = rise; ``gate_delays[g][position, edge]`` and
    ``flop_delays[f, edge]`` are mean delays over the states of an arc, for simulation; ``critical`` is the shortest
    clock period, setup included; ``path`` names the cells of the longest path, first to last.
    """

    loads: np.ndarray
    slew: np.ndarray
    arrival: np.ndarray
    gate_delays: list[np.ndarray]
    flop_delays: np.ndarray
    critical: float
    path: list[str]


def clock_slew(library: Library) -> float:
    """Slew of clock and primary inputs: the second point of the flip-flop's clock-to-output table, s."""
    flop = flip_flop_cells(library)[0]
    arc = next(arc for arc in flop.pins[flop.outputs[0]].timing if arc.kind == "rising_edge")
    table = arc.rise or arc.fall
    return table.slews[min(1, len(table.slews) - 1)]


def analyse(netlist: Netlist, wire_capacitance: float = 0.0) -> Timing:
    """Time ``netlist``; ``wire_capacitance`` in F is added for every driven pin."""
    loads = netlist.loads(wire_capacitance)
    sharp = clock_slew(netlist.library)
    slew = np.full((netlist.nets, 2), sharp)
    arrival = np.full((netlist.nets, 2), _NEVER)
    for nets in netlist.inputs.values():
        arrival[nets] = 0.0
    before: dict[tuple[int, int], tuple[int, int, str]] = {}
    flop_delays = np.zeros((len(netlist.flip_flops), 2))
    for f, flop in enumerate(netlist.flip_flops):
        for edge in (FALL, RISE):
            arcs = [
                arc
                for arc in flop.cell.pins[flop.output_pin].timing
                if arc.related == flop.cell.flip_flop.clock and arc.kind == "rising_edge" and _delay(arc, edge)
            ]
            delays = [_delay(arc, edge).at(sharp, loads[flop.output]) for arc in arcs]
            flop_delays[f, edge] = np.mean(delays)
            arrival[flop.output, edge] = max(delays)
            slew[flop.output, edge] = max(_slew(arc, edge).at(sharp, loads[flop.output]) for arc in arcs)
            before[flop.output, edge] = (-1, 0, flop.cell.name)
    gate_delays: list[np.ndarray] = [np.empty(0)] * len(netlist.gates)
    outputs = _cell_outputs(netlist)
    for g in netlist.order():
        gate_delays[g] = _time_gate(netlist.gates[g], outputs[g], loads, slew, arrival, before)
    critical, end = _endpoints(netlist, slew, arrival, sharp)
    return Timing(loads, slew, arrival, gate_delays, flop_delays, critical, _trace(end, before))


def _delay(arc: TimingArc, edge: int):
    return arc.rise if edge == RISE else arc.fall


def _slew(arc: TimingArc, edge: int):
    return arc.rise_slew if edge == RISE else arc.fall_slew


def _causes(arc: TimingArc, edge: int) -> tuple[int, ...]:
    """Input edges that can cause an output edge."""
    return {"positive_unate": (edge,), "negative_unate": (1 - edge,)}.get(arc.sense, (FALL, RISE))


def _cell_outputs(netlist: Netlist) -> list[dict[str, int]]:
    """For each gate the nets of all outputs of its cell, by pin."""
    outputs: list[dict[str, int]] = []
    for gate in netlist.gates:
        outputs.append({} if gate.first else outputs[-1])
        outputs[-1][gate.pin] = gate.output
    return outputs


def _time_gate(
    gate: Gate, outputs: dict[str, int], loads: np.ndarray, slew: np.ndarray, arrival: np.ndarray, before: dict
) -> np.ndarray:
    """Worst arrival and slew at the output, written in place; the mean delay of each input and output edge.

    Some adders have an arc from one output to the next: its load delays the other, which counts for the arrival only.
    """
    load = loads[gate.output]
    delays = np.zeros((len(gate.inputs), 2))
    worst_slew = [0.0, 0.0]
    sources = list(zip(gate.cell.inputs, gate.inputs, strict=True))
    for position, (name, net) in enumerate([*sources, *outputs.items()]):
        arcs = [arc for arc in gate.cell.pins[gate.pin].timing if arc.related == name]
        for edge in (FALL, RISE):
            found = []
            for arc in arcs:
                table = _delay(arc, edge)
                for cause in _causes(arc, edge) if table else ():
                    delay = table.at(slew[net, cause], load)
                    found.append(delay)
                    if arrival[net, cause] == _NEVER:
                        continue
                    worst_slew[edge] = max(worst_slew[edge], _slew(arc, edge).at(slew[net, cause], load))
                    if arrival[net, cause] + delay > arrival[gate.output, edge]:
                        arrival[gate.output, edge] = arrival[net, cause] + delay
                        before[gate.output, edge] = (net, cause, gate.cell.name)
            if position < len(sources):
                delays[position, edge] = sum(found) / len(found) if found else 0.0
    for edge in (FALL, RISE):
        if worst_slew[edge] > 0.0:
            slew[gate.output, edge] = worst_slew[edge]
    return delays


def _setup(flop: FlipFlop, edge: int, data_slew: float, sharp: float) -> float:
    arcs = [arc for arc in flop.cell.pins[flop.data_pin].timing if arc.kind == "setup_rising" and _delay(arc, edge)]
    return max((_delay(arc, edge).at(data_slew, sharp) for arc in arcs), default=0.0)


def _endpoints(netlist: Netlist, slew: np.ndarray, arrival: np.ndarray, sharp: float) -> tuple[float, tuple[int, int]]:
    """The largest arrival plus setup over flip-flops, clock gates and outputs, and where it ends."""
    ends = [
        (arrival[flop.data, edge] + _setup(flop, edge, slew[flop.data, edge], sharp), (flop.data, edge))
        for flop in netlist.flip_flops
        for edge in (FALL, RISE)
    ]
    others = [item.enable for item in netlist.clock_gates] + [net for nets in netlist.outputs.values() for net in nets]
    ends += [(arrival[net, edge], (net, edge)) for net in others for edge in (FALL, RISE)]
    worst, end = max(ends, default=(0.0, (0, 0)))
    return max(float(worst), 0.0), end


def _trace(end: tuple[int, int], before: dict) -> list[str]:
    """Cells along the path that ends at ``end``."""
    path = []
    while end in before:
        net, edge, name = before[end]
        path.append(name)
        end = (net, edge)
    return path[::-1]
