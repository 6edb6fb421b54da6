"""``simulate``: a whole run, prefill and decode, of one model on one array and memory."""

import logging
import math

from hw.config import ArrayConfig
from hw.errors import InputError
from quant.manifest import Manifest
from quant.shapes import ModelShape
from sim.apart import simulate_apart
from sim.cores import ONE_CORE, CoreGroup
from sim.execution import Execution
from sim.gemm.cost import forget_gemms
from sim.head import check_head
from sim.machine.cost import op_cost
from sim.machine.placement import check_placement
from sim.machine.resources import Resources
from sim.memory import MemoryConfig
from sim.reports.doublings import Machine
from sim.reports.notes import run_notes
from sim.residence import check_residence
from sim.result import CAUSES, OpResult, PhaseResult, SimResult
from sim.store import active, recall, remember
from sim.trace.build import Phase, Trace, TraceStatistics, build_trace
from sim.trace.ops import AttentionOp, Formats, LinearOp, Op

__all__ = ["array_formats", "forget_simulations", "simulate", "simulate_on", "simulate_trace"]

_log = logging.getLogger(__name__)


def array_formats(array: ArrayConfig) -> Formats:
    """Formats that suit an array: int8 activations and lm_head, fp16 for an fp16 array; fp16 KV cache."""
    return Formats(activation_bits=array.activation_bits, head_bits=array.arithmetic.head_bits)


def simulate(
    shape: ModelShape,
    array: ArrayConfig,
    memory: MemoryConfig,
    prefill: int = 512,
    decode: int = 128,
    batch: int = 1,
    trace_statistics: TraceStatistics | None = None,
    manifest: Manifest | None = None,
    formats: Formats | None = None,
    execution: Execution | None = None,
    cores: CoreGroup = ONE_CORE,
) -> SimResult:
    """Simulate ``batch`` sequences of ``prefill`` prompt tokens and ``decode`` steps.

    ``trace_statistics``: phase name -> kind of linear -> measured ``Statistics``; without them zero fractions come
    from the manifest or are assumed, and say so. ``formats`` None: ``array_formats(array)``.

    Raises:
        InputError: sizes that cannot be, a context beyond the model's limit, K too long for the accumulators.
    """
    formats = formats or array_formats(array)
    trace = build_trace(shape, prefill, decode, batch, formats, manifest, trace_statistics, execution)
    return simulate_trace(trace, array, memory, cores)


def simulate_trace(trace: Trace, array: ArrayConfig, memory: MemoryConfig, cores: CoreGroup = ONE_CORE) -> SimResult:
    """Simulate a trace, or recall what an earlier process found.

    Raises:
        InputError: K too long for the accumulators, cores or a model that do not fit, products beside an array whose
            results are int8 already.
    """
    if not active():
        return _told(_simulated(trace, array, memory, cores), "simulated")
    key = "\n".join(one.model_dump_json() for one in (trace, array, memory, cores))
    if (known := recall(key)) is not None:
        result = SimResult.model_validate_json(known).model_copy(update={"array": array})  # it may be of a subclass
        return _told(result, "recalled from the store")
    result = _told(_simulated(trace, array, memory, cores), "simulated")
    remember(key, result.model_dump_json())
    return result


def _told(result: SimResult, how: str) -> SimResult:
    """``result``, logged with the cycles of its phases."""
    if _log.isEnabledFor(logging.DEBUG):
        cycles = ", ".join(f"{phase.name} {phase.cycles} cycles" for phase in result.phases)
        _log.debug("%s on %s with %s %s: %s", result.model, result.machine, result.memory.name, how, cycles)
    return result


