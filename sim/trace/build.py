"""``Trace``: the ordered ops of a prefill and of the decode steps after it, with shapes, formats and statistics.

Operations per element of vector ops are counted from their formulas: RMSNorm 3 (square-add, two multiplies), softmax 5
(scale and maximum, subtract, exponential, sum, multiply), RoPE 3 (two multiplies, one add), SiLU-gate 5 (exponential,
add, divide, two multiplies), squared-ReLU-gate 3, GELU-gate 8 (tanh form), quantize 2 (maximum, multiply), residual 1.
"""

from collections.abc import Mapping
from typing import Literal

from hw.document import Record
from hw.errors import InputError
from quant.manifest import LinearEntry, Manifest
from quant.shapes import Gemm, ModelShape
from sim.execution import Execution
from sim.result import Statistics
from sim.trace.fusion import fuse_projections, ride_along
from sim.trace.ops import AttentionOp, EmbeddingOp, Formats, LinearOp, Op, Positive, VectorOp
from sim.trace.statistics import Order, assumed_statistics

__all__ = ["Phase", "Trace", "TraceStatistics", "build_trace"]

TraceStatistics = Mapping[str, Mapping[str, Statistics]]  # phase name -> kind of linear -> statistics

_GATE_OPERATIONS = {"silu": 5, "relu2": 3, "gelu": 8}
_HEAD_OPS = ("final_norm", "lm_head")  # run once per sequence, after the last chunk of its prompt

_OUTLIER_BITS = 8  # of a weight, see quant.side_data.Outliers

_NORM_OPERATIONS, _ROPE_OPERATIONS, _QUANTIZE_OPERATIONS = 3, 3, 2


class Phase(Record):
    """The ops of one step, in order; a layer's ops carry ``count`` = layers; ``steps`` steps follow each other."""

    name: Literal["prefill", "decode", "mixed"]
    tokens: int  # all steps, whole batch
    steps: Positive
    ops: list[Op]


class Trace(Record):
    """Everything that a run executes; phases of one name follow each other and are reported as one."""

    shape: ModelShape
    method: str
    prefill: int
    decode: int
    batch: int
    formats: Formats
    execution: Execution
    phases: list[Phase]


def build_trace(
    shape: ModelShape,
    prefill: int = 512,
    decode: int = 128,
    batch: int = 1,
    formats: Formats | None = None,
    manifest: Manifest | None = None,
    statistics: TraceStatistics | None = None,
    execution: Execution | None = None,
) -> Trace:
    """Trace of ``batch`` sequences: ``prefill`` prompt tokens each, then ``decode`` steps of one token each.

    Statistics of a linear: ``statistics[phase][kind]`` where given; else the manifest's zero fraction with random
    activations; else Gaussian weights. lm_head runs for the last token of each sequence only.

    Raises:
        InputError: a size below its minimum, a context beyond the model's limit, a manifest of another shape.
    """
    _check_sizes(shape, prefill, decode, batch)
    if manifest is not None and manifest.shape.sha256 != shape.sha256:
        raise InputError(
            f"manifest of {manifest.model!r} must have the shape of model {shape.name!r}; quantize it again"
        )
    formats, execution = formats or Formats(), execution or Execution()
    chunk = min(execution.prefill_chunk or prefill, prefill)
    before_last = (prefill - 1) // chunk  # whole chunks before the last, which may be shorter
    spans: list[tuple[Order, int, int, int]] = [("prefill", prefill - before_last * chunk, before_last * chunk, 1)]
    if before_last:
        spans.insert(0, ("prefill", chunk, 0, before_last))
    if decode:
        spans.append(("decode", 1, prefill, decode))
    measured = statistics or {}
    phases = []
    for name, queries, past, steps in spans:
        with_head = past + queries * steps >= prefill
        ops = _ops(name, shape, queries, past, steps, batch, formats, manifest, measured.get(name, {}))
        if not with_head:
            ops = [op for op in ops if op.name not in _HEAD_OPS]
        ops = fuse_projections(ops) if execution.fuse_projections else ops
        phases.append(Phase(name=name, tokens=queries * batch * steps, steps=steps, ops=ops))
    if execution.mixed_chunk:
        rider = min(execution.mixed_chunk, prefill)
        deciding = _ops("decode", shape, 1, prefill, 1, batch, formats, manifest, measured.get("decode", {}))
        reading = _ops("prefill", shape, rider, prefill - rider, 1, 1, formats, manifest, measured.get("prefill", {}))
        ops = ride_along(deciding, reading)
        ops = fuse_projections(ops) if execution.fuse_projections else ops
        phases.append(Phase(name="mixed", tokens=batch + rider, steps=1, ops=ops))
    method = manifest.method if manifest else ""
    return Trace(
        shape=shape,
        method=method,
        prefill=prefill,
        decode=decode,
        batch=batch,
        formats=formats,
        execution=execution,
        phases=phases,
    )


