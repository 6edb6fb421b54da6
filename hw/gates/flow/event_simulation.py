"""Glitch-aware gate-level simulation: event-driven, inertial delays per arc and edge, transitions counted per state.

Each clock cycle runs until the circuit is quiet. A gate has at most one pending output change; an input change that
restores the present output cancels it (inertial), so pulses shorter than a gate's delay vanish as they do in silicon.
"""

from dataclasses import dataclass

import numba
import numpy as np

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
    gates, flops = netlist.gates, netlist.flip_flops
    delays = [delay for block in timing.gate_delays for delay in block.ravel() if delay > 0]
    tick = float(np.median(delays)) / _TICKS_PER_DELAY if delays else 1e-12
    sizes = np.array([len(gate.inputs) for gate in gates], dtype=np.int64)
    entries = sizes * (1 << sizes) * 2
    count_at = np.concatenate([[0], np.cumsum(entries)]).astype(np.int64)
    counts = np.zeros(count_at[-1], dtype=np.int32)
    input_counts = np.zeros(count_at[-1], dtype=np.int32)
    delay_at = np.concatenate([[0], np.cumsum(2 * sizes)]).astype(np.int64)
    flat = np.concatenate([block.ravel() for block in timing.gate_delays] or [np.zeros(0)])
    gate_ticks = _ticks(flat, tick)
    flop_ticks = _ticks(timing.flop_delays, tick)
    wheel = 1 << int(max(gate_ticks.max(initial=1), flop_ticks.max(initial=1)) + 2).bit_length()
    fan_at, fan_gate, fan_position = _fan_out(netlist)
    input_nets = np.array([net for nets in netlist.inputs.values() for net in nets], dtype=np.int64)
    output_nets = np.array([net for nets in netlist.outputs.values() for net in nets], dtype=np.int64)
    samples = np.zeros((len(stimulus), len(output_nets)), dtype=np.uint8)
    flop_counts = np.zeros((len(flops), 2), dtype=np.int64)
    clock_rise, clock_fall = np.zeros((len(flops), 4), dtype=np.int64), np.zeros((len(flops), 4), dtype=np.int64)
    pulses = np.zeros(max(len(netlist.clock_gates), 1), dtype=np.int64)
    input_toggles = np.zeros(len(input_nets), dtype=np.int64)
    longest = _run(
        np.ascontiguousarray(stimulus, dtype=np.uint8),
        warm_up,
        input_nets,
        output_nets,
        samples,
        netlist.nets,
        np.array(netlist.order(), dtype=np.int64),
        np.array([gate.truth for gate in gates], dtype=np.uint64),
        sizes,
        np.array([net for gate in gates for net in gate.inputs], dtype=np.int64),
        delay_at // 2,
        np.array([gate.output for gate in gates] + [flop.output for flop in flops], dtype=np.int64),
        np.array([gate.first for gate in gates], dtype=np.uint8),
        fan_at,
        fan_gate,
        fan_position,
        delay_at,
        gate_ticks,
        count_at,
        counts,
        input_counts,
        np.array([flop.data for flop in flops], dtype=np.int64),
        np.array([flop.inverted for flop in flops], dtype=np.uint8),
        np.array([-1 if flop.clock is None else flop.clock for flop in flops], dtype=np.int64),
        flop_ticks,
        np.array([item.enable for item in netlist.clock_gates], dtype=np.int64),
        flop_counts,
        clock_rise,
        clock_fall,
        pulses,
        input_toggles,
        wheel,
    )
    shapes = [(int(n), 1 << int(n), 2) for n in sizes]
    blocks = [counts[a:b].reshape(shape) for a, b, shape in zip(count_at[:-1], count_at[1:], shapes, strict=True)]
    inputs = [input_counts[a:b].reshape(shape) for a, b, shape in zip(count_at[:-1], count_at[1:], shapes, strict=True)]
    return Activity(
        cycles=len(stimulus) - warm_up,
        samples=samples,
        gate_counts=blocks,
        input_counts=inputs,
        flop_counts=flop_counts,
        clock_rise=clock_rise,
        clock_fall=clock_fall,
        pulses=pulses[: len(netlist.clock_gates)],
        input_toggles=input_toggles,
        settle=longest * tick,
    )


def _ticks(delays: np.ndarray, tick: float) -> np.ndarray:
    return np.clip(np.rint(delays / tick), 1, _MAX_DELAY_TICKS).astype(np.int64)


