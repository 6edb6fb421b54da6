"""Prefill on one machine and decode on another: the two runs, and K and V of the prompt over the link between them.

A layer's K and V leave as soon as the layer is done, one after another over the link; with L layers of T cycles each
and a transfer of t cycles per layer, prefill waits behind its last layer for::

    latency + t + (L - 1) max(0, t - T)
"""

import math

from hw.config import ArrayConfig
from hw.errors import InputError
from sim.cores import ONE_CORE, CoreGroup
from sim.counts import ActionCounts
from sim.memory import MemoryConfig
from sim.result import CAUSES, DecodeMachine, OpResult, PhaseResult, SimResult
from sim.simulator import simulate_trace
from sim.trace.build import Trace
from sim.trace.ops import AttentionOp

__all__ = ["Link", "exposed_cycles", "simulate_split"]


class Link(DecodeMachine):
    """Decode's machine and the link that brings it K and V."""

    bytes_per_s: float
    latency_s: float


def simulate_split(
    traces: tuple[Trace, Trace], array: ArrayConfig, memory: MemoryConfig, link: Link, cores: CoreGroup = ONE_CORE
) -> SimResult:
    """The prefill of one trace on ``array`` and ``memory``, the decode of the other behind ``link``.

    Both are of the same model and sizes, each in the formats of its machine; K and V are kept alike.

    Raises:
        InputError: nothing to decode, K and V in two formats, steps of both phases, or what either machine refuses.
    """
    first, second = traces
    kept = [trace.formats.cached_bits(trace.shape.head_dim) for trace in traces]
    if kept[0] != kept[1]:
        raise InputError(
            f"decode_array must keep K and V as {array.name!r} does, in {kept[0]} bits per token and head, not "
            f"{kept[1]} of {link.array.name!r}; with attention vector both keep kv_bits"
        )
    names = [phase.name for phase in first.phases]
    if first.decode < 1 or "mixed" in names:
        what = "decode must be at least 1" if first.decode < 1 else "mixed_chunk must be left out"
        raise InputError(f"{what} where decode has a machine of its own (decode_array, decode_memory, decode_cores)")
    parts = [_of(first, "prefill"), _of(second, "decode")]
    before = simulate_trace(parts[0], array, memory, cores)
    after = simulate_trace(parts[1], link.array, link.memory, link.cores)
    bits = _cached_bits(first, kept[0])
    prefill = _sending(before.phases[0], bits, first.shape.layers, array.clock_hz, link)
    decode = _receiving(after.phases[0], bits)
    notes = [
        *before.notes,
        *(note for note in after.notes if note not in before.notes),
        f"prefill on {before.machine} with {memory.name}, decode on {after.machine} with {link.memory.name}; K and V "
        f"of the prompt, {bits / 8 / 2**20:.4g} MiB, pass a link of {link.bytes_per_s / 1e9:g} GB/s layer by layer; "
        "each phase is charged its own machine's power",
    ]
    machine = DecodeMachine(array=link.array, memory=link.memory, cores=link.cores)
    changes = {"phases": [prefill, decode], "notes": notes, "decode": first.decode, "decode_machine": machine}
    return before.model_copy(update=changes)


def exposed_cycles(layer_cycles: float, transfer_cycles: float, latency_cycles: float, layers: int) -> int:
    """Cycles behind the last layer until the last layer's K and V have arrived."""
    return math.ceil(latency_cycles + transfer_cycles + (layers - 1) * max(0.0, transfer_cycles - layer_cycles))


def _of(trace: Trace, name: str) -> Trace:
    """The phases called ``name`` alone; a machine of prefill keeps no K and V of decoded tokens."""
    phases = [phase for phase in trace.phases if phase.name == name]
    return trace.model_copy(update={"phases": phases} | ({"decode": 0} if name == "prefill" else {}))


def _cached_bits(trace: Trace, bits: int) -> int:
    """Of the whole prompt, where there is attention that reads them."""
    shape = trace.shape
    layers = sum(
        op.count for op in trace.phases[-1].ops if isinstance(op, AttentionOp) and op.name == "attention_scores"
    )
    return layers * shape.kv_heads * trace.prefill * trace.batch * bits


def _sending(phase: PhaseResult, bits: int, layers: int, clock_hz: float, link: Link) -> PhaseResult:
    """Prefill with what it waits for the link."""
    if not bits:
        return phase
    written = link.memory.bytes_per_s / link.memory.write_cost  # what the other memory takes
    transfer = bits / 8 / layers / min(link.bytes_per_s, written) * clock_hz
    cycles = exposed_cycles(phase.cycles / layers, transfer, link.latency_s * clock_hz, layers)
    op = OpResult(
        name="kv_transfer",
        unit="link",
        count=1,
        macs=0,
        cycles=cycles,
        causes=dict.fromkeys(CAUSES, 0) | {"output_stall": cycles},
        counts=ActionCounts(dram_read_bits=bits, host_link_bits=bits),
    )
    return phase.model_copy(update={"ops": [*phase.ops, op]})


def _receiving(phase: PhaseResult, bits: int) -> PhaseResult:
    """Decode with the writes of what came, which took place during prefill."""
    if not bits:
        return phase
    op = OpResult(
        name="kv_received",
        unit="link",
        count=1,
        macs=0,
        cycles=0,
        causes=dict.fromkeys(CAUSES, 0),
        counts=ActionCounts(dram_write_bits=bits),
    )
    return phase.model_copy(update={"ops": [op, *phase.ops]})
