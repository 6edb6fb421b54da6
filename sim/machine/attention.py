"""What attention products and softmax cost: K and V from DRAM, scores that never leave the chip."""

import numpy as np

from quant.shapes import Gemm
from sim.counts import ActionCounts
from sim.gemm.cost import Cost, gemm_cost
from sim.gemm.schedule import GemmJob
from sim.machine.resources import Resources
from sim.result import CAUSES
from sim.trace.ops import SOFTCAP_OPERATIONS, AttentionOp

__all__ = ["attention_cost"]

_SOFTMAX_OPERATIONS = 5  # per score: scale and maximum, subtract, exponential, sum, multiply


def attention_cost(resources: Resources, op: AttentionOp) -> Cost:
    """Scores, softmax or values of all steps, over a cache that grows.

    Scores are made, normalised (online softmax) and used in blocks that stay on chip: only K and V come from DRAM,
    once per tile of ``token_tile`` query tokens.
    """
    if resources.place(op) == "host":
        return _on_the_host(resources, op).scaled(op.count)
    if op.name == "softmax":
        scores = _score_pairs(op) * op.batch * op.kv_heads * op.group
        bits = scores * resources.formats.residual_bits
        return resources.vector_cost(
            ActionCounts(
                vector_ops=scores * _operations(op),
                activation_buffer_read_bits=bits,
                activation_buffer_write_bits=bits,
            )
        ).scaled(op.count)
    if resources.place(op) == "array":
        return _on_array(resources, op).scaled(op.count)
    return _on_vector_unit(resources, op).scaled(op.count)


def _on_vector_unit(resources: Resources, op: AttentionOp) -> Cost:
    """One operand of each multiply stays in a register of its lane, the other (of K or V) is read."""
    macs = _score_pairs(op) * op.batch * op.kv_heads * op.group * op.head_dim
    cache_bits = (
        _cache_reads(op, resources.array.token_tile) * op.batch * op.kv_heads * op.head_dim * resources.formats.kv_bits
    )
    query_bits = op.batch * op.queries * op.kv_heads * op.group * op.head_dim * resources.formats.residual_bits
    counts = ActionCounts(
        vector_macs=macs,
        activation_buffer_read_bits=macs * resources.formats.kv_bits + query_bits,
        activation_buffer_write_bits=cache_bits + query_bits,
        dram_read_bits=resources.dram_bits(cache_bits),
    )
    cost = resources.vector_cost(counts)
    return cost._replace(macs=int(macs.sum()))


def _on_array(resources: Resources, op: AttentionOp) -> Cost:
    """A GEMM per KV head and query tile, K or V in the place of weights; masked products are padding.

    Where the array takes them in several passes, each digit of K or V is a plane of weights; the digits' powers of two
    are shifts, so that an output keeps one scale.
    """
    passes = resources.array.arithmetic.dense_passes
    total = Cost(0, dict.fromkeys(CAUSES, 0), ActionCounts())
    heads = op.batch * op.kv_heads
    for step in range(op.steps):
        for first in range(0, op.queries, resources.array.token_tile):
            tokens = min(resources.array.token_tile, op.queries - first)
            end = op.past + step * op.queries + first + tokens
            context = end if op.window is None else min(end, op.window + tokens - 1)
            n, k = (context, op.head_dim) if op.name == "attention_scores" else (op.head_dim, context)
            job = GemmJob(
                Gemm(tokens * op.group, n, k),
                planes=passes,
                weight_dram_bits=resources.formats.kv_bits / passes,
                inputs_on_chip=True,
                outputs_on_chip=True,
            )
            job = resources.executed(job)
            cost = gemm_cost(job, resources.dense_array, resources.memory, resources.cores)
            total += cost.scaled(heads)
    useful = int(_score_pairs(op).sum()) * heads * op.group * op.head_dim * passes
    masked = total.counts.array_macs - useful
    counts = total.counts._replace(
        array_macs=useful,
        array_macs_active=useful,
        array_macs_padding=total.counts.array_macs_padding + masked,
        scale_multiplies=total.counts.scale_multiplies // passes,
    )
    return total._replace(counts=counts, macs=useful)


def _on_the_host(resources: Resources, op: AttentionOp) -> Cost:
    """Queries or outputs and one score per pair over the link, K or V from DRAM."""
    heads = op.batch * op.kv_heads
    scores = _score_pairs(op) * heads * op.group
    if op.name == "softmax":
        return resources.on_host(0, scores * _operations(op), 2 * scores * resources.formats.residual_bits, 0)
    cache = _cache_reads(op, resources.array.token_tile) * heads * op.head_dim * resources.formats.kv_bits
    vectors = op.batch * op.queries * op.kv_heads * op.group * op.head_dim
    link_bits = (scores + vectors) * resources.formats.residual_bits
    return resources.on_host(scores * op.head_dim, 0, link_bits, resources.dram_bits(cache))


def _operations(op: AttentionOp) -> int:
    """Of softmax, per score."""
    return _SOFTMAX_OPERATIONS + (SOFTCAP_OPERATIONS if op.softcap else 0)


def _score_pairs(op: AttentionOp) -> np.ndarray:
    """Causal (query, key) pairs of one head and sequence in each step: int64 ``(steps,)``."""
    past = op.past + op.queries * np.arange(op.steps, dtype=np.int64)  # (steps,)
    visible = past[:, None] + np.arange(1, op.queries + 1, dtype=np.int64)  # (steps, queries)
    if op.window is not None:
        visible = np.minimum(visible, op.window)
    return visible.sum(axis=1)


def _cache_reads(op: AttentionOp, query_tile: int) -> np.ndarray:
    """Cached tokens fetched for one head and sequence in each step, once per query tile: int64 ``(steps,)``."""
    past = op.past + op.queries * np.arange(op.steps, dtype=np.int64)
    reads = np.zeros(op.steps, np.int64)
    for first in range(0, op.queries, query_tile):
        tokens = min(query_tile, op.queries - first)
        end = past + first + tokens
        reads += end if op.window is None else np.minimum(end, op.window + tokens - 1)
    return reads
