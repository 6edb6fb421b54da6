"""The result on a terminal: one table, what is saved, and on what the numbers rest."""

from rich.console import Console
from rich.table import Table

from energy.reports.rows import SAVINGS, gating_line, headline, percent, reduction_rows, result_rows
from energy.reports.verdict import plain, verdict
from energy.sobol import SobolAnswer
from energy.summary import JobSummary
from quant.manifest import collapse_warning

__all__ = ["print_sobol", "print_summary"]

_PARTS = 4  # of an answer
_CLAIM = "INT8 mul + INT8 add -> INT8 add"  # the reading of "~91 %" that a published table reproduces


def print_summary(summary: JobSummary, console: Console) -> None:
    """Print a job's result."""
    for line in headline(summary):
        console.print(line, style="bold", highlight=False)
    console.print(plain(verdict(summary)), highlight=False)
    if summary.quality is not None:
        quality = summary.quality
        scores = ", ".join(f"{name} {value:.4g}" for name, value in quality.perplexity.items())
        console.print(
            f"{quality.method}: {quality.true_bits:.3f} true bits per weight, {percent(quality.zero_fraction)} zeros; "
            f"perplexity on {quality.text}: {scores}",
            highlight=False,
        )
        if warning := collapse_warning(quality.method, quality.perplexity):
            console.print(warning, style="bold red", highlight=False)
    console.print(_results(summary))
    console.print(_savings(summary))
    for machine in summary.machines:
        console.print(f"  {machine.mac} array: {machine.energy_recipes['array']}", style="dim", highlight=False)
    claim = min((line for line in summary.paper if line.recipe == _CLAIM), key=lambda line: line.table)
    console.print(
        f"  as papers count, one operator, no tree, registers or memory: {claim.recipe} saves "
        f"{percent(claim.reduction)} ({claim.table})",
        style="dim",
        highlight=False,
    )
    for gating in summary.clock_gating:
        console.print(gating_line(gating), highlight=False)
    for line in _operand_lines(summary):
        console.print(line, highlight=False)


def print_sobol(answers: list[SobolAnswer], console: Console) -> None:
    """Print the parts whose costs an answer varies with, one line per answer."""
    for one in answers:
        what = f"saved against {one.rival}" if one.rival else "energy per token"
        spread = f"{one.mean:.3g} +- {one.deviation:.2g}" + ("" if one.rival else " J")
        parts = ", ".join(f"{index.part} {index.total:.2f}" for index in one.indices[:_PARTS])
        line = f"Sobol, {one.phase}, {what} ({spread}): {parts} of its variance (total order, {one.samples} samples)"
        console.print(line, highlight=False)


def _results(summary: JobSummary) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    table.add_column("", no_wrap=True)
    for machine in summary.machines:
        table.add_column(f"{machine.mac}\nw{machine.weight_bits:g}", justify="right")
    for row in result_rows(summary):
        if row.section:
            table.add_row(f"[bold cyan]{row.label}[/]")
        else:
            strong = (
                "bold"
                if row.label in ("latency", "tokens/s", "energy per token", "energy per pass", "total area")
                else ""
            )
            table.add_row(f"  {row.label}", *row.cells, style=strong)
    return table


def _savings(summary: JobSummary) -> Table:
    table = Table(title="saved by ternary", box=None, padding=(0, 2), header_style="bold", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in SAVINGS:
        table.add_column(name, justify="right")
    for row in reduction_rows(summary):
        table.add_row(f"  {row.label}", *row.cells)
    return table


def _operand_lines(summary: JobSummary) -> list[str]:
    """One line per phase: what the operands look like and whether that was measured."""
    lines = []
    for phase in summary.ternary.phases:
        statistics = [s for name, s in summary.statistics.items() if name.startswith(f"{phase.name} ")]
        if not statistics:
            continue
        zeros = sum(s.zero_fraction for s in statistics) / len(statistics)
        toggles = sum(s.toggle_rate for s in statistics) / len(statistics)
        state = "[green]measured[/]" if all(s.measured for s in statistics) else "[red]assumed[/]"
        lines.append(f"{phase.name} operands {state}: {zeros:.3f} zeros, {toggles:.3f} toggles per bit")
    if statistics := list(summary.statistics.values()):
        lines.append(f"  [dim]{statistics[0].origin}[/]")
    return lines