def _simulated(trace: Trace, array: ArrayConfig, memory: MemoryConfig, cores: CoreGroup) -> SimResult:
    """A trace that no process has simulated yet."""
    excess = check_residence(trace, array, memory)
    if cores.split == "batch" and cores.count > 1:
        result = simulate_apart(trace, array, memory, cores, simulate_trace)
        return result.model_copy(update={"notes": [*result.notes, *excess]})
    check_head(trace, array)
    check_placement(trace, array)
    resources = Resources(array, memory, trace.formats, trace.execution, cores)
    units = {op.name: resources.place(op) for phase in trace.phases for op in phase.ops}
    side_products = _ops_with_side_products(trace, array)
    if array.results == "int8" and (late := [name for name in side_products if units[name] == "array"]):
        raise InputError(
            f"array {array.name!r} with results int8 rounds the sums of {late[0]!r} before products of low-rank "
            "factors or 8-bit outliers could be added; use results sums, or a method without them"
        )
    return SimResult(
        model=trace.shape.name,
        shape=trace.shape,
        method=trace.method,
        array=array,
        memory=memory,
        cores=cores,
        prefill=trace.prefill,
        decode=trace.decode,
        batch=trace.batch,
        execution=trace.execution,
        phases=_merged([_run_phase(phase, resources) for phase in trace.phases]),
        notes=[*run_notes(trace, array, units, bool(side_products)), *excess],
    )


def simulate_on(trace: Trace, machine: Machine) -> SimResult:
    """Simulate a trace on another machine, its host included; what else the trace says of its execution stays."""
    execution = trace.execution.model_copy(update={"host": machine.host})
    return simulate_trace(
        trace.model_copy(update={"execution": execution}), machine.array, machine.memory, machine.cores
    )


def forget_simulations() -> None:
    """Simulate anew whatever comes next, so that it is timed honestly: nothing of any process is recalled."""
    forget_gemms()


def _linears(phase: Phase) -> list[LinearOp]:
    return [op for op in phase.ops if isinstance(op, LinearOp)]


def _ops_with_side_products(trace: Trace, array: ArrayConfig) -> list[str]:
    """Linears some of whose weights are non-ternary and multiplied on the vector unit; a dense array has none."""
    if not array.arithmetic.stores_trits:
        return []
    return [op.name for phase in trace.phases for op in _linears(phase) if op.float_macs or op.int8_macs]


def _merged(phases: list[PhaseResult]) -> list[PhaseResult]:
    """Phases of one name as one: prefill in chunks has a last chunk of another size."""
    merged: list[PhaseResult] = []
    for phase in phases:
        if merged and merged[-1].name == phase.name:
            earlier: dict[str, list[OpResult]] = {}
            for op in merged[-1].ops:
                earlier.setdefault(op.name, []).append(op)
            ops = [_summed(earlier[op.name].pop(0), op) if earlier.get(op.name) else op for op in phase.ops]
            before = merged.pop()
            phase = PhaseResult(
                name=phase.name, tokens=before.tokens + phase.tokens, steps=before.steps + phase.steps, ops=ops
            )
        merged.append(phase)
    return merged


def _summed(a: OpResult, b: OpResult) -> OpResult:
    """Two results of one op."""
    return b.model_copy(
        update={
            "count": a.count + b.count,
            "macs": a.macs + b.macs,
            "cycles": a.cycles + b.cycles,
            "causes": {cause: a.causes[cause] + b.causes[cause] for cause in CAUSES},
            "counts": a.counts + b.counts,
        }
    )


def _run_phase(phase: Phase, resources: Resources) -> PhaseResult:
    ops: list[OpResult] = []
    idle = 0  # cycles since the last GEMM, in one layer of one step, in which DRAM had nothing to do
    for op in phase.ops:
        result = _run_op(op, phase, resources, idle if resources.execution.prefetch_across_ops else 0)
        if result.unit == "array":
            idle = 0  # its own tiles fill the weight buffer
        else:
            idle += math.floor(max(0.0, result.cycles - resources.dram_cycles(result.counts)) / result.count)
        ops.append(result)
    return PhaseResult(name=phase.name, tokens=phase.tokens, steps=phase.steps, ops=ops)


def _run_op(op: Op, phase: Phase, resources: Resources, head_start: int) -> OpResult:
    """All executions of an op: a step's cost times the steps, except attention, whose steps differ."""
    cost = op_cost(resources, op, head_start)
    if not isinstance(op, AttentionOp):
        cost = cost.scaled(phase.steps)
    return OpResult(
        name=op.name,
        unit=resources.place(op),
        count=op.count * phase.steps,
        macs=cost.macs,
        cycles=cost.cycles,
        causes=cost.causes,
        counts=cost.counts,
        statistics=op.statistics if isinstance(op, LinearOp) else None,
        tried=cost.tried or {},
    )
