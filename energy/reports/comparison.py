"""A comparison of methods on the screen and as a self-contained HTML page."""

from html import escape

import plotly.graph_objects as go
from rich.console import Console
from rich.table import Table

from energy.compare import Comparison, MethodRow
from energy.reports.page import figure_html, html_page, html_table
from energy.reports.rows import si
from hw.pages import markdown_table

__all__ = ["comparison_html", "comparison_markdown", "print_comparison"]

_HEADER = ("method", "true bits", "planes", "ppl A16", "ppl A8", "decode tok/s", "prefill", "J/token", "array J/token")


_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "hexagon")  # as many as no colour repeats


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


def comparison_html(comparison: Comparison) -> str:
    """The table and its picture: perplexity against bits, and against energy per token."""
    rows = [("", [escape(cell) for cell in _cells(row)]) for row in comparison.rows]
    body = [
        f"<h1>{escape(_title(comparison))}</h1>",
        f"<p>Evaluated on {escape(comparison.text)}; calibrated on {escape(comparison.calibration)}.</p>",
        figure_html(_scatter(comparison, "true_bits", "true bits per weight")),
        figure_html(_scatter(comparison, "decode_j_per_token", "joules per decoded token")),
        html_table(list(_HEADER), rows),
    ]
    return html_page(_title(comparison), "\n".join(body))


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


def _scatter(comparison: Comparison, field: str, title: str) -> go.Figure:
    """Perplexity against a field of the rows; every method has a colour and a symbol of its own."""
    figure = go.Figure()
    for index, row in enumerate(comparison.rows):
        figure.add_scatter(
            name=row.method,
            x=[getattr(row, field)],
            y=[row.perplexity_a8],
            mode="markers",
            marker={"size": 11, "symbol": _SYMBOLS[index % len(_SYMBOLS)]},
        )
    figure.update_layout(
        template="plotly_white",
        height=460,
        margin={"t": 20},
        xaxis={"title": title, "type": "log", "minor": {"showgrid": True}, "nticks": 8},
        yaxis={"title": "perplexity, int8 activations", "type": "log", "exponentformat": "power"},
    )
    return figure