def _check_sizes(shape: ModelShape, prefill: int, decode: int, batch: int) -> None:
    for name, value, least in (("prefill", prefill, 1), ("decode", decode, 0), ("batch", batch, 1)):
        if value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")
    if prefill + decode > shape.max_positions:
        raise InputError(
            f"context must be at most {shape.max_positions} positions of model {shape.name!r}, "
            f"not prefill {prefill} + decode {decode} = {prefill + decode}"
        )


def _ops(
    name: Order,
    shape: ModelShape,
    queries: int,
    past: int,
    steps: int,
    batch: int,
    formats: Formats,
    manifest: Manifest | None,
    statistics: Mapping[str, Statistics],
) -> list[Op]:
    """Ops of one step: embedding, the layers' ops, final norm and lm_head."""
    tokens = queries * batch
    hidden, layers, wide = shape.hidden_size, shape.layers, formats.residual_bits
    q_width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim

    def linear(kind: str) -> list[Op]:
        return _linear_ops(name, kind, shape, tokens, manifest, statistics)

    def vector(label: str, width_in: int, width_out: int, operations: int, count: int = layers) -> VectorOp:
        return VectorOp(
            name=label,
            count=count,
            tokens=tokens,
            input_bits=width_in * wide,
            output_bits=width_out * wide,
            operations=operations,
        )

    def quantize(label: str, width: int) -> list[Op]:
        if formats.activation_bits == wide:
            return []
        op = vector(f"quantize_{label}", width, width, _QUANTIZE_OPERATIONS * width)
        return [op.model_copy(update={"output_bits": width * formats.activation_bits})]

    def attention(label: Literal["attention_scores", "softmax", "attention_values"]) -> AttentionOp:
        return AttentionOp(
            name=label,
            count=layers,
            batch=batch,
            queries=queries,
            past=past,
            steps=steps,
            kv_heads=shape.kv_heads,
            group=shape.heads // shape.kv_heads,
            head_dim=shape.head_dim,
            window=shape.sliding_window,
        )

    def norm(label: str, width: int) -> VectorOp:
        return vector(label, width, width, _NORM_OPERATIONS * width)

    kv_bits = 2 * kv_width * formats.kv_bits
    kv_operations = _QUANTIZE_OPERATIONS * 2 * kv_width if formats.kv_bits < wide else 0
    kv_write = vector("kv_cache_write", 2 * kv_width, 0, kv_operations).model_copy(update={"dram_write_bits": kv_bits})
    gate_operations = _GATE_OPERATIONS[shape.activation] * shape.intermediate_size
    bias = [vector("qkv_bias", q_width + 2 * kv_width, q_width + 2 * kv_width, q_width + 2 * kv_width)]
    return [
        EmbeddingOp(tokens=tokens, row_bits=hidden * formats.embedding_bits),
        norm("attention_norm", hidden),
        *quantize("attention_input", hidden),
        *linear("q_proj"),
        *linear("k_proj"),
        *linear("v_proj"),
        *(bias if shape.qkv_bias else []),
        vector("rope", q_width + kv_width, q_width + kv_width, _ROPE_OPERATIONS * (q_width + kv_width)),
        kv_write,
        attention("attention_scores"),
        attention("softmax"),
        attention("attention_values"),
        *([norm("attention_sub_norm", q_width)] if shape.sub_norms else []),
        *quantize("o_proj_input", q_width),
        *linear("o_proj"),
        vector("attention_residual", 2 * hidden, hidden, hidden),
        norm("mlp_norm", hidden),
        *quantize("mlp_input", hidden),
        *linear("gate_proj"),
        *linear("up_proj"),
        vector("gate", 2 * shape.intermediate_size, shape.intermediate_size, gate_operations),
        *([norm("mlp_sub_norm", shape.intermediate_size)] if shape.sub_norms else []),
        *quantize("down_proj_input", shape.intermediate_size),
        *linear("down_proj"),
        vector("mlp_residual", 2 * hidden, hidden, hidden),
        norm("final_norm", hidden).model_copy(update={"count": 1, "tokens": batch}),
        LinearOp(name="lm_head", count=1, gemm=Gemm(batch, shape.vocab_size, hidden)),
    ]


