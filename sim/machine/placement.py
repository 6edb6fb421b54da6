"""Which ops may run where; a placement that cannot be is refused before anything is simulated."""

from hw.config import ArrayConfig
from hw.errors import InputError
from sim.attention import ATTENTION_PRODUCTS, check_digits
from sim.trace.build import Trace
from sim.trace.ops import AttentionOp, EmbeddingOp, LinearOp, Op, VectorOp

__all__ = ["allowed_places", "check_placement"]


def allowed_places(op: Op, array: ArrayConfig, digits: bool = False) -> tuple[str, ...]:
    """Where ``op`` may run beside its default.

    A ternary array multiplies trits alone, and K and V where they are ``digits``, which no other unit reads; other
    arrays also K, V and lm_head. Tables and the KV cache are moved by DRAM alone.
    """
    match op:
        case LinearOp():
            on_array = op.statistics is not None or array.arithmetic.dense_mac is not None
            return ("array", "vector", "host") if on_array else ("vector", "host")
        case AttentionOp() if digits and op.name != "softmax":
            return ("array",)
        case AttentionOp():
            on_array = array.arithmetic.dense_mac is not None and op.name != "softmax"
            return ("array", "vector", "host") if on_array else ("vector", "host")
        case VectorOp() if op.operations:
            return ("vector", "host")
        case VectorOp() | EmbeddingOp():
            return ()


def check_placement(trace: Trace, array: ArrayConfig) -> None:
    """Refuse a placement of an op that the trace does not have, or where it cannot run.

    Raises:
        InputError: with the ops, or the places, that there are; with what attention on the array lacks.
    """
    digits = trace.formats.digits
    if digits is not None:
        placed = trace.execution.placement.keys() & ATTENTION_PRODUCTS
        if (trace.execution.attention == "vector" and not placed) or not array.arithmetic.stores_trits:
            raise InputError(
                f"attention must be auto or array, on a ternary array, where K and V are digits, not "
                f"{trace.execution.attention} on array {array.name!r} ({array.mac})"
            )
        check_digits(digits, array, trace.shape.head_dim)
    elif trace.execution.attention == "array" and array.arithmetic.dense_mac is None:
        raise InputError(f"formats must have digits for attention on the ternary array {array.name!r}, and have none")
    ops = {op.name: op for phase in trace.phases for op in phase.ops}
    for name, place in trace.execution.placement.items():
        if name not in ops:
            raise InputError(f"placement: op must be one of {', '.join(ops)}, not {name!r}")
        if place not in (places := allowed_places(ops[name], array, digits is not None)):
            where = f"must run on {' or '.join(places)}" if places else "is moved by DRAM and runs nowhere else"
            raise InputError(f"placement: {name} {where} with array {array.name!r} ({array.mac}), not on {place}")
