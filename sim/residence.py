"""What a run keeps, and whether it fits: in the weight buffer of an on-chip run, else in the memory's channels."""

import math

from hw.config import ArrayConfig
from hw.errors import InputError
from sim.memory import MemoryConfig, load_memory, memory_names
from sim.trace.build import Phase, Trace
from sim.trace.ops import AttentionOp, LinearOp

__all__ = ["check_residence", "stored_bytes"]

_WHAT = "weights, embedding, lm_head and KV cache"
_GIB = 2**30


def stored_bytes(trace: Trace, array: ArrayConfig) -> int:
    """Bytes of what a run keeps: weights as ``array`` stores them, scales, embedding, lm_head, the KV cache at its end.

    Padding of tiles and pages is not counted.
    """
    shape, formats = trace.shape, trace.formats
    cached_tokens = (trace.prefill + trace.decode) * trace.batch
    head_bits: float = formats.head_bits
    if formats.head_digits:
        head_bits = array.weight_bits * formats.head_digits
    elif array.arithmetic.dense_mac and trace.execution.dense_products == "array":
        head_bits = array.arithmetic.dense_bits
    bits = shape.linear_parameters * array.weight_bits
    if array.arithmetic.stores_trits:
        bits *= max((op.passes for phase in trace.phases for op in _linears(phase) if op.name != "lm_head"), default=1)
        bits += max(sum(op.count * (op.scale_bits + op.side_bits) for op in _linears(phase)) for phase in trace.phases)
    bits += shape.embedding_parameters * (head_bits + formats.embedding_bits) + shape.router_parameters * head_bits
    if any(isinstance(op, AttentionOp) for phase in trace.phases for op in phase.ops):
        bits += shape.layers * shape.kv_heads * cached_tokens * formats.cached_bits(shape.head_dim)
    return math.ceil(bits / 8)


def check_residence(trace: Trace, array: ArrayConfig, memory: MemoryConfig) -> list[str]:
    """Refuse a run that does not fit where it lives; a note instead where the run goes beyond the capacity on purpose.

    Raises:
        InputError: with what is needed, what is there, and the nearest memories that hold it.
    """
    needed = stored_bytes(trace, array)
    if trace.execution.on_chip:
        if needed > array.weight_buffer_bytes:
            raise InputError(
                f"on-chip run of {trace.shape.name!r}: weight_buffer_bytes must be at least {needed} for {_WHAT}, "
                f"not {array.weight_buffer_bytes} of array {array.name!r}"
            )
        return []
    capacity = memory.capacity_bytes
    if capacity is None or needed <= capacity:
        return []
    channels = "one channel" if memory.channels == 1 else f"{memory.channels} channels"
    have = f"{capacity / _GIB:.4g} GiB ({channels} of {memory.channel_bytes / _GIB:.4g} GiB)"
    if trace.execution.beyond_capacity:
        return [
            f"{trace.shape.name} on {array.name} takes {needed / _GIB:.4g} GiB, more than {memory.name}'s {have}; "
            "simulated as if its channels held more"
        ]
    raise InputError(
        f"memory {memory.name!r} must hold {needed / _GIB:.4g} GiB for {_WHAT} of {trace.shape.name!r} on array "
        f"{array.name!r}, not {have}; take {_remedies(needed, memory)}, or beyond_capacity to simulate it all the same"
    )


def _remedies(needed: int, memory: MemoryConfig) -> str:
    """As many channels as hold ``needed`` bytes, and the smallest shipped memory that does."""
    remedies = [f"channels {math.ceil(needed / memory.channel_bytes)}"]
    known = [load_memory(name) for name in memory_names()]
    large = [one for one in known if one.capacity_bytes is not None and one.capacity_bytes >= needed]
    if large:
        nearest = min(large, key=lambda one: (one.capacity_bytes, abs(one.bytes_per_s - memory.bytes_per_s)))
        remedies.append(f"memory {nearest.name} ({nearest.capacity_bytes / _GIB:.4g} GiB)")
    return " or ".join(remedies)


def _linears(phase: Phase) -> list[LinearOp]:
    return [op for op in phase.ops if isinstance(op, LinearOp)]
