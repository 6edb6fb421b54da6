"""Timeline of a run in Chrome's trace format, for Perfetto: what each unit does in prefill and in one decode step.

Ref: "Trace Event Format" of Chromium's catapult project, complete events ("ph": "X", times in microseconds).
"""

import json
from pathlib import Path

from hw.artifact import write_text
from sim.result import OpResult, PhaseResult, SimResult

__all__ = ["timeline_events", "write_timeline"]

_TRACKS = ("ops", "array", "weight bus", "vector unit", "DRAM")
_PER_LAYER_FIRST = "attention_norm"  # the first and last op of a decoder layer
_PER_LAYER_LAST = "mlp_residual"


def timeline_events(result: SimResult) -> list[dict]:
    """Events of every phase's first step, its layers expanded; one process per phase, one thread per unit.

    An op is one event on the track ``ops``; on a unit's track its event is as long as the unit is busy in it, drawn
    from the op's start. Steps of decode differ only in the length of their context; here is their mean.
    """
    events: list[dict] = []
    for process, phase in enumerate(result.phases, start=1):
        events.append(_name("process_name", process, 0, f"{phase.name} of {result.model} on {result.array.name}"))
        events += [_name("thread_name", process, thread, track) for thread, track in enumerate(_TRACKS, start=1)]
        clock_us = 0.0
        for op, layer in _one_step(phase, result.shape.layers):
            executions = op.count
            busy_us = {track: cycles * 1e6 / result.array.clock_hz for track, cycles in _busy(op, result).items()}
            for thread, track in enumerate(_TRACKS, start=1):
                duration_us = busy_us[track] / executions
                if duration_us > 0:
                    events.append(
                        {
                            "name": op.name,
                            "cat": op.unit,
                            "ph": "X",
                            "ts": clock_us,
                            "dur": duration_us,
                            "pid": process,
                            "tid": thread,
                            "args": {"layer": layer} if layer is not None else {},
                        }
                    )
            clock_us += busy_us["ops"] / executions
    return events


def write_timeline(path: Path, result: SimResult) -> None:
    """Write the events as a file that ui.perfetto.dev and chrome://tracing open."""
    write_text(path, json.dumps({"displayTimeUnit": "ms", "traceEvents": timeline_events(result)}) + "\n")


def _one_step(phase: PhaseResult, layers: int) -> list[tuple[OpResult, int | None]]:
    """Ops of one step in the order of execution, with their layer."""
    names = [op.name for op in phase.ops]
    first, last = names.index(_PER_LAYER_FIRST), names.index(_PER_LAYER_LAST)
    before, after = [(op, None) for op in phase.ops[:first]], [(op, None) for op in phase.ops[last + 1 :]]
    # where layers differ in planes, an op of only some layers is drawn in the first ones
    inside = [
        (op, layer) for layer in range(layers) for op in phase.ops[first : last + 1] if layer < op.count // phase.steps
    ]
    return before + inside + after


def _busy(op: OpResult, result: SimResult) -> dict[str, float]:
    """Cycles for which each track is busy in all executions of an op."""
    counts = op.counts
    moved = (counts.dram_read_bits + result.memory.write_cost * counts.dram_write_bits) / 8
    work = counts.vector_macs + counts.vector_ops + counts.scale_multiplies
    return {
        "ops": op.cycles,
        "array": op.causes["ideal"],
        "weight bus": counts.weight_buffer_read_bits / result.array.weight_bus_bits if op.unit == "array" else 0.0,
        "vector unit": work / result.vector_lanes,
        "DRAM": moved / result.memory.bytes_per_cycle(result.array.clock_hz),
    }


def _name(kind: str, process: int, thread: int, name: str) -> dict:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