def _fan_out(netlist: Netlist) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compressed rows: net -> (gate, input position)."""
    pairs = [(net, g, p) for g, gate in enumerate(netlist.gates) for p, net in enumerate(gate.inputs)]
    table = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    table = table[np.argsort(table[:, 0], kind="stable")]
    starts = np.searchsorted(table[:, 0], np.arange(netlist.nets + 1)).astype(np.int64)
    return starts, np.ascontiguousarray(table[:, 1]), np.ascontiguousarray(table[:, 2])


@numba.njit(cache=True)
def _run(  # pragma: no cover - compiled
    stimulus,
    warm_up,
    input_nets,
    output_nets,
    samples,
    nets,
    order,
    truth,
    sizes,
    gate_inputs,
    input_at,
    output_of,
    first,
    fan_at,
    fan_gate,
    fan_position,
    delay_at,
    delays,
    count_at,
    counts,
    input_counts,
    flop_data,
    flop_inverted,
    flop_clock,
    flop_ticks,
    enable_nets,
    flop_counts,
    clock_rise,
    clock_fall,
    pulses,
    input_toggles,
    wheel,
):
    """The event loop; returns the longest cycle in ticks."""
    n_gates = len(sizes)
    n_flops = len(flop_data)
    values = np.zeros(nets, dtype=np.uint8)
    values[CONST_1] = 1
    state = np.zeros(n_gates, dtype=np.int64)
    for g in order:
        s = 0
        for p in range(sizes[g]):
            s |= np.int64(values[gate_inputs[input_at[g] + p]]) << p
        state[g] = s
        values[output_of[g]] = (truth[g] >> np.uint64(s)) & np.uint64(1)
    head = np.full(wheel, -1, dtype=np.int64)
    after = np.full(n_gates + n_flops, -1, dtype=np.int64)
    ahead = np.full(n_gates + n_flops, -1, dtype=np.int64)
    slot = np.full(n_gates + n_flops, -1, dtype=np.int64)  # the wheel slot of a pending change
    cause = np.zeros(n_gates + n_flops, dtype=np.int64)
    changed = np.zeros(max(len(input_nets), 1), dtype=np.int64)
    clocked = np.ones(len(enable_nets) + 1, dtype=np.uint8)  # last entry: the root clock
    mask = wheel - 1
    longest = 0
    for cycle in range(len(stimulus)):
        counting = cycle >= warm_up
        pending = 0
        for c in range(len(enable_nets)):
            clocked[c] = values[enable_nets[c]]
            if counting:
                pulses[c] += clocked[c]
        for f in range(n_flops):
            if clocked[flop_clock[f]] == 0:
                continue
            data = values[flop_data[f]]
            present = values[output_of[n_gates + f]]
            if counting:
                clock_rise[f, 2 * data + present] += 1
            if data ^ flop_inverted[f] != present:
                e = n_gates + f
                t = flop_ticks[f, 1 - present]
                slot[e] = t & mask
                ahead[e] = -1
                after[e] = head[slot[e]]
                if after[e] >= 0:
                    ahead[after[e]] = e
                head[slot[e]] = e
                pending += 1
        n_changed = 0
        for i in range(len(input_nets)):
            if values[input_nets[i]] != stimulus[cycle, i]:
                changed[n_changed] = i
                n_changed += 1
        now = 0
        next_change = 0
        while pending > 0 or next_change < n_changed:
            here = now & mask
            while next_change < n_changed or head[here] >= 0:
                if next_change < n_changed:
                    i = changed[next_change]
                    next_change += 1
                    net = input_nets[i]
                    value = 1 - values[net]
                    if counting:
                        input_toggles[i] += 1
                else:
                    e = head[here]
                    head[here] = after[e]
                    if after[e] >= 0:
                        ahead[after[e]] = -1
                    slot[e] = -1
                    pending -= 1
                    net = output_of[e]
                    value = 1 - values[net]
                    if counting:
                        if e < n_gates:
                            counts[count_at[e] + (((cause[e] << sizes[e]) | state[e]) << 1) + value] += 1
                        else:
                            flop_counts[e - n_gates, value] += 1
                values[net] = value
                for k in range(fan_at[net], fan_at[net + 1]):
                    g = fan_gate[k]
                    p = fan_position[k]
                    state[g] ^= 1 << p
                    if counting and first[g]:
                        input_counts[count_at[g] + (((p << sizes[g]) | state[g]) << 1) + value] += 1
                    wanted = np.uint8((truth[g] >> np.uint64(state[g])) & np.uint64(1))
                    if wanted == values[output_of[g]]:
                        if slot[g] >= 0:
                            if ahead[g] >= 0:
                                after[ahead[g]] = after[g]
                            else:
                                head[slot[g]] = after[g]
                            if after[g] >= 0:
                                ahead[after[g]] = ahead[g]
                            slot[g] = -1
                            pending -= 1
                    elif slot[g] < 0:
                        slot[g] = (now + delays[delay_at[g] + 2 * p + wanted]) & mask
                        cause[g] = p
                        ahead[g] = -1
                        after[g] = head[slot[g]]
                        if after[g] >= 0:
                            ahead[after[g]] = g
                        head[slot[g]] = g
                        pending += 1
            now += 1
        longest = max(longest, now)
        for f in range(n_flops):
            if counting and clocked[flop_clock[f]]:
                clock_fall[f, 2 * values[flop_data[f]] + values[output_of[n_gates + f]]] += 1
        for o in range(len(output_nets)):
            samples[cycle, o] = values[output_nets[o]]
    return longest