def _linear_ops(
    phase: Order,
    kind: str,
    shape: ModelShape,
    tokens: int,
    manifest: Manifest | None,
    measured: Mapping[str, Statistics],
) -> list[Op]:
    """One op per distinct format among the layers; usually one."""
    n, k = shape.linear(kind)
    gemm = Gemm(tokens, n, k)
    if manifest is None:
        statistics = measured.get(kind) or assumed_statistics(phase)
        return [LinearOp(name=kind, count=shape.layers, gemm=gemm, statistics=statistics)]
    variants: dict[tuple, list[LinearEntry]] = {}
    for entry in manifest.linears:
        if entry.kind == kind:
            variants.setdefault(_format(entry), []).append(entry)
    if (found := sum(map(len, variants.values()))) != shape.layers:
        raise InputError(f"manifest of {manifest.model!r}: {kind} must be there for {shape.layers} layers, not {found}")
    ops: list[Op] = []
    for entries in variants.values():
        first, count = entries[0], len(entries)
        zero_fraction = sum(entry.zero_fraction for entry in entries) / count
        origin = f"zero fraction measured in the weights ({manifest.method}); random activations"
        ops.append(
            LinearOp(
                name=kind,
                count=count,
                gemm=gemm,
                planes=first.planes,
                group=first.group if first.scale_kind in ("group", "pow2") else None,
                scale_groups=first.groups if first.scale_kind == "group" else 1,
                offset_groups=first.groups if first.has_offsets else 0,
                scale_bits=sum(entry.scale_bits + entry.offset_bits for entry in entries) / count,
                float_macs=first.rank * (n + k),
                int8_macs=sum(entry.outliers for entry in entries) / count,
                side_bits=sum(_side_bits(entry) for entry in entries) / count,
                permuted=first.permutation_bits > 0,
                statistics=measured.get(kind) or assumed_statistics(phase, zero_fraction, origin),
            )
        )
    return ops


def _format(entry: LinearEntry) -> tuple:
    """What makes the array and the vector unit do other work for a linear of the same size."""
    beside = entry.rank, entry.outliers > 0, entry.permutation_bits > 0
    return entry.planes, entry.group, entry.scale_kind, entry.has_offsets, *beside


def _side_bits(entry: LinearEntry) -> int:
    """Bits of the weights that are not trits: low-rank factors, outliers and the bitmap that says where they are."""
    return entry.low_rank_bits + (_OUTLIER_BITS * entry.outliers + entry.mask_bits if entry.outliers else 0)
