"""A comparison of methods on the screen and as Markdown."""

from rich.console import Console
from rich.table import Table

from energy.compare import Comparison, MethodRow
from energy.reports.rows import si
from hw.pages import markdown_table

__all__ = ["comparison_markdown", "print_comparison"]

_HEADER = ("method", "true bits", "planes", "ppl A16", "ppl A8", "decode tok/s", "prefill", "J/token", "array J/token")


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print one row per method."""
    table = Table(title=_title(comparison), box=None, title_justify="left", caption_justify="left")
    for name in _HEADER:
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in comparison.rows:
        table.add_row(*_cells(row))
    console.print(table)
    console.print(f"evaluated on {comparison.text}; calibrated on {comparison.calibration}", highlight=False)


def comparison_markdown(comparison: Comparison) -> str:
    """The table, and under it what it was measured on."""
    rows = [_cells(row) for row in comparison.rows]
    machine = f"{comparison.array}, {comparison.memory}, {comparison.costs}"
    return "\n".join(
        [
            markdown_table(list(_HEADER), rows),
            "",
            f"{comparison.model} on {machine}; evaluated on {comparison.text}; calibrated on {comparison.calibration}.",
        ]
    )


def _title(comparison: Comparison) -> str:
    return f"{comparison.model}: methods on {comparison.array}, {comparison.memory}, {comparison.costs}"


def _cells(row: MethodRow) -> list[str]:
    return [
        row.method,
        f"{row.true_bits:.3f}",
        f"{row.planes:.2g}" if row.planes else "-",
        f"{row.perplexity_a16:.4g}",
        f"{row.perplexity_a8:.4g}",
        f"{row.decode_tokens_per_s:.4g}",
        si(row.prefill_s, "s"),
        si(row.decode_j_per_token, "J"),
        si(row.decode_array_j_per_token, "J"),
    ]
