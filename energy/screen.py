"""The result on a terminal: one table, what is saved, and on what the numbers rest."""

from rich.console import Console
from rich.table import Table

from energy.summary import JobSummary
from energy.table import headline, percent, reduction_rows, result_rows

__all__ = ["print_summary"]


def print_summary(summary: JobSummary, console: Console) -> None:
    """Print a job's result."""
    for line in headline(summary):
        console.print(line, style="bold", highlight=False)
    if summary.quality is not None:
        quality = summary.quality
        scores = ", ".join(f"{name} {value:.4g}" for name, value in quality.perplexity.items())
        console.print(
            f"{quality.method}: {quality.true_bits:.3f} true bits per weight, {percent(quality.zero_fraction)} zeros; "
            f"perplexity on {quality.text}: {scores}",
            highlight=False,
        )
    console.print(_results(summary))
    console.print(_savings(summary))
    console.print(_paper(summary))
    for name, statistics in _distinct_statistics(summary).items():
        state = "measured" if statistics.measured else "ASSUMED"
        console.print(
            f"zero fraction {statistics.zero_fraction:.3f}, operand toggles {statistics.toggle_rate:.3f} per bit "
            f"({state}, {name}): {statistics.origin}",
            highlight=False,
        )
    for note in summary.notes:
        console.print(f"note: {note}", style="dim", highlight=False)


def _results(summary: JobSummary) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    table.add_column("")
    for machine in summary.machines:
        table.add_column(f"{machine.mac}\n{machine.weight_bits:g}-bit weights", justify="right")
    for row in result_rows(summary):
        if row.section:
            table.add_row(f"[bold cyan]{row.label}[/]")
        else:
            strong = "bold" if row.label in ("latency", "tokens/s", "energy per token") else ""
            table.add_row(f"  {row.label}", *row.cells, style=strong)
    return table


def _savings(summary: JobSummary) -> Table:
    table = Table(title="saved by ternary", box=None, padding=(0, 2), header_style="bold", title_justify="left")
    table.add_column("")
    for name in ("latency", "array energy", "compute energy", "whole system"):
        table.add_column(name, justify="right")
    for row in reduction_rows(summary):
        table.add_row(f"  {row.label}", *row.cells)
    table.add_section()
    for recipe in dict.fromkeys(machine.energy_recipes["array"] for machine in summary.machines):
        table.add_row(f"  [dim]recipe: {recipe}[/]")
    return table


def _paper(summary: JobSummary) -> Table:
    table = Table(
        title="single-operator arithmetic, as papers print it (derived; no tree, registers or memory)",
        box=None,
        padding=(0, 2),
        title_justify="left",
        show_header=False,
    )
    for line in summary.paper:
        table.add_row(f"  {line.recipe}", line.table, percent(line.reduction))
    return table


def _distinct_statistics(summary: JobSummary) -> dict:
    """Operand statistics, ops with the same figures merged under one label."""
    merged: dict[tuple, list[str]] = {}
    for name, statistics in summary.statistics.items():
        merged.setdefault(tuple(statistics.model_dump().values()), []).append(name)
    return {", ".join(names): summary.statistics[names[0]] for names in merged.values()}
