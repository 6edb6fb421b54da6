"""Energy of a simulated netlist: 1/2 C V^2 of every transition, internal energy per arc and state, clock pins, leakage.

Liberty's ``internal_power`` is what a cell takes beyond the charging of its load: of an output arc per transition, of
an input pin per transition of that pin. Where a library splits an arc by supply (ASAP7: VDD and VSS) the parts are
summed.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache

import numpy as np

from hw.gates.flow.cells import Cell, PowerArc, Table
from hw.gates.flow.event_simulation import Activity
from hw.gates.flow.logic import names_in, truth_table
from hw.gates.flow.netlist import Netlist
from hw.gates.flow.timing import Timing, clock_slew

__all__ = ["Energy", "energy", "inactive_levels", "net_edges"]


@dataclass(frozen=True)
class Energy:
    """J over the counted cycles, and W.

    ``logic``: gates, with the nets they drive; ``registers``: outputs of flip-flops, their nets and data pins, and the
    primary inputs; ``clock``: clock pins of flip-flops and whole clock gates; ``leakage_w``: power at rest.
    """

    logic: float
    registers: float
    clock: float
    leakage_w: float

    @property
    def dynamic(self) -> float:
        """Everything but leakage, J."""
        return self.logic + self.registers + self.clock


def energy(netlist: Netlist, timing: Timing, activity: Activity) -> Energy:
    """Energy of the counted cycles of ``activity``."""
    half_v2 = 0.5 * netlist.library.voltage**2
    slew = timing.slew.mean(axis=1)
    logic = sum(
        counts.sum() * timing.loads[g.output] for g, counts in zip(netlist.gates, activity.gate_counts, strict=True)
    )
    logic = logic * half_v2 + _gates_internal(netlist, timing, activity, slew)
    flop_loads = np.array([timing.loads[flop.output] for flop in netlist.flip_flops])
    input_nets = [net for nets in netlist.inputs.values() for net in nets]
    registers = half_v2 * float((activity.flop_counts.sum(axis=1) * flop_loads).sum() if len(flop_loads) else 0.0)
    registers += half_v2 * float((activity.input_toggles * timing.loads[input_nets]).sum())
    registers += _flops_internal(netlist, timing, activity, slew)
    return Energy(float(logic), registers, _clock(netlist, activity), netlist.leakage)


def _gates_internal(netlist: Netlist, timing: Timing, activity: Activity, slew: np.ndarray) -> float:
    """Internal energy of output arcs and of input pins, cell type by cell type."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, gate in enumerate(netlist.gates):
        members[gate.cell.name, gate.pin].append(index)
    total = 0.0
    for (name, pin), indices in members.items():
        cell = netlist.library.cells[name]
        gates = [netlist.gates[i] for i in indices]
        outputs = np.stack([activity.gate_counts[i] for i in indices])  # (gates, inputs, states, edges)
        inputs = np.stack([activity.input_counts[i] for i in indices])
        loads = timing.loads[[gate.output for gate in gates]]
        for position, related in enumerate(cell.inputs):
            slews = slew[[gate.inputs[position] for gate in gates]]
            arcs = tuple(arc for arc in cell.pins[pin].power if arc.related.split() in ([related], []))
            total += _weighted(cell, arcs, outputs[:, position], slews, loads)
            own = tuple(arc for arc in cell.pins[related].power if not arc.related)
            total += _weighted(cell, own, inputs[:, position], slews, loads)
    return total


def _weighted(
    cell: Cell, arcs: tuple[PowerArc, ...], counts: np.ndarray, slews: np.ndarray, loads: np.ndarray
) -> float:
    """Energy of transitions ``counts[gate, state, edge]`` through the arcs whose condition each state meets."""
    if not arcs or not counts.any():
        return 0.0
    total = 0.0
    for edge in (0, 1):
        shares = _shares(cell, arcs, edge)  # (states, arcs)
        through = counts[:, :, edge] @ shares  # (gates, arcs)
        for a, arc in enumerate(arcs):
            if through[:, a].any():
                total += float((through[:, a] * _table(arc, edge).at_each(slews, loads)).sum())
    return total


