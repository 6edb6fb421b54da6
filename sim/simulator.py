"""``simulate``: a whole run, prefill and decode, of one model on one array and memory."""

import math

from hw.config import ArrayConfig
from hw.errors import InputError
from quant.manifest import Manifest
from quant.shapes import ModelShape
from sim.cores import ONE_CORE, CoreGroup
from sim.execution import Execution
from sim.gemm.cost import Cost
from sim.machine.machine import Machine
from sim.machine.placement import check_placement
from sim.memory import MemoryConfig
from sim.result import CAUSES, OpResult, PhaseResult, SimResult
from sim.trace.build import Phase, Trace, TraceStatistics, build_trace
from sim.trace.ops import AttentionOp, EmbeddingOp, Formats, LinearOp, Op

__all__ = ["array_formats", "simulate", "simulate_trace"]

_BETWEEN_OPS = (
    "ops run one after another: within an op the array, the vector unit, the weight bus and DRAM overlap, and weights "
    "are prefetched as far as the weight buffer reaches; between ops nothing overlaps"
)
_PREFETCH = (
    "ops run one after another: within an op the array, the vector unit, the weight bus and DRAM overlap; weights are "
    "prefetched as far as the weight buffer reaches, also while an op that is not a GEMM leaves DRAM idle"
)
_BESIDE = (
    "weights that are no trits (float16 low-rank corrections, 8-bit outliers with their bitmap) come from DRAM once "
    "per token tile and are multiplied on the vector unit while the array works"
)
_NOTES = (
    "dequantization streams through the vector unit while the array works",
    "attention blocks (scores, online softmax, values) stay on chip; K and V come from DRAM once per query tile",
    "tensors larger than half of the activation buffer go to DRAM and back between ops",
    "lm_head runs for the last token of each sequence; sampling is not simulated",
)


def array_formats(array: ArrayConfig) -> Formats:
    """Formats that suit an array: int8 activations and lm_head, fp16 for an fp16 array; fp16 KV cache."""
    if array.mac == "fp16":
        return Formats(activation_bits=16, head_bits=16)
    return Formats()


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
    """Simulate a trace.

    Raises:
        InputError: K too long for the accumulators, cores or an on-chip run that do not fit, products beside an array
            whose results are int8 already.
    """
    if trace.execution.on_chip:
        _check_residence(trace, array)
    check_placement(trace, array)
    machine = Machine(array, memory, trace.formats, trace.execution, cores)
    units = {op.name: machine.place(op) for phase in trace.phases for op in phase.ops}
    linears = [op for phase in trace.phases for op in phase.ops if isinstance(op, LinearOp)]
    beside = [op for op in linears if array.mac == "ternary" and (op.float_macs or op.int8_macs)]
    if array.results == "int8" and (late := [op.name for op in beside if units[op.name] == "array"]):
        raise InputError(
            f"array {array.name!r} with results int8 rounds the sums of {late[0]!r} before products of low-rank "
            "factors or 8-bit outliers could be added; use results sums, or a method without them"
        )
    names = {"array": "the array", "vector": "the vector unit", "host": f"the host ({trace.execution.host.source})"}
    products, head = names[units["attention_scores"]], names[units["lm_head"]]
    places = f"attention products and lm_head run on {products}"
    if products != head:
        places = f"attention scores run on {products}, lm_head on {head}"
    notes = [
        _PREFETCH if trace.execution.prefetch_across_ops else _BETWEEN_OPS,
        *_NOTES,
        f"{places}; KV cache {trace.formats.kv_bits} bits, "
        f"lm_head {array.weight_bits if units['lm_head'] == 'array' else trace.formats.head_bits:g} bits, "
        f"embedding {trace.formats.embedding_bits} bits",
    ]
    if beside:
        notes.append(_BESIDE)
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
        phases=_merged([_run_phase(phase, machine) for phase in trace.phases]),
        notes=notes,
    )


def _check_residence(trace: Trace, array: ArrayConfig) -> None:
    """Refuse a run whose weights and KV cache do not fit the weight buffer.

    Raises:
        InputError: with what is needed and what is there.
    """
    shape, formats = trace.shape, trace.formats
    cached_tokens = (trace.prefill + trace.decode) * trace.batch
    on_array = array.mac != "ternary" and trace.execution.dense_products == "array"
    head_bits = array.weight_bits if on_array else formats.head_bits
    planes = max((op.planes for phase in trace.phases for op in phase.ops if isinstance(op, LinearOp)), default=1)
    bits = shape.linear_parameters * array.weight_bits * (planes if array.mac == "ternary" else 1)
    if array.mac == "ternary":
        linears = ((op for op in phase.ops if isinstance(op, LinearOp)) for phase in trace.phases)
        bits += max(sum(op.count * (op.scale_bits + op.side_bits) for op in ops) for ops in linears)
    bits += shape.embedding_parameters * (head_bits + formats.embedding_bits)
    bits += 2 * shape.layers * shape.kv_heads * shape.head_dim * cached_tokens * formats.kv_bits
    needed = math.ceil(bits / 8)
    if needed > array.weight_buffer_bytes:
        raise InputError(
            f"on-chip run of {shape.name!r}: weight_buffer_bytes must be at least {needed} for weights, embedding, "
            f"lm_head and KV cache, not {array.weight_buffer_bytes} of array {array.name!r}"
        )


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


def _run_phase(phase: Phase, machine: Machine) -> PhaseResult:
    ops: list[OpResult] = []
    idle = 0  # cycles since the last GEMM, in one layer of one step, in which DRAM had nothing to do
    for op in phase.ops:
        result = _run_op(op, phase, machine, idle if machine.execution.prefetch_across_ops else 0)
        if result.unit == "array":
            idle = 0  # its own tiles fill the weight buffer
        else:
            idle += math.floor(max(0.0, result.cycles - machine.dram_cycles(result.counts)) / result.count)
        ops.append(result)
    return PhaseResult(name=phase.name, tokens=phase.tokens, steps=phase.steps, ops=ops)


def _run_op(op: Op, phase: Phase, machine: Machine, head_start: int) -> OpResult:
    """All executions of an op: a step's cost times the steps, except attention, whose steps differ."""
    statistics = None
    match op:
        case AttentionOp():
            cost: Cost = machine.attention(op)
        case LinearOp():
            cost = machine.linear(op, head_start).scaled(phase.steps)
            statistics = op.statistics
        case EmbeddingOp():
            cost = machine.embedding(op).scaled(phase.steps)
        case _:
            cost = machine.vector(op).scaled(phase.steps)
    return OpResult(
        name=op.name,
        unit=machine.place(op),
        count=op.count * phase.steps,
        macs=cost.macs,
        cycles=cost.cycles,
        causes=cost.causes,
        counts=cost.counts,
        statistics=statistics,
        tried=cost.tried or {},
    )
