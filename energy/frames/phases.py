"""A job as rows, one per machine and phase: time, causes, utilization, and joules by part with their range."""

from energy.summary import JobSummary
from sim.rows import Cell

__all__ = ["phase_rows"]


def phase_rows(summary: JobSummary) -> list[dict[str, Cell]]:
    """Rows of every machine, the ternary array first.

    Energies are J per token (per pass of a workload): ``j_PART_low``, ``j_PART`` (typical) and ``j_PART_high`` of each
    part and of their ``total``; ``cycles_CAUSE`` add up to ``cycles``.
    """
    rows: list[dict[str, Cell]] = []
    for machine in summary.machines:
        for phase in machine.phases:
            joules: dict[str, Cell] = {}
            for part, cost in [*phase.joules_per_token.items(), ("total", phase.total_j_per_token)]:
                joules |= {f"j_{part}_low": cost.low, f"j_{part}": cost.typical, f"j_{part}_high": cost.high}
            rows.append(
                {
                    "model": summary.model,
                    "machine": machine.name,
                    "arithmetic": machine.mac,
                    "memory": summary.memory,
                    "costs": summary.costs,
                    "hold": summary.hold,
                    "lanes": machine.lanes,
                    "batch": summary.batch,
                    "phase": phase.name,
                    "tokens": phase.tokens,
                    "cycles": phase.cycles,
                    "seconds": phase.seconds,
                    "tokens_per_s": phase.tokens_per_s,
                    "utilization": phase.utilization,
                    **{f"cycles_{cause}": cycles for cause, cycles in phase.causes.items()},
                    **joules,
                }
            )
    return rows
