"""What attention products and softmax cost: K and V from DRAM, scores that never leave the chip."""

import numpy as np

from hw.formats import INT8_BITS
from sim.counts import ActionCounts
from sim.gemm.cost import Cost
from sim.machine.attention_gemms import dense_attention, digit_attention
from sim.machine.key_blocks import cached_tokens
from sim.machine.resources import Resources
from sim.trace.experts import QUANTIZE_OPERATIONS
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
    digits = resources.formats.digits
    if op.name == "softmax":
        scores = _score_pairs(op) * op.batch * op.kv_heads * op.group
        written = resources.formats.residual_bits if digits is None else INT8_BITS
        return resources.vector_cost(
            ActionCounts(
                vector_ops=scores * _operations(op, digits is not None),
                activation_buffer_read_bits=scores * resources.formats.residual_bits,
                activation_buffer_write_bits=scores * written,
            ),
            lanes=resources.attention_lanes,
        ).scaled(op.count)
    if resources.place(op) == "array":
        useful = int(_score_pairs(op).sum()) * op.batch * op.kv_heads * op.group * op.head_dim
        if digits is not None:
            return digit_attention(resources, op, digits, useful).scaled(op.count)
        return dense_attention(resources, op, useful).scaled(op.count)
    return _on_vector_unit(resources, op).scaled(op.count)


def _on_vector_unit(resources: Resources, op: AttentionOp) -> Cost:
    """One operand of each multiply stays in a register of its lane, the other (of K or V) is read."""
    macs = _score_pairs(op) * op.batch * op.kv_heads * op.group * op.head_dim
    cache_bits = (
        cached_tokens(op, resources.array.token_tile) * op.batch * op.kv_heads * op.head_dim * resources.formats.kv_bits
    )
    query_bits = op.batch * op.queries * op.kv_heads * op.group * op.head_dim * resources.formats.residual_bits
    counts = ActionCounts(
        vector_macs=macs,
        activation_buffer_read_bits=macs * resources.formats.kv_bits + query_bits,
        activation_buffer_write_bits=cache_bits + query_bits,
        dram_read_bits=resources.dram_bits(cache_bits),
    )
    cost = resources.vector_cost(counts, lanes=resources.attention_lanes, bus_bits=cache_bits)
    return cost._replace(macs=int(macs.sum()))


def _on_the_host(resources: Resources, op: AttentionOp) -> Cost:
    """Queries or outputs and one score per pair over the link, K or V from DRAM."""
    heads = op.batch * op.kv_heads
    scores = _score_pairs(op) * heads * op.group
    if op.name == "softmax":
        operations = _operations(op, resources.formats.digits is not None)
        return resources.on_host(0, scores * operations, 2 * scores * resources.formats.residual_bits, 0)
    cache = cached_tokens(op, resources.array.token_tile) * heads * op.head_dim * resources.formats.kv_bits
    vectors = op.batch * op.queries * op.kv_heads * op.group * op.head_dim
    link_bits = (scores + vectors) * resources.formats.residual_bits
    return resources.on_host(scores * op.head_dim, 0, link_bits, resources.dram_bits(cache))


def _operations(op: AttentionOp, to_int8: bool) -> int:
    """Of softmax, per score; for digits of V a probability takes V's scale, and becomes int8."""
    return _SOFTMAX_OPERATIONS + SOFTCAP_OPERATIONS * op.softcap + QUANTIZE_OPERATIONS * to_int8


def _score_pairs(op: AttentionOp) -> np.ndarray:
    """Causal (query, key) pairs of one head and sequence in each step: int64 ``(steps,)``."""
    past = op.past + op.queries * np.arange(op.steps, dtype=np.int64)  # (steps,)
    visible = past[:, None] + np.arange(1, op.queries + 1, dtype=np.int64)  # (steps, queries)
    if op.window is not None:
        visible = np.minimum(visible, op.window)
    return visible.sum(axis=1)
