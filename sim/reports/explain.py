"""What bounds each phase, in words and numbers, and which single change helps most: each change is simulated."""

import math
from collections.abc import Callable
from typing import NamedTuple

from hw.config import ArrayConfig
from hw.errors import InputError
from sim.cores import CoreGroup
from sim.memory import MemoryConfig
from sim.result import CAUSES, PhaseResult, SimResult

__all__ = ["Change", "PhaseExplanation", "Roofline", "explain", "explanation_json", "explanation_lines"]

_WORDS = {
    "ideal": "the array itself: every lane takes an operand",
    "fill_drain": "filling and draining the array",
    "weight_stall": "the weight bus: tiles are used faster than they stream in",
    "dram_stall": "DRAM",
    "vector": "the vector unit, while the array waits for it",
    "host": "the host and its link",
    "output_stall": "results or partial sums of other cores on their way out",
}


Rerun = Callable[[ArrayConfig, MemoryConfig, CoreGroup], SimResult]


class Roofline(NamedTuple):
    """Where a phase stands under the roof of its array and memory."""

    macs_per_byte: float  # all multiply-accumulates over all DRAM bytes
    ridge: float  # macs_per_byte at which array and memory take equally long
    roof_cycles: float  # the longer of array time at full use and DRAM time at sustained bandwidth
    reached: float  # roof_cycles over the phase's cycles
    dram_busy: float  # share of the cycles in which DRAM moves bytes or turns around


class Change(NamedTuple):
    """One parameter doubled, everything else kept, and the phase simulated again."""

    what: str
    speedup: float


class PhaseExplanation(NamedTuple):
    """Why a phase takes as long as it does."""

    phase: str
    cycles: int
    shares: dict[str, float]  # of CAUSES
    edge_loss: float  # lanes of issued vectors that edge tiles, masks and short rows leave idle
    roofline: Roofline
    dram_efficiency: float  # sustained over peak bandwidth
    dram_losses: tuple[float, float] | None  # of peak: to banks, to refresh; None where no banks are described
    interleaving: float  # speed-up of sequential streams whose neighbouring bursts go to other bank groups
    largest_ops: list[tuple[str, float]]  # name, share of the cycles
    mapped_op: str  # the largest op whose mapping was chosen
    mappings: dict[str, int]  # cycles of one of its GEMMs under each mapping that was tried, the chosen one first
    changes: list[Change]  # best first
    twice_the_cores: float  # speed-up


def explain(result: SimResult, rerun: Rerun) -> list[PhaseExplanation]:
    """Explain each phase of ``result``; ``rerun`` simulates the same work on another machine."""
    variants = {what: rerun(*machine) for what, *machine in _doubled(result.array, result.memory, result.cores)}
    twice = result.cores.model_copy(update={"count": 2 * result.cores.count})
    more_cores = rerun(twice.fed(result.array), result.memory, twice)
    return [_explain_phase(phase, result, variants, more_cores) for phase in result.phases]


def explanation_lines(explanation: PhaseExplanation) -> list[str]:
    """The explanation as sentences."""
    bound = max(explanation.shares, key=explanation.shares.__getitem__)
    others = [
        f"{cause.replace('_', ' ')} {share:.0%}"
        for cause, share in explanation.shares.items()
        if cause != bound and share >= 0.01
    ]
    roofline, best = explanation.roofline, explanation.changes[0]
    side = "memory" if roofline.macs_per_byte < roofline.ridge else "array"
    largest = ", ".join(f"{name} {share:.0%}" for name, share in explanation.largest_ops)
    changes = ", ".join(f"{change.what} {change.speedup:.2f}x" for change in explanation.changes)
    helps = f"{best.what} would help most ({best.speedup:.2f}x)" if best.speedup >= 1.01 else "no single doubling helps"
    losses, efficiency = explanation.dram_losses, f"{explanation.dram_efficiency:.0%}"
    lost = f"; banks lose {losses[0]:.1%}, refresh {losses[1]:.1%}" if losses else ""
    if explanation.interleaving > 1.01:
        lost += "; an address map that interleaves bank groups would make its streams "
        lost += f"{explanation.interleaving:.2f}x as fast"
    idle = f"edge tiles and masks idle {explanation.edge_loss:.1%} of issued lanes"
    share = f"{explanation.shares[bound]:.0%}"
    return [
        f"{explanation.phase}: {explanation.cycles:,} cycles, {share} of them bound by {_WORDS[bound]}",
        f"  other causes: {', '.join(others) or 'none above 1 %'}; {idle}",
        f"  largest ops: {largest}",
        *_mapping_lines(explanation),
        f"  DRAM is busy for {roofline.dram_busy:.0%} of the cycles at {efficiency} of its pins' peak{lost}",
        f"  roofline: {roofline.macs_per_byte:.1f} MACs per DRAM byte, ridge at {roofline.ridge:.1f}, so the {side} is "
        f"the roof; {roofline.reached:.0%} of it is reached",
        f"  {helps}; doubled one at a time and simulated: {changes}",
        f"  twice the cores behind the same buffers and DRAM: {explanation.twice_the_cores:.2f}x",
    ]


