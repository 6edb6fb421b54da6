"""Glitch-aware gate-level simulation: event-driven, inertial delays per arc and edge, transitions counted per state.

Each clock cycle runs until the circuit is quiet. A gate has at most one pending output change; an input change that
restores the present output cancels it (inertial), so pulses shorter than a gate's delay vanish as they do in silicon.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hw.gates.flow.event_kernel import (
    CLOCK_ALWAYS,
    DRIVER,
    FAN_OUT,
    FLIP_FLOP,
    LINK,
    NOT_PENDING,
    Circuit,
    Counters,
    State,
    run,
)
from hw.gates.flow.netlist import CONST_1, Netlist
from hw.gates.flow.timing import Timing

__all__ = ["Activity", "simulate"]

_TICKS_PER_DELAY = 64  # resolution: ticks in the median gate delay
_MAX_DELAY_TICKS = 1 << 16


@dataclass
class Activity:
    """What happened in the counted cycles.

    ``samples[cycle, bit]``: outputs, ports in the netlist's order, settled at the end of every cycle (warm-up too).
    ``gate_counts[g]``: int32 ``(inputs, states, 2)``, output transitions of gate g by the input that caused it, the
    state of its inputs and the edge. ``input_counts[g]``: the same for transitions of the input pins themselves (zero
    for the second output of a cell). ``flop_counts[f, edge]``: output transitions.
    ``clock_rise[f, 2 * data + output]`` and ``clock_fall``: clock edges by the flip-flop's state. ``pulses[c]``: cycles
    in which clock gate c let the clock through. ``input_toggles[bit]``: transitions of the primary inputs. ``settle``:
    the longest cycle, s.
    """

    cycles: int
    samples: np.ndarray
    gate_counts: list[np.ndarray]
    input_counts: list[np.ndarray]
    flop_counts: np.ndarray
    clock_rise: np.ndarray
    clock_fall: np.ndarray
    pulses: np.ndarray
    input_toggles: np.ndarray
    settle: float


def simulate(netlist: Netlist, timing: Timing, stimulus: np.ndarray, warm_up: int) -> Activity:
    """Clock the netlist once per row of ``stimulus`` (uint8 ``(cycles, input bits)``, ports in the netlist's order).

    Row c stands at the inputs after edge c, so registers take it at edge c + 1. The first ``warm_up`` cycles are run
    but not counted.
    """
    tick = _tick(timing)
    circuit, drivers = _circuit(netlist, timing, tick), _drivers(netlist)
    state = _settled(netlist, circuit, drivers)
    samples = np.zeros((len(stimulus), len(circuit.output_nets)), dtype=np.uint8)
    stimulus = np.ascontiguousarray(stimulus, dtype=np.uint8)
    counters = _counters(netlist)
    longest = max(
        run(circuit, state, _counters(netlist), stimulus[:warm_up], samples[:warm_up]),
        run(circuit, state, counters, stimulus[warm_up:], samples[warm_up:]),
    )
    flops_at, inputs_at = len(netlist.gates), len(netlist.gates) + len(netlist.flip_flops)
    outputs = np.split(counters.outputs, drivers["count_at"][1:])
    inputs = np.split(counters.inputs, drivers["count_at"][1:])
    return Activity(
        cycles=len(stimulus) - warm_up,
        samples=samples,
        gate_counts=_by_gate(netlist, outputs),
        input_counts=_by_gate(netlist, inputs),
        flop_counts=np.array(outputs[flops_at:inputs_at], dtype=np.int64).reshape(-1, 2),
        clock_rise=counters.clock_rise,
        clock_fall=counters.clock_fall,
        pulses=counters.pulses,
        input_toggles=np.array([edges.sum() for edges in outputs[inputs_at:]], dtype=np.int64),
        settle=longest * tick,
    )


def _by_gate(netlist: Netlist, blocks: list[np.ndarray]) -> list[np.ndarray]:
    """The counters of the gates, the first of all drivers, in their shapes."""
    sizes = [len(gate.inputs) for gate in netlist.gates]
    return [block.reshape(size, 1 << size, 2) for block, size in zip(blocks, sizes, strict=False)]


def _tick(timing: Timing) -> float:
    """Seconds of a tick: a fixed part of the median gate delay."""
    delays = [delay for block in timing.gate_delays for delay in block.ravel() if delay > 0]
    return float(np.median(delays)) / _TICKS_PER_DELAY if delays else 1e-12


def _delays(timing: Timing, tick: float) -> np.ndarray:
    """Ticks of every gate's inputs and both edges, then of the flip-flops."""
    blocks = [*(block.ravel() for block in timing.gate_delays), timing.flop_delays.ravel()]
    return np.clip(np.rint(np.concatenate(blocks) / tick), 1, _MAX_DELAY_TICKS).astype(np.int64)


def _circuit(netlist: Netlist, timing: Timing, tick: float) -> Circuit:
    flops = np.zeros(len(netlist.flip_flops), FLIP_FLOP)
    flops["data"] = [flop.data for flop in netlist.flip_flops]
    flops["inverted"] = [flop.inverted for flop in netlist.flip_flops]
    flops["clock"] = [CLOCK_ALWAYS if flop.clock is None else flop.clock for flop in netlist.flip_flops]
    fan_out, fan_out_at = _fan_out(netlist)
    return Circuit(
        gates=len(netlist.gates),
        flip_flops=flops,
        input_nets=_nets(net for nets in netlist.inputs.values() for net in nets),
        output_nets=_nets(net for nets in netlist.outputs.values() for net in nets),
        enable_nets=_nets(gate.enable for gate in netlist.clock_gates),
        fan_out=fan_out,
        fan_out_at=fan_out_at,
        delays=_delays(timing, tick),
    )


def _drivers(netlist: Netlist) -> np.ndarray:
    """Gates, flip-flops and primary inputs, nothing pending."""
    others = [*(flop.output for flop in netlist.flip_flops), *(net for nets in netlist.inputs.values() for net in nets)]
    drivers = np.zeros(len(netlist.gates) + len(others), DRIVER)
    gates, sizes = drivers[: len(netlist.gates)], [len(gate.inputs) for gate in netlist.gates]
    gates["truth"] = np.array([gate.truth for gate in netlist.gates], dtype=np.uint64)
    gates["inputs"] = sizes
    gates["counted"] = [gate.first for gate in netlist.gates]
    drivers["net"] = [*(gate.output for gate in netlist.gates), *others]
    drivers["count_at"] = np.cumsum([0, *map(_counters_of, sizes), *[2] * len(others)])[:-1]
    drivers["delay_at"] = np.cumsum([0, *(2 * size for size in sizes), *[2] * len(others)])[:-1]
    return drivers


def _settled(netlist: Netlist, circuit: Circuit, drivers: np.ndarray) -> State:
    """The circuit at rest with all inputs and flip-flops 0, and a wheel that no delay goes round."""
    values = np.zeros(netlist.nets, dtype=np.uint8)
    values[CONST_1] = 1
    for index in netlist.order():
        gate = netlist.gates[index]
        state = sum(int(values[net]) << pin for pin, net in enumerate(gate.inputs))
        drivers[index]["state"] = state
        values[gate.output] = gate.truth >> state & 1
    slots = 1 << int(circuit.delays.max(initial=1) + 2).bit_length()
    links = np.full(slots + len(drivers), NOT_PENDING, dtype=LINK)
    links[:slots]["before"] = links[:slots]["after"] = np.arange(slots)
    return State(
        values=values,
        drivers=drivers,
        slots=slots,
        links=links,
        clocked=np.ones(len(netlist.clock_gates) + 1, dtype=np.uint8),
    )


def _counters(netlist: Netlist) -> Counters:
    flops, inputs = len(netlist.flip_flops), sum(len(nets) for nets in netlist.inputs.values())
    counts = sum(_counters_of(len(gate.inputs)) for gate in netlist.gates) + 2 * (flops + inputs)
    return Counters(
        outputs=np.zeros(counts, dtype=np.int32),
        inputs=np.zeros(counts, dtype=np.int32),
        clock_rise=np.zeros((flops, 4), dtype=np.int64),
        clock_fall=np.zeros((flops, 4), dtype=np.int64),
        pulses=np.zeros(len(netlist.clock_gates), dtype=np.int64),
    )


def _counters_of(inputs: int) -> int:
    """Counters of a gate: by input, state and edge."""
    return inputs * 2**inputs * 2


def _fan_out(netlist: Netlist) -> tuple[np.ndarray, np.ndarray]:
    """Every gate input by the net that it hangs on, and where each net's inputs begin."""
    pins = [(net, index, pin) for index, gate in enumerate(netlist.gates) for pin, net in enumerate(gate.inputs)]
    table = np.array(pins, dtype=np.int64).reshape(-1, 3)
    table = table[np.argsort(table[:, 0], kind="stable")]
    fan_out = np.zeros(len(table), FAN_OUT)
    fan_out["gate"], fan_out["input"] = table[:, 1], table[:, 2]
    return fan_out, np.searchsorted(table[:, 0], np.arange(netlist.nets + 1)).astype(np.int64)


def _nets(nets: Iterable[int]) -> np.ndarray:
    return np.fromiter(nets, dtype=np.int64)