def _table(arc: PowerArc, edge: int) -> Table:
    return arc.rise if edge else arc.fall


@cache
def _shares(cell: Cell, arcs: tuple[PowerArc, ...], edge: int) -> np.ndarray:
    """``(states of the inputs, arcs)``: how much of a transition in a state goes through each arc.

    Per supply: the arcs whose ``when`` holds, in equal parts; else those without ``when``; else nothing.
    """
    names = cell.inputs
    functions = {pin: cell.pins[pin].function for pin in cell.outputs}
    shares = np.zeros((1 << len(names), len(arcs)))
    conditions = [_condition(arc.when, names, functions) for arc in arcs]
    for supply in {arc.supply for arc in arcs}:
        mine = [a for a, arc in enumerate(arcs) if arc.supply == supply and _table(arc, edge) is not None]
        for state in range(1 << len(names)):
            chosen = [a for a in mine if arcs[a].when and conditions[a] >> state & 1]
            chosen = chosen or [a for a in mine if not arcs[a].when]
            for a in chosen:
                shares[state, a] = 1 / len(chosen)
    return shares


def _condition(when: str, names: list[str], functions: dict[str, str]) -> int:
    """Truth table of ``when`` over the inputs, outputs replaced by their functions."""
    if not when:
        return (1 << (1 << len(names))) - 1
    extended = truth_table(when, names + list(functions))
    tables = [truth_table(function, names) for function in functions.values()]
    result = 0
    for state in range(1 << len(names)):
        full = state | sum((table >> state & 1) << (len(names) + i) for i, table in enumerate(tables))
        result |= (extended >> full & 1) << state
    return result


def _flops_internal(netlist: Netlist, timing: Timing, activity: Activity, slew: np.ndarray) -> float:
    """Output arcs of flip-flops, and their data pins: the clock's level is unknown there: mean of its states."""
    sharp = clock_slew(netlist.library)
    toggles = net_edges(netlist, activity)
    total = 0.0
    for index, flop in enumerate(netlist.flip_flops):
        load = timing.loads[flop.output]
        for edge in (0, 1):
            outs = [
                arc for arc in flop.cell.pins[flop.output_pin].power if arc.related in (flop.cell.flip_flop.clock, "")
            ]
            total += activity.flop_counts[index, edge] * _mean_energy(outs, edge, sharp, load)
            data = [arc for arc in flop.cell.pins[flop.data_pin].power if not arc.related]
            total += toggles[flop.data, edge] * _mean_energy(data, edge, slew[flop.data], 0.0)
    return float(total)


def _mean_energy(arcs: list[PowerArc], edge: int, slew: float, load: float) -> float:
    """Mean over the conditions, summed over the supplies."""
    by_supply: dict[str, list[float]] = defaultdict(list)
    for arc in arcs:
        if (table := _table(arc, edge)) is not None:
            by_supply[arc.supply].append(table.at(slew, load))
    return sum(sum(values) / len(values) for values in by_supply.values())


def net_edges(netlist: Netlist, activity: Activity) -> np.ndarray:
    """Transitions of each net, ``(nets, 2)``; primary inputs rise and fall alike."""
    edges = np.zeros((netlist.nets, 2))
    for gate, counts in zip(netlist.gates, activity.gate_counts, strict=True):
        edges[gate.output] += counts.sum(axis=(0, 1))
    for flop, counts in zip(netlist.flip_flops, activity.flop_counts, strict=True):
        edges[flop.output] += counts
    nets = [net for port in netlist.inputs.values() for net in port]
    edges[nets] += activity.input_toggles[:, None] / 2
    return edges


