"""Numba kernel of the gate-level simulation: one clock cycle at a time, event by event on a timing wheel.

A driver is whatever drives a net: a gate, a flip-flop or a primary input, in this order in every array of drivers. It
has at most one pending change of its output. The timing wheel is a ring of slots; slot ``tick % slots`` holds the
drivers whose change is due at that tick as a circular doubly linked list: inserting and cancelling take constant time::

    slot <-> driver <-> driver <-> slot         an empty slot is its own neighbour

Times are ticks from the clock edge; a net's value and an edge (0 falling, 1 rising) are 0 or 1.
"""

from typing import NamedTuple

import numba
import numpy as np

__all__ = [
    "CLOCK_ALWAYS",
    "DRIVER",
    "FAN_OUT",
    "FLIP_FLOP",
    "LINK",
    "NOT_PENDING",
    "Circuit",
    "Counters",
    "State",
    "run",
]

CLOCK_ALWAYS = -1  # clock gate of a flip-flop on the root clock
NOT_PENDING = -1  # neighbour of a driver without a pending change

DRIVER = np.dtype(
    [
        ("truth", np.uint64),  # gate: bit s is the output in state s
        ("state", np.int32),  # gate: bit p is input p; otherwise 0
        ("inputs", np.int32),  # gate: how many; otherwise 0
        ("counted", np.int32),  # 1: transitions of the inputs are counted here, not at a cell's other output
        ("net", np.int32),  # that it drives
        ("count_at", np.int32),  # its first counter: see _counter
        ("delay_at", np.int32),  # its first delay: input 0 to a falling output, then to a rising one, then input 1
        ("cause", np.int32),  # of the pending change: the input that changed; 0 of other drivers
    ]
)
LINK = np.dtype([("before", np.int32), ("after", np.int32)])  # neighbours in a slot's list
FAN_OUT = np.dtype([("gate", np.int64), ("input", np.int64)])
FLIP_FLOP = np.dtype(
    [
        ("data", np.int64),  # net
        ("inverted", np.int64),  # 1: the output is the complement of what was taken
        ("clock", np.int64),  # clock gate, or CLOCK_ALWAYS
    ]
)


class Circuit(NamedTuple):
    """What does not change while the circuit runs."""

    gates: int  # drivers that are gates
    flip_flops: np.ndarray  # FLIP_FLOP
    input_nets: np.ndarray  # of the primary inputs
    output_nets: np.ndarray  # that are sampled
    enable_nets: np.ndarray  # of the clock gates
    fan_out: np.ndarray  # FAN_OUT, sorted by net
    fan_out_at: np.ndarray  # net n drives fan_out[fan_out_at[n] : fan_out_at[n + 1]]
    delays: np.ndarray  # ticks, from each driver's delay_at; all below the number of slots


class State(NamedTuple):
    """What a cycle leaves to the next."""

    values: np.ndarray  # uint8, by net
    drivers: np.ndarray  # DRIVER
    slots: int  # a power of two, more than any delay
    links: np.ndarray  # LINK of every slot, then of every driver
    clocked: np.ndarray  # uint8, by clock gate: 1 where the clock passes; last entry the root clock, always 1


class Counters(NamedTuple):
    """What happened: transitions and clock edges."""

    outputs: np.ndarray  # of each driver's output, by cause, state and edge: see _counter
    inputs: np.ndarray  # the same for each gate's inputs, by the input that changed, where counted
    clock_rise: np.ndarray  # (flip-flops, 4): rising clock edges by 2 * data + output
    clock_fall: np.ndarray  # the same for falling ones
    pulses: np.ndarray  # by clock gate: cycles in which the clock passed


@numba.njit(cache=True)
def run(  # pragma: no cover - compiled
    circuit: Circuit, state: State, counters: Counters, stimulus: np.ndarray, samples: np.ndarray
) -> int:
    """Run a cycle for each row of ``stimulus``, fill the rows of ``samples``; returns the longest cycle in ticks."""
    longest = 0
    for cycle in range(len(stimulus)):
        pending = _clock_edge(circuit, state, counters) + _change_inputs(circuit, state, stimulus[cycle])
        longest = max(longest, _settle(circuit, state, counters, pending))
        _count_falling_edge(circuit, state, counters)
        for place, net in enumerate(circuit.output_nets):
            samples[cycle, place] = state.values[net]
    return longest


