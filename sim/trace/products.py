"""A workload as a trace, and a model's trace as a workload."""

from typing import Any

from sim.execution import Execution
from sim.trace.build import Phase, Trace
from sim.trace.ops import AttentionOp, Formats, LinearOp, Op
from sim.trace.statistics import assumed_statistics
from sim.workload.products import Workload, workload_of

__all__ = ["phase_products", "workload_trace"]


def workload_trace(workload: Workload, formats: Formats, execution: Execution) -> Trace:
    """One pass through the products, in their order; operands are assumed, as there are no weights."""
    ops: list[Op] = [
        LinearOp(
            name=one.name,
            count=one.count,
            gemm=one.gemm,
            statistics=assumed_statistics("prefill" if one.m > 1 else "decode", formats.zero_fraction),
        )
        for one in workload.products
    ]
    return Trace(
        shape=workload,
        method="",
        prefill=0,
        decode=0,
        batch=1,
        formats=formats,
        execution=execution,
        phases=[Phase(name="pass", tokens=1, steps=1, ops=ops)],
    )


def phase_products(trace: Trace, phase: str, attention: bool = True) -> Workload:
    """The products of one step of ``phase``; of decode its last, whose keys are the most.

    Scores are ``group x queries`` rows of ``head_dim`` by every cached token, a product per sequence and KV head,
    values the same the other way; a causal mask is not said, so that the products are whole.
    """
    (*_, last) = (one for one in trace.phases if one.name == phase)
    products: list[dict[str, Any]] = []
    for op in last.ops:
        if isinstance(op, LinearOp):
            products.append({"name": op.name, "count": op.count} | op.gemm._asdict())
        elif isinstance(op, AttentionOp) and attention and op.name != "softmax":
            products.append(_attention(op))
    return workload_of(
        f"{trace.shape.name}-{phase}", f"model {trace.shape.name}", ((one["name"], one) for one in products)
    )


def _attention(op: AttentionOp) -> dict[str, Any]:
    keys = op.past + op.queries * op.steps
    keys = min(keys, op.window + op.queries - 1) if op.window else keys
    m, heads = op.queries * op.group, op.batch * op.kv_heads
    n, k = (keys, op.head_dim) if op.name == "attention_scores" else (op.head_dim, keys)
    return {"name": op.name, "m": m, "n": n, "k": k, "count": op.count * heads}
