"""The result as one self-contained HTML page with charts."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from energy.reports.rows import gating_line, headline, percent, reduction_rows, result_rows
from energy.summary import JobSummary, MachineSummary
from sim.result import CAUSES

__all__ = ["html_page", "html_table", "summary_html"]

_COLOURS = ("#2a7f62", "#9bb8ab", "#e0a458", "#c8553d", "#5b7db1", "#b07aa1", "#7d5ba6")
_CAUSE_COLOURS = dict(zip(CAUSES, _COLOURS, strict=True))
_PART_COLOURS = {
    "array": "#2a7f62",
    "vector": "#5b7db1",
    "host": "#b07aa1",
    "sram": "#e0a458",
    "dram": "#c8553d",
    "leakage": "#8a8a8a",
}
_OPS_SHOWN = 12

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1000px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .15em .8em; text-align: right; }
td:first-child, th:first-child { text-align: left; } th { border-bottom: 1px solid #888; vertical-align: bottom; }
tr.section td { font-weight: bold; color: #2a7f62; padding-top: .7em; } tr.strong td { font-weight: bold; }
.assumed { color: #c8553d; font-weight: bold; } .small { font-size: .85em; color: #555; }
.wrap td { white-space: normal; text-align: left; }
"""

_LAYOUT = {
    "barmode": "stack",
    "template": "plotly_white",
    "height": 340,
    "margin": {"l": 90, "r": 20, "t": 50, "b": 40},
    "legend": {"orientation": "h", "y": -0.18, "traceorder": "normal"},
}


def html_page(title: str, body: str) -> str:
    """A page that needs no network: Plotly's script is inside."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<script>{get_plotlyjs()}</script></head>\n<body>{body}</body></html>\n"
    )


def html_table(header: list[str], rows: list[tuple[str, list[str]]], css: str = "") -> str:
    """A table; each row is a CSS class and its cells, already escaped or plain text without markup."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = [f'<tr class="{kind}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for kind, cells in rows]
    return f'<table class="{css}"><tr>{head}</tr>{"".join(lines)}</table>'


def figure_html(figure: go.Figure) -> str:
    """One chart as a fragment of the page."""
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})


def summary_html(summary: JobSummary, gantts: Sequence[str] = ()) -> str:
    """The report of the main job; ``gantts``: SVG charts of what the ternary machine's units do when."""
    header = ["", *(f"{machine.mac}<br>{machine.weight_bits:g}-bit weights" for machine in summary.machines)]
    strong = ("latency", "tokens/s", "energy per token")
    results = [
        ("section" if row.section else "strong" if row.label in strong else "", [escape(row.label), *row.cells])
        for row in result_rows(summary)
    ]
    savings = [("", [escape(row.label), *row.cells]) for row in reduction_rows(summary)]
    paper = [("", [escape(p.recipe), p.table, percent(p.reduction)]) for p in summary.paper]
    phases = [phase.name for phase in summary.ternary.phases]
    body = [
        f"<h1>{escape(summary.model)} on {escape(summary.ternary.name)}</h1>",
        f"<p>{'<br>'.join(map(escape, headline(summary)))}</p>",
        _quality(summary),
        html_table(header, results),
        *(figure_html(_time_chart(summary, name)) for name in phases),
        *(figure_html(_energy_chart(summary, name)) for name in phases),
        "<h2>Saved by ternary</h2>",
        html_table(["", "latency", "array energy", "compute energy", "whole system"], savings),
        "<p>Recipes of the energies:</p>",
        html_table(["", "part", "recipe"], _recipe_rows(summary.machines), "wrap small"),
        "<p>Single-operator arithmetic, as papers print it (derived from the table; no tree, registers, memory):</p>",
        html_table(["recipe", "table", "reduction"], paper),
        "<h2>Where the ternary array's time goes</h2>",
        *(figure_html(_op_chart(summary, name)) for name in phases),
        "<h2>What its units do in one decoder layer</h2>" if gantts else "",
        *gantts,
        "<h2>Operands</h2>",
        html_table(
            ["linear", "zero fraction", "operand toggles per bit", "activation toggles per bit", "", "origin"],
            _statistics_rows(summary),
            "wrap small",
        ),
        *(f"<p>{escape(gating_line(gating))}</p>" for gating in summary.clock_gating),
        "<h2>Notes</h2>",
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in summary.notes) + "</ul>",
    ]
    return html_page(f"{summary.model} on {summary.ternary.name}", "\n".join(body))