@numba.njit(cache=True)
def _clock_edge(circuit: Circuit, state: State, counters: Counters) -> int:  # pragma: no cover - compiled
    """Give every flip-flop that is clocked its data; returns how many outputs will change."""
    values, drivers = state.values, state.drivers
    for gate, net in enumerate(circuit.enable_nets):
        state.clocked[gate] = values[net]
        counters.pulses[gate] += values[net]
    pending = 0
    for number, flop in enumerate(circuit.flip_flops):
        if state.clocked[flop["clock"]]:
            index = circuit.gates + number
            data, output = values[flop["data"]], values[drivers[index]["net"]]
            counters.clock_rise[number, 2 * data + output] += 1
            if data ^ flop["inverted"] != output:
                delay = circuit.delays[drivers[index]["delay_at"] + 1 - output]
                _insert(state.links, delay, state.slots + index)
                pending += 1
    return pending


@numba.njit(cache=True)
def _change_inputs(circuit: Circuit, state: State, row: np.ndarray) -> int:  # pragma: no cover - compiled
    """Let the primary inputs become ``row`` at tick 0, in their order; returns how many change."""
    first = circuit.gates + len(circuit.flip_flops)
    pending = 0
    for place in range(len(row) - 1, -1, -1):  # a slot's list is last in, first out
        if state.values[circuit.input_nets[place]] != row[place]:
            _insert(state.links, 0, state.slots + first + place)
            pending += 1
    return pending


@numba.njit(cache=True)
def _settle(circuit: Circuit, state: State, counters: Counters, pending: int) -> int:  # pragma: no cover - compiled
    """Let ``pending`` changes and all that follow from them happen; returns the ticks until the circuit is quiet."""
    values, drivers, links = state.values, state.drivers, state.links
    fan_out, fan_out_at, delays = circuit.fan_out, circuit.fan_out_at, circuit.delays
    outputs, inputs = counters.outputs, counters.inputs
    slots = state.slots
    now = 0
    while pending > 0:
        slot = now & (slots - 1)
        while links[slot]["after"] != slot:
            node = links[slot]["after"]
            _remove(links, node)
            pending -= 1
            source = drivers[node - slots]
            net = source["net"]
            value = values[net] ^ 1
            values[net] = value
            outputs[_counter(source, source["cause"], value)] += 1
            for place in range(fan_out_at[net], fan_out_at[net + 1]):
                index, pin = fan_out[place]["gate"], fan_out[place]["input"]
                gate = drivers[index]
                gate["state"] ^= 1 << pin
                if gate["counted"]:
                    inputs[_counter(gate, pin, value)] += 1
                wanted = _output(gate)
                is_pending = links[slots + index]["after"] != NOT_PENDING
                if wanted == values[gate["net"]]:
                    if is_pending:
                        _remove(links, slots + index)
                        pending -= 1
                elif not is_pending:
                    gate["cause"] = pin
                    due = now + delays[gate["delay_at"] + 2 * pin + wanted]
                    _insert(links, due & (slots - 1), slots + index)
                    pending += 1
        now += 1
    return now


@numba.njit(cache=True)
def _count_falling_edge(circuit: Circuit, state: State, counters: Counters) -> None:  # pragma: no cover - compiled
    for number, flop in enumerate(circuit.flip_flops):
        if state.clocked[flop["clock"]]:
            output = state.values[state.drivers[circuit.gates + number]["net"]]
            counters.clock_fall[number, 2 * state.values[flop["data"]] + output] += 1


@numba.njit(cache=True)
def _output(gate: np.void) -> int:  # pragma: no cover - compiled
    """A gate's output once its inputs have arrived."""
    return np.uint8((gate["truth"] >> np.uint64(gate["state"])) & np.uint64(1))


@numba.njit(cache=True)
def _counter(driver: np.void, cause: int, edge: int) -> int:  # pragma: no cover - compiled
    """Where a transition is counted: ``[cause, state, edge]`` of a driver's (inputs, states, 2) counters."""
    return driver["count_at"] + (((cause << driver["inputs"]) | driver["state"]) << 1) + edge


@numba.njit(cache=True)
def _insert(links: np.ndarray, slot: int, node: int) -> None:  # pragma: no cover - compiled
    """A driver's change becomes pending, the first of its slot."""
    first = links[slot]["after"]
    links[node]["before"] = slot
    links[node]["after"] = first
    links[first]["before"] = node
    links[slot]["after"] = node


@numba.njit(cache=True)
def _remove(links: np.ndarray, node: int) -> None:  # pragma: no cover - compiled
    """A driver's pending change happens or is cancelled."""
    before, after = links[node]["before"], links[node]["after"]
    links[before]["after"] = after
    links[after]["before"] = before
    links[node]["after"] = NOT_PENDING