def _mapping_lines(explanation: PhaseExplanation) -> list[str]:
    """Which mapping the largest GEMM runs under, and how much longer the others would take it."""
    if not explanation.mappings:
        return []
    (chosen, cycles), *others = explanation.mappings.items()
    slower = "; ".join(f"{label}: {more / cycles - 1:+.1%}" for label, more in others)
    tried = f"others tried: {slower}" if slower else "no other fits it"
    return [f"  mapping of {explanation.mapped_op}: {chosen} ({cycles:,} cycles); {tried}"]


def explanation_json(explanation: PhaseExplanation) -> dict:
    """The explanation as JSON values, its sentences among them."""
    fields = explanation._asdict() | {
        "roofline": explanation.roofline._asdict(),
        "changes": [change._asdict() for change in explanation.changes],
    }
    return fields | {"sentences": explanation_lines(explanation)}


def _explain_phase(
    phase: PhaseResult, result: SimResult, variants: dict[str, SimResult], more_cores: SimResult
) -> PhaseExplanation:
    counts, macs = phase.counts, sum(op.macs for op in phase.ops)
    dram_bytes = (counts.dram_read_bits + counts.dram_write_bits) / 8
    busy_bytes = dram_bytes + (result.memory.write_cost - 1) * counts.dram_write_bits / 8
    bytes_per_cycle = result.memory.bytes_per_cycle(result.array.clock_hz)
    roof_cycles = max(macs / result.lanes, dram_bytes / bytes_per_cycle)
    ops = sorted(phase.ops, key=lambda op: op.cycles, reverse=True)[:3]
    changes = [Change(what, phase.cycles / variant.phase(phase.name).cycles) for what, variant in variants.items()]
    issued = counts.array_macs + counts.array_macs_padding
    mapped = max((op for op in phase.ops if op.tried), key=lambda op: op.cycles, default=None)
    return PhaseExplanation(
        phase=phase.name,
        cycles=phase.cycles,
        shares={cause: phase.causes[cause] / phase.cycles for cause in CAUSES},
        edge_loss=counts.array_macs_padding / issued if issued else 0.0,
        roofline=Roofline(
            macs / dram_bytes if dram_bytes else math.inf,
            result.lanes / bytes_per_cycle,
            roof_cycles,
            roof_cycles / phase.cycles,
            busy_bytes / bytes_per_cycle / phase.cycles,
        ),
        dram_efficiency=result.memory.sequential_efficiency,
        dram_losses=_dram_losses(result.memory),
        interleaving=_interleaving(result.memory),
        largest_ops=[(op.name, op.cycles / phase.cycles) for op in ops],
        mapped_op=mapped.name if mapped else "",
        mappings=mapped.tried if mapped else {},
        changes=sorted(changes, key=lambda change: change.speedup, reverse=True),
        twice_the_cores=phase.cycles / more_cores.phase(phase.name).cycles,
    )


def _dram_losses(memory: MemoryConfig) -> tuple[float, float] | None:
    """Shares of the pins' peak that a sequential stream loses to banks and to refresh."""
    if memory.dram is None:
        return None
    stream = memory.dram.sequential()
    return stream.bank_loss, stream.refresh_loss


def _interleaving(memory: MemoryConfig) -> float:
    """What another address map would make of a sequential stream; 1 where no banks are described."""
    if memory.dram is None:
        return 1.0
    return memory.dram.interleaved().sequential().efficiency / memory.dram.sequential().efficiency


def _doubled(
    array: ArrayConfig, memory: MemoryConfig, cores: CoreGroup
) -> list[tuple[str, ArrayConfig, MemoryConfig, CoreGroup]]:
    """The machine with one parameter doubled at a time; changes that no machine can have are left out."""
    fields = {
        "columns": {
            "cols": 2 * array.cols,
            "weight_buffer_bytes": max(array.weight_buffer_bytes, 4 * cores.count * array.tile_bytes),
        },
        "weight bus": {"weight_bus_bits": 2 * array.weight_bus_bits},
        "vector lanes": {"vector_lanes": 2 * array.vector_lanes},
        "activation buffer": {"activation_buffer_bytes": 2 * array.activation_buffer_bytes},
        "weight buffer": {"weight_buffer_bytes": 2 * array.weight_buffer_bytes},
    }
    machines = [
        ("memory channels", array, memory.model_copy(update={"channels": 2 * memory.channels}), cores),
    ]
    for what, changes in fields.items():
        try:
            machines.append((what, _changed(array, changes), memory, cores))
        except InputError:
            continue
    return machines


def _changed(array: ArrayConfig, changes: dict[str, int]) -> ArrayConfig:
    """``array`` with ``changes``, validated.

    Raises:
        InputError: such an array cannot be.
    """
    try:
        return ArrayConfig(**array.model_dump() | changes)
    except ValueError as error:
        raise InputError(str(error)) from None
