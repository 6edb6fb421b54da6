"""A run as rows, one per kind of op of each phase, as ``pandas.DataFrame`` and ``polars.DataFrame`` take them."""

from sim.result import CAUSES, SimResult

__all__ = ["Cell", "op_rows"]

Cell = str | int | float | bool | None


def op_rows(result: SimResult) -> list[dict[str, Cell]]:
    """Rows in the order of execution, all with the same columns.

    ``cycles`` are of all ``count`` executions and the sum of the columns ``cycles_CAUSE``; ``seconds`` at the clock of
    the phase's machine; the counts are those of ``ActionCounts``; operands' statistics are None where an op has none.
    """
    rows: list[dict[str, Cell]] = []
    for phase in result.phases:
        on = result.on(phase.name)
        for op in phase.ops:
            operands = op.statistics
            rows.append(
                {
                    "model": result.model,
                    "method": result.method,
                    "machine": on.machine,
                    "arithmetic": on.array.mac,
                    "memory": on.memory.name,
                    "phase": phase.name,
                    "tokens": phase.tokens,
                    "steps": phase.steps,
                    "op": op.name,
                    "unit": op.unit,
                    "count": op.count,
                    "macs": op.macs,
                    "cycles": op.cycles,
                    "seconds": op.cycles / on.array.clock_hz,
                    **{f"cycles_{cause}": op.causes.get(cause, 0) for cause in CAUSES},
                    **op.counts._asdict(),
                    "zero_fraction": operands and operands.zero_fraction,
                    "toggle_rate": operands and operands.toggle_rate,
                    "input_toggle_rate": operands and operands.input_toggle_rate,
                    "measured": operands and operands.measured,
                }
            )
    return rows
