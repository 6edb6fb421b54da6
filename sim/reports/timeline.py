"""Timeline of a run in Chrome's trace format, for Perfetto: what each unit does in prefill and in one decode step.

Ref: "Trace Event Format" of Chromium's catapult project, pairs of events that begin and end a span ("ph": "B" and "E",
times in microseconds) and metadata events ("ph": "M") that name and order processes and threads. Complete events ("X")
leave the end to the reader's sum of start and duration, which each rounds its own way: Perfetto dropped spans for it.
"""

import json
from pathlib import Path
from typing import NamedTuple

from hw.artifact import write_text
from sim.result import OpResult, PhaseResult, SimResult
from sim.trace.step import HEAD_OPS

__all__ = ["Span", "step_spans", "timeline_events", "tracks", "write_timeline"]

_ATTENTION = ("attention_scores", "softmax", "attention_values")
_BEFORE_LAYERS = ("kv_received", "embedding", "embedding_scale")
_AFTER_LAYERS = (*HEAD_OPS, "kv_transfer")


class Span(NamedTuple):
    """A unit at work on an op."""

    track: str
    op: str
    unit: str  # where the op runs
    start_us: float
    duration_us: float
    layer: int | None  # None: outside of the decoder's layers
    what: str = ""  # "reads" or "writes" on a DRAM channel

    @property
    def end_us(self) -> float:
        """When the unit is done, in whole nanoseconds as ``start_us``."""
        return round(self.start_us + self.duration_us, 3)


def tracks(result: SimResult) -> list[str]:
    """Names of the tracks, top to bottom."""
    host = ["host"] if any(op.unit == "host" for phase in result.phases for op in phase.ops) else []
    most = max(result.on(phase.name).memory.channels for phase in result.phases)
    channels = [f"DRAM channel {channel}" for channel in range(most)]
    return ["ops", "array", "weight stream", "vector unit", *host, "results", *channels]


def step_spans(result: SimResult, phase: PhaseResult) -> list[Span]:
    """Spans of the first step of ``phase``, its layers expanded, in the order of the ops.

    An op is one span on the track ``ops``, of no length where both of its ends round to one nanosecond. On a unit's
    track its span is as long as the unit is busy in it, drawn from the op's start; results and writes are drawn up to
    its end. Every channel of DRAM moves an equal share. Steps of decode differ only in the length of their context;
    here is their mean.
    """
    spans: list[Span] = []
    result = result.on(phase.name)
    bytes_per_cycle = result.memory.bytes_per_cycle(result.array.clock_hz)
    start = 0.0  # cycles
    for op, layer in _one_step(phase, result.shape.layers):
        end = start + op.cycles / op.count
        reads = op.counts.dram_read_bits / 8 / bytes_per_cycle / op.count
        writes = op.counts.dram_write_bits / 8 * result.memory.write_cost / bytes_per_cycle / op.count
        work = [("ops", start, end, "")]
        for track, cycles in _busy(op, result).items():
            busy = min(cycles / op.count, end - start)
            work.append((track, end - busy, end, "") if track == "results" else (track, start, start + busy, ""))
        for channel in range(result.memory.channels):
            read = min(start + reads, end)
            work.append((f"DRAM channel {channel}", start, read, "reads"))
            work.append((f"DRAM channel {channel}", max(read, end - writes), end if writes else read, "writes"))
        for track, first, last, what in work:
            first_us, last_us = (_whole_ns_us(cycles, result.array.clock_hz) for cycles in (first, last))
            if last_us > first_us or track == "ops":  # an op of less than a nanosecond is still one
                spans.append(Span(track, op.name, op.unit, first_us, round(last_us - first_us, 3), layer, what))
        start = end
    return spans


def timeline_events(result: SimResult) -> list[dict]:
    """Events of every phase's first step; one process per phase, one thread per track."""
    events: list[dict] = []
    threads = {track: thread for thread, track in enumerate(tracks(result), start=1)}
    for process, phase in enumerate(result.phases, start=1):
        events.append(
            _metadata(
                "process_name",
                process,
                0,
                {"name": f"{phase.name} of {result.model} on {result.on(phase.name).machine}"},
            )
        )
        for track, thread in threads.items():
            events.append(_metadata("thread_name", process, thread, {"name": track}))
            events.append(_metadata("thread_sort_index", process, thread, {"sort_index": thread}))
        for span in step_spans(result, phase):
            known = {"layer": span.layer, "what": span.what or None}
            for kind, time in (("B", span.start_us), ("E", span.end_us)):
                events.append(
                    {
                        "name": span.op,
                        "cat": span.unit,
                        "ph": kind,
                        "ts": time,
                        "pid": process,
                        "tid": threads[span.track],
                        "args": {name: value for name, value in known.items() if value is not None},
                    }
                )
    return events


def write_timeline(path: Path, result: SimResult) -> None:
    """Write the events as a file that ui.perfetto.dev and chrome://tracing open."""
    write_text(path, json.dumps({"displayTimeUnit": "ms", "traceEvents": timeline_events(result)}) + "\n")


def _whole_ns_us(cycles: float, clock_hz: float) -> float:
    """Time of a cycle in microseconds, rounded to the nanosecond, which is what readers count in."""
    return round(cycles * 1e6 / clock_hz, 3)


def _one_step(phase: PhaseResult, layers: int) -> list[tuple[OpResult, int | None]]:
    """Ops of one step in the order of execution, with their layer."""
    names = [op.name for op in phase.ops]
    first = next((index for index, name in enumerate(names) if name not in _BEFORE_LAYERS), len(names))
    last = max((index for index, name in enumerate(names) if name not in _AFTER_LAYERS), default=first - 1)
    before, after = [(op, None) for op in phase.ops[:first]], [(op, None) for op in phase.ops[last + 1 :]]
    # Where layers differ, an op of only some layers is drawn in the first ones; one of several experts several times.
    inside = []
    for layer in range(layers):
        for op in phase.ops[first : last + 1]:
            each, more = divmod(op.count // phase.steps, layers)
            inside += [(op, layer)] * (each + (layer < more))
    return before + inside + after


def _busy(op: OpResult, result: SimResult) -> dict[str, float]:
    """Cycles for which each unit is busy in all executions of an op."""
    counts = op.counts
    streamed = counts.weight_buffer_read_bits / result.array.weight_bus_bits if op.unit == "array" else 0.0
    return {
        "array": op.causes["ideal"],
        "weight stream": streamed / result.cores.count,
        "vector unit": counts.vector_work / (result.attention_lanes if op.name in _ATTENTION else result.vector_lanes),
        "host": op.cycles if op.unit == "host" else 0.0,
        "results": counts.result_vectors / result.cores.count,
    }


def _metadata(kind: str, process: int, thread: int, arguments: dict) -> dict:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": arguments}
