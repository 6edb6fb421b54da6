"""What bounds each phase, in words and numbers, and which single change helps most: each change is simulated."""

import math
from typing import NamedTuple

from sim.memory import MemoryConfig
from sim.reports.doublings import WORTH, Bound, Change, Rerun, bound_of, doubled, machine_of, speedups
from sim.result import CAUSES, PhaseResult, SimResult

__all__ = ["PhaseExplanation", "Roofline", "explain", "explanation_json", "explanation_lines"]

_SHOWN_SHARE = 0.01  # of the cycles: causes below it are not printed

_WORDS = {
    "memory channels": "DRAM: its bandwidth",
    "memory latency": "DRAM: the latency of first words",
    "columns": "the array itself: its lanes",
    "weight bus": "the weight bus: tiles are used faster than they stream in",
    "vector lanes": "the vector unit",
    "attention lanes": "the attention unit",
    "vector bus": "the vector unit's bus: weights, K or V are used faster than it brings them",
    "weight port": "the weight buffer's port",
    "activation port": "the activation buffer's port",
    "accumulator port": "the accumulators' port",
    "activation buffer": "the activation buffer: what does not fit goes to DRAM and back",
    "weight buffer": "the weight buffer: how far DRAM is ahead, and what stays",
    "core link": "the link between cores: partial sums on their way",
    "host": "the host and its link",
}
_CAUSE_WORDS = {
    "ideal": "the array works on every cycle that anything could give it",
    "fill_drain": "filling and draining the array",
    "weight_stall": "the weight bus",
    "dram_stall": "DRAM",
    "vector": "the vector unit",
    "host": "the host",
    "port_stall": "the ports of the buffers",
    "output_stall": "results on their way out",
}


class Roofline(NamedTuple):
    """Where a phase stands under the roof of its array and memory."""

    macs_per_byte: float  # all multiply-accumulates over all DRAM bytes
    ridge: float  # macs_per_byte at which array and memory take equally long
    roof_cycles: float  # the longer of array time at full use and DRAM time at sustained bandwidth
    reached: float  # roof_cycles over the phase's cycles
    dram_busy: float  # share of the cycles in which DRAM moves bytes or turns around


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
    bound: Bound  # what the changes say
    twice_the_cores: float  # speed-up


def explain(result: SimResult, rerun: Rerun) -> list[PhaseExplanation]:
    """Explain each phase of ``result``; ``rerun`` simulates the same work on another machine."""
    if result.decode_machine:  # each phase on its own machine
        views = [(phase.name, result.on(phase.name)) for phase in result.phases]
        return [one for name, view in views for one in explain(view, rerun) if one.phase == name]
    variants = {what: rerun(machine) for what, machine in doubled(result).items()}
    twice = result.cores.model_copy(update={"count": 2 * result.cores.count})
    more_cores = rerun(machine_of(result)._replace(array=twice.fed(result.array), cores=twice))
    return [_explain_phase(phase, result, variants, more_cores, rerun) for phase in result.phases]


def explanation_lines(explanation: PhaseExplanation) -> list[str]:
    """The explanation as sentences."""
    causes = [
        f"{cause.replace('_', ' ')} {share:.0%}" for cause, share in explanation.shares.items() if share >= _SHOWN_SHARE
    ]
    roofline = explanation.roofline
    side = "memory" if roofline.macs_per_byte < roofline.ridge else "array"
    largest = ", ".join(f"{name} {share:.0%}" for name, share in explanation.largest_ops)
    changes = ", ".join(f"{change.what} {change.speedup:.2f}x" for change in explanation.changes)
    losses, efficiency = explanation.dram_losses, f"{explanation.dram_efficiency:.0%}"
    lost = f"; banks lose {losses[0]:.1%}, refresh {losses[1]:.1%}" if losses else ""
    if explanation.interleaving > WORTH:
        lost += "; an address map that interleaves bank groups would make its streams "
        lost += f"{explanation.interleaving:.2f}x as fast"
    idle = f"edge tiles and masks idle {explanation.edge_loss:.1%} of issued lanes"
    return [
        f"{explanation.phase}: {explanation.cycles:,} cycles, {_bound_words(explanation)}",
        f"  cycles: {', '.join(causes)}; {idle}",
        f"  largest ops: {largest}",
        *_mapping_lines(explanation),
        f"  DRAM is busy for {roofline.dram_busy:.0%} of the cycles at {efficiency} of its pins' peak{lost}",
        f"  roofline: {roofline.macs_per_byte:.1f} MACs per DRAM byte, ridge at {roofline.ridge:.1f}, so the {side} is "
        f"the roof; {roofline.reached:.0%} of it is reached",
        f"  doubled one at a time and simulated: {changes}",
        f"  twice the cores behind the same buffers and DRAM: {explanation.twice_the_cores:.2f}x",
    ]


def _bound_words(explanation: PhaseExplanation) -> str:
    """What the phase is bound by: what helps most when doubled, and never what its doubling does not help."""
    bound = explanation.bound
    if not bound.what:
        largest = max(explanation.shares, key=explanation.shares.__getitem__)
        return f"and no doubling helps; most of them: {_CAUSE_WORDS[largest]}"
    if len(bound.what) > 1:
        both = " and ".join(bound.what)
        return f"bound by {both}, which are level: one alone helps nothing, both doubled {bound.speedup:.2f}x"
    words = f"bound by {_WORDS[bound.what[0]]} ({bound.what[0]} doubled: {bound.speedup:.2f}x)"
    if bound.level_with:
        other, speedup = bound.level_with
        words += f", with {other} close behind (both doubled: {speedup:.2f}x)"
    return words


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
        "bound": explanation.bound._asdict(),
        "changes": [change._asdict() for change in explanation.changes],
    }
    return fields | {"sentences": explanation_lines(explanation)}


def _explain_phase(
    phase: PhaseResult, result: SimResult, variants: dict[str, SimResult], more_cores: SimResult, rerun: Rerun
) -> PhaseExplanation:
    counts, macs = phase.counts, sum(op.macs for op in phase.ops)
    dram_bytes = (counts.dram_read_bits + counts.dram_write_bits) / 8
    busy_bytes = dram_bytes + (result.memory.write_cost - 1) * counts.dram_write_bits / 8
    bytes_per_cycle = result.memory.bytes_per_cycle(result.array.clock_hz)
    roof_cycles = max(macs / result.lanes, dram_bytes / bytes_per_cycle)
    ops = sorted(phase.ops, key=lambda op: op.cycles, reverse=True)[:3]
    changes = speedups(phase, variants)
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
        changes=changes,
        bound=bound_of(result, phase, changes, rerun),
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