def _clock(netlist: Netlist, activity: Activity) -> float:
    """Clock pins: both edges of C V^2 / 2 and internal energy by the state of the flip-flop; clock gates."""
    half_v2 = 0.5 * netlist.library.voltage**2
    sharp = clock_slew(netlist.library)
    total = 0.0
    gated_load = np.zeros(len(netlist.clock_gates))
    for index, flop in enumerate(netlist.flip_flops):
        clock = flop.cell.pins[flop.cell.flip_flop.clock]
        edges = activity.clock_rise[index], activity.clock_fall[index]
        if flop.clock is not None:
            gated_load[flop.clock] += clock.capacitance
        total += half_v2 * clock.capacitance * float(edges[0].sum() + edges[1].sum())
        rise, fall = _clock_pin_energy(flop.cell, flop.data_pin, flop.output_pin, sharp)
        total += float(edges[0] @ rise + edges[1] @ fall)
    for index, item in enumerate(netlist.clock_gates):
        total += _clock_gate(item.cell, activity.cycles, int(activity.pulses[index]), gated_load[index], sharp, half_v2)
    return total


@cache
def _clock_pin_energy(cell: Cell, data: str, output: str, sharp: float) -> tuple[np.ndarray, np.ndarray]:
    """Internal energy of the clock pin's rise and fall in state ``2 * data + output``, J."""
    clock = cell.flip_flop.clock
    others = [name for name in cell.inputs if name not in (data, clock)]
    inactive = inactive_levels(cell, others)
    names = [output, data, clock, *others, *(p for p in cell.outputs if p != output)]
    result = []
    for edge in (1, 0):
        energies = np.zeros(4)
        for state in range(4):
            full = state | edge << 2 | sum(inactive[name] << (3 + i) for i, name in enumerate(others))
            full |= sum((1 - (state & 1)) << (3 + len(others) + i) for i in range(len(cell.outputs) - 1))
            energies[state] = _state_energy(cell.pins[clock].power, names, full, edge, sharp)
        result.append(energies)
    return result[0], result[1]


def _state_energy(arcs: tuple[PowerArc, ...], names: list[str], state: int, edge: int, slew: float) -> float:
    """Energy of one transition of an input pin in a given state, summed over supplies."""
    either = 1 << 2  # a ``when`` of a clock pin may leave the clock out or name either level
    total = 0.0
    for supply in {arc.supply for arc in arcs}:
        mine = [arc for arc in arcs if arc.supply == supply and not arc.related and _table(arc, edge) is not None]
        chosen = [
            arc
            for arc in mine
            if arc.when and any(truth_table(arc.when, names) >> s & 1 for s in (state, state ^ either))
        ]
        chosen = chosen or [arc for arc in mine if not arc.when]
        if chosen:
            total += sum(_table(arc, edge).at(slew, 0.0) for arc in chosen) / len(chosen)
    return total


def inactive_levels(cell: Cell, pins: list[str]) -> dict[str, int]:
    """The level of each asynchronous pin that neither clears nor sets."""
    levels = {}
    for pin in pins:
        expression = next((text for text in (cell.flip_flop.clear, cell.flip_flop.preset) if pin in names_in(text)), "")
        levels[pin] = 1 if expression and truth_table(expression, [pin]) == 0b01 else 0
    return levels


def _clock_gate(cell: Cell, cycles: int, pulses: int, load: float, sharp: float, half_v2: float) -> float:
    """Clock pin in every cycle, gated clock with its load in the cycles that pass."""
    clock = next(pin for pin in cell.pins.values() if pin.gating == "clock")
    out = next(pin for pin in cell.pins.values() if pin.gating == "out")
    own = [arc for arc in clock.power if not arc.related]
    arcs = [arc for arc in out.power if arc.related in (clock.name, "")]
    per_cycle = 2 * half_v2 * clock.capacitance + sum(_mean_energy(own, edge, sharp, 0.0) for edge in (0, 1))
    per_pulse = sum(_mean_energy(arcs, edge, sharp, load) for edge in (0, 1))
    return cycles * per_cycle + pulses * per_pulse
