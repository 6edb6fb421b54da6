"""Tables and JSON of a simulated run for the command line."""

from rich.table import Table

from sim.result import CAUSES, PhaseResult, SimResult

__all__ = ["op_table", "phase_table", "run_json"]


def run_json(result: SimResult) -> dict:
    """What the tables show, per phase and op, as JSON values."""
    return {
        "model": result.model,
        "array": result.array.name,
        "memory": result.memory.name,
        "cores": result.cores.model_dump(),
        "decode_machine": result.decode_machine
        and {
            "array": result.decode_machine.array.name,
            "memory": result.decode_machine.memory.name,
            "cores": result.decode_machine.cores.model_dump(),
        },
        "prefill": result.prefill,
        "decode": result.decode,
        "batch": result.batch,
        "phases": [
            {
                "name": phase.name,
                "cycles": phase.cycles,
                "seconds": result.seconds(phase),
                "tokens_per_s": phase.tokens / result.seconds(phase),
                "utilization": result.utilization(phase),
                "causes": phase.causes,
                "counts": phase.counts._asdict(),
                "ops": [op.model_dump() | {"counts": op.counts._asdict()} for op in phase.ops],
            }
            for phase in result.phases
        ],
        "notes": result.notes,
    }


def phase_table(result: SimResult) -> Table:
    """Phases side by side; each cause as a share of the phase's cycles."""
    table = Table(title=f"{result.model} on {result.machine} with {_memories(result)}, batch {result.batch}")
    table.add_column("")
    for phase in result.phases:
        heading = "a pass" if phase.name == "pass" else f"{phase.name} ({phase.tokens} tokens)"
        table.add_column(heading, justify="right")
    seconds = [result.seconds(phase) for phase in result.phases]
    per_s = "passes/s" if result.phases[0].name == "pass" else "tokens/s"
    table.add_row("cycles", *(f"{phase.cycles:,}" for phase in result.phases))
    table.add_row("time", *(_time(value) for value in seconds))
    table.add_row(per_s, *(f"{phase.tokens / s:.2f}" for phase, s in zip(result.phases, seconds, strict=True)))
    table.add_row("utilization of the array", *(f"{result.utilization(phase):.1%}" for phase in result.phases))
    for cause in CAUSES:
        if cause in ("host", "port_stall", "output_stall") and not any(phase.causes[cause] for phase in result.phases):
            continue
        shares = (f"{phase.causes[cause] / phase.cycles:.1%}" for phase in result.phases)
        table.add_row(f"  {cause.replace('_', ' ')}", *shares)
    return table


def _memories(result: SimResult) -> str:
    """Of prefill's machine, and of decode's where it is another."""
    return (
        f"{result.memory.name}, then {result.on('decode').memory.name}" if result.decode_machine else result.memory.name
    )


def op_table(phase: PhaseResult) -> Table:
    """Ops in order, each with the two causes that take most of its cycles."""
    table = Table(title=f"{phase.name}, by op")
    for heading in ("op", "on", "times", "cycles each", "cycles", "share", "mostly"):
        table.add_column(heading, justify="left" if heading in ("op", "on", "mostly") else "right")
    for op in phase.ops:
        largest = sorted((cause for cause in CAUSES if op.causes[cause]), key=op.causes.__getitem__, reverse=True)[:2]
        mostly = ", ".join(f"{cause.replace('_', ' ')} {op.causes[cause] / op.cycles:.0%}" for cause in largest)
        table.add_row(
            op.name,
            op.unit,
            f"{op.count}",
            f"{op.cycles / op.count:,.0f}",
            f"{op.cycles:,}",
            f"{op.cycles / phase.cycles:.1%}",
            mostly,
        )
    return table


def _time(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 0.01 else f"{seconds * 1e3:.3g} ms"