def _quality(summary: JobSummary) -> str:
    if (quality := summary.quality) is None:
        return ""
    scores = ", ".join(f"{name} {value:.4g}" for name, value in quality.perplexity.items())
    return (
        f"<p>Quantized by <b>{escape(quality.method)}</b>: {quality.true_bits:.3f} true bits per weight, "
        f"{percent(quality.zero_fraction)} zeros. Perplexity on {escape(quality.text)}: {scores}. "
        f"Calibrated on {escape(quality.calibration)}.</p>"
    )


def _recipe_rows(machines: list[MachineSummary]) -> list[tuple[str, list[str]]]:
    return [
        ("", [machine.mac if part == "array" else "", part, escape(recipe)])
        for machine in machines
        for part, recipe in machine.energy_recipes.items()
    ]


def _statistics_rows(summary: JobSummary) -> list[tuple[str, list[str]]]:
    return [
        (
            "",
            [
                escape(name),
                f"{s.zero_fraction:.3f}",
                f"{s.toggle_rate:.3f}",
                f"{s.input_toggle_rate:.3f}",
                "measured" if s.measured else '<span class="assumed">assumed</span>',
                escape(s.origin),
            ],
        )
        for name, s in summary.statistics.items()
    ]


def _time_chart(summary: JobSummary, phase: str) -> go.Figure:
    """Seconds of a phase by cause, one bar per machine."""
    machines = summary.machines
    figure = go.Figure()
    for cause, colour in _CAUSE_COLOURS.items():
        seconds = [m.phase(phase).causes.get(cause, 0) / summary.clock_hz for m in machines]
        figure.add_bar(
            name=cause.replace("_", " "), y=[m.mac for m in machines], x=seconds, orientation="h", marker_color=colour
        )
    figure.update_layout(title=f"{phase}: time by cause", xaxis_title="seconds", **_LAYOUT)
    figure.update_yaxes(autorange="reversed")
    return figure


def _energy_chart(summary: JobSummary, phase: str) -> go.Figure:
    """Joules per token by part, one bar per machine, with the range of the total."""
    machines = [machine.phase(phase) for machine in summary.machines]
    names = [machine.mac for machine in summary.machines]
    figure = go.Figure()
    for part, colour in _PART_COLOURS.items():
        values = [p.joules_per_token[part].typical for p in machines]
        figure.add_bar(name=part, y=names, x=values, orientation="h", marker_color=colour)
    totals = [p.total_j_per_token for p in machines]
    figure.add_scatter(
        name="low to high",
        y=names,
        x=[t.typical for t in totals],
        mode="markers",
        marker={"color": "#222", "symbol": "line-ns", "size": 1},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [t.high - t.typical for t in totals],
            "arrayminus": [t.typical - t.low for t in totals],
            "color": "#222",
        },
    )
    figure.update_layout(title=f"{phase}: energy per token by part", xaxis_title="joules per token", **_LAYOUT)
    figure.update_yaxes(autorange="reversed")
    return figure


def _op_chart(summary: JobSummary, phase: str) -> go.Figure:
    """Seconds by op and cause on the ternary array, longest ops first."""
    ops = sorted(summary.ternary.phase(phase).ops, key=lambda op: op.cycles, reverse=True)[:_OPS_SHOWN]
    figure = go.Figure()
    for cause, colour in _CAUSE_COLOURS.items():
        seconds = [op.causes.get(cause, 0) / summary.clock_hz for op in ops]
        figure.add_bar(
            name=cause.replace("_", " "), y=[op.name for op in ops], x=seconds, orientation="h", marker_color=colour
        )
    figure.update_layout(title=f"{phase}: time by op", xaxis_title="seconds", **_LAYOUT | {"height": 440})
    figure.update_yaxes(autorange="reversed")
    return figure
