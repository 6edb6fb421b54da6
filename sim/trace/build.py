"""``Trace``: the ordered ops of a prefill and of the decode steps after it, with shapes, formats and statistics."""

from collections.abc import Mapping
from typing import Literal

from hw.document import Record
from hw.errors import InputError
from quant.manifest import Manifest
from quant.shapes import ModelShape
from sim.execution import Execution
from sim.result import Statistics
from sim.trace.fusion import fuse_projections, piggyback
from sim.trace.ops import Formats, Op, Positive
from sim.trace.statistics import Order
from sim.trace.step import HEAD_OPS, Step
from sim.workload.products import Workload

__all__ = ["Phase", "Trace", "TraceStatistics", "build_trace"]

TraceStatistics = Mapping[str, Mapping[str, Statistics]]  # phase name -> kind of linear -> statistics


class Phase(Record):
    """The ops of one step, in order; a layer's ops carry ``count`` = layers; ``steps`` steps follow each other."""

    name: Literal["prefill", "decode", "mixed", "pass"]
    tokens: int  # all steps, whole batch
    steps: Positive
    ops: list[Op]


class Trace(Record):
    """Everything that a run executes; phases of one name follow each other and are reported as one."""

    shape: ModelShape | Workload
    method: str
    prefill: int
    decode: int
    batch: int
    formats: Formats
    execution: Execution
    phases: list[Phase]


def _of_model(quantized: ModelShape, shape: ModelShape) -> bool:
    """Whether a run's shape is the model's, or differs only by a head that is no longer the embedding."""
    return quantized.sha256 in (shape.sha256, shape.model_copy(update={"tie_embeddings": False}).sha256)


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
    if manifest is not None and not _of_model(manifest.shape, shape):
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

    def step(name: Order, queries: int, past: int, steps: int, batch: int) -> list[Op]:
        return Step(name, shape, queries, past, steps, batch, formats, manifest, measured.get(name, {})).ops()

    def arranged(ops: list[Op]) -> list[Op]:
        return fuse_projections(ops) if execution.fuse_projections else ops

    phases = []
    for name, queries, past, steps in spans:
        ops = step(name, queries, past, steps, batch)
        if past + queries * steps < prefill:
            ops = [op for op in ops if op.name not in HEAD_OPS]
        phases.append(Phase(name=name, tokens=queries * batch * steps, steps=steps, ops=arranged(ops)))
    if execution.mixed_chunk and shape.experts is not None:
        raise InputError(
            f"model {shape.name!r}: mixed steps of prompt and decode are not simulated for mixtures of experts, not "
            f"mixed_chunk {execution.mixed_chunk}; leave it out"
        )
    if execution.mixed_chunk:
        chunk = min(execution.mixed_chunk, prefill)
        decode_ops = step("decode", 1, prefill, 1, batch)
        prefill_ops = step("prefill", chunk, prefill - chunk, 1, 1)
        ops = arranged(piggyback(decode_ops, prefill_ops))
        phases.append(Phase(name="mixed", tokens=batch + chunk, steps=1, ops=ops))
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
