"""Cores that do not work in step: each runs sequences of its own through all ops, at its own pace.

Of C cores and B sequences min(B, C) cores work, as many with one sequence more as are left over. Each has its own
lanes, accumulators, vector units and weight bus, and an equal share of both buffers, their ports and DRAM's bandwidth,
whether the others are busy or done. Nothing is shared between them, so that weights come from DRAM once for each core.
A phase ends when the core with the most sequences is done.
"""

from collections.abc import Callable

from hw.config import ArrayConfig
from hw.errors import InputError
from sim.cores import CoreGroup
from sim.counts import ActionCounts
from sim.memory import MemoryConfig
from sim.result import OpResult, PhaseResult, SimResult
from sim.trace.build import Phase, Trace
from sim.trace.ops import AttentionOp, EmbeddingOp, LinearOp, Op, VectorOp

__all__ = ["core_share", "rebatched", "sequences_of_cores", "simulate_apart"]

_SHARED = ("weight_buffer_bytes", "activation_buffer_bytes", "weight_port_bits", "activation_port_bits")

Simulate = Callable[[Trace, ArrayConfig, MemoryConfig], SimResult]


def simulate_apart(
    trace: Trace, array: ArrayConfig, memory: MemoryConfig, cores: CoreGroup, simulate: Simulate
) -> SimResult:
    """The run of ``trace``, each core's sequences simulated on its share of the machine by ``simulate``.

    Raises:
        InputError: a mixture of experts or mixed steps, whose work is no multiple of the sequences; shares of the
            buffers that are too small.
    """
    if trace.shape.experts is not None or any(phase.name == "mixed" for phase in trace.phases):
        what = "mixed_chunk" if trace.shape.experts is None else f"the experts of model {trace.shape.name!r}"
        raise InputError(f"core_split must be auto, columns or rows with {what}, not batch")
    sequences = sequences_of_cores(trace.batch, cores.count)
    share = core_share(array, memory, len(sequences))
    runs = {size: simulate(rebatched(trace, size), *share) for size in dict.fromkeys(sequences)}
    busiest = runs[max(runs)]
    times = {size: sequences.count(size) for size in runs}
    phases = [
        _together([(run.phases[number], times[size]) for size, run in runs.items()], busiest.phases[number])
        for number in range(len(busiest.phases))
    ]
    note = (
        f"{len(sequences)} of {cores.count} cores work, each on at most {max(sequences)} of the sequences, at its own "
        "pace, with an equal share of buffers and DRAM; each fetches the weights for itself"
    )
    changes = {"array": array, "memory": memory, "cores": cores, "batch": trace.batch, "phases": phases}
    return busiest.model_copy(update=changes | {"notes": [*busiest.notes, note]})


def sequences_of_cores(batch: int, count: int) -> list[int]:
    """How many sequences each working core has, the busier first."""
    working = min(batch, count)
    each, left = divmod(batch, working)
    return [each + 1] * left + [each] * (working - left)


def core_share(array: ArrayConfig, memory: MemoryConfig, working: int) -> tuple[ArrayConfig, MemoryConfig]:
    """What each of so many cores has of the buffers, their ports and DRAM.

    Raises:
        InputError: less than two weight tiles, or less than a bit of a port.
    """
    shares = {name: value // working for name in _SHARED if (value := getattr(array, name)) is not None}
    for name, least in (("weight_buffer_bytes", 2 * array.tile_bytes), *((name, 1) for name in _SHARED[1:])):
        if name in shares and shares[name] < least:
            raise InputError(
                f"core_split batch: {name} must be at least {least * working} for {working} cores, {least} each, not "
                f"{getattr(array, name)} of array {array.name!r}"
            )
    slower = memory.model_copy(update={"peak_bytes_per_s": memory.peak_bytes_per_s / working})
    return ArrayConfig(**array.model_dump() | shares), slower


def rebatched(trace: Trace, batch: int) -> Trace:
    """``trace`` with another number of sequences: tokens of all ops in proportion."""
    if batch == trace.batch:
        return trace

    def scaled(tokens: int) -> int:
        return tokens * batch // trace.batch

    def op_of(op: Op) -> Op:
        match op:
            case LinearOp():
                return op.model_copy(update={"gemm": op.gemm._replace(m=scaled(op.gemm.m))})
            case AttentionOp():
                return op.model_copy(update={"batch": batch})
            case VectorOp() | EmbeddingOp():
                return op.model_copy(update={"tokens": scaled(op.tokens)})

    def phase_of(phase: Phase) -> Phase:
        return phase.model_copy(update={"tokens": scaled(phase.tokens), "ops": [op_of(op) for op in phase.ops]})

    return trace.model_copy(update={"batch": batch, "phases": [phase_of(phase) for phase in trace.phases]})


def _together(parts: list[tuple[PhaseResult, int]], busiest: PhaseResult) -> PhaseResult:
    """A phase of all cores: ``parts`` with the number of cores that ran each; its time is that of the busiest."""
    ops = [
        _summed([(part.ops[number], times) for part, times in parts], busiest.ops[number])
        for number in range(len(busiest.ops))
    ]
    return busiest.model_copy(update={"tokens": sum(part.tokens * times for part, times in parts), "ops": ops})


def _summed(parts: list[tuple[OpResult, int]], busiest: OpResult) -> OpResult:
    counts = sum((op.counts.scaled(times) for op, times in parts), ActionCounts())
    return busiest.model_copy(update={"macs": sum(op.macs * times for op, times in parts), "counts": counts})
