"""The result as one self-contained HTML page with charts."""

import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from energy.reports.rows import SAVINGS, gating_line, headline, percent, reduction_rows, result_rows
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
    "dram_rows": "#d98b78",
    "dram_standby": "#e8bdb2",
    "dram_refresh": "#f3ddd7",
    "leakage": "#8a8a8a",
}
_OPS_SHOWN = 12
_NUMBERS = count(1)  # of the charts, so that each has an id of its own

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
    "height": 340,
    "margin": {"l": 90, "r": 20, "t": 50, "b": 40},
    "legend": {"orientation": "h", "y": -0.18, "traceorder": "normal"},
}


def html_page(title: str, body: str) -> str:
    """A page that needs no network: Plotly's script is inside."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<script>{_plotly_file('plotly.min.js')}</script></head>\n<body>{body}</body></html>\n"
    )


def html_table(header: list[str], rows: list[tuple[str, list[str]]], css: str = "") -> str:
    """A table; each row is a CSS class and its cells, already escaped or plain text without markup."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = [f'<tr class="{kind}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for kind, cells in rows]
    return f'<table class="{css}"><tr>{head}</tr>{"".join(lines)}</table>'


def figure_html(figure: Any) -> str:
    """One chart as a fragment of the page: ``data`` and ``layout`` of Plotly's script, or a Figure that holds them."""
    chart = figure if isinstance(figure, dict) else json.loads(figure.to_json())
    layout = {"template": json.loads(_plotly_file("templates/plotly_white.json"))} | chart["layout"]
    name, config = f"chart-{next(_NUMBERS)}", {"displaylogo": False, "responsive": True}
    call = ", ".join(json.dumps(part).replace("</", "<\\/") for part in (name, chart["data"], layout, config))
    return (
        f'<div id="{name}" style="height:{layout.get("height", 450)}px"></div>\n<script>Plotly.newPlot({call})</script>'
    )


@cache
def _plotly_file(name: str) -> str:
    """A file of the package plotly, which itself takes longer to import than all of a page to write."""
    package = find_spec("plotly")
    (folder,) = package.submodule_search_locations if package else ()
    return Path(folder, "package_data", name).read_text(encoding="utf-8")


def summary_html(summary: JobSummary, gantts: Sequence[str] = ()) -> str:
    """The report of the main job; ``gantts``: SVG charts of what the ternary machine's units do when."""
    header = ["", *(f"{machine.mac}<br>{machine.weight_bits:g}-bit weights" for machine in summary.machines)]
    strong = ("latency", "tokens/s", "energy per token", "total area")
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
        html_table(["", *SAVINGS], savings),
        "<p>Recipes of the energies and areas:</p>",
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
        for part, recipe in [*machine.energy_recipes.items(), *_area_recipes(machine)]
    ]


def _area_recipes(machine: MachineSummary) -> list[tuple[str, str]]:
    return [(f"area: {part}", recipe) for part, recipe in machine.area.recipes.items()] if machine.area else []


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


def _time_chart(summary: JobSummary, phase: str) -> dict[str, object]:
    """Seconds of a phase by cause, one bar per machine."""
    machines = summary.machines
    bars = [
        _bar(
            cause,
            [m.mac for m in machines],
            [m.phase(phase).causes.get(cause, 0) / summary.clock_hz for m in machines],
            colour,
        )
        for cause, colour in _CAUSE_COLOURS.items()
    ]
    return _chart(bars, f"{phase}: time by cause", "seconds")


def _energy_chart(summary: JobSummary, phase: str) -> dict[str, object]:
    """Joules per token by part, one bar per machine, with the range of the total."""
    machines = [machine.phase(phase) for machine in summary.machines]
    names = [machine.mac for machine in summary.machines]
    bars = [
        _bar(part, names, [p.joules_per_token[part].typical for p in machines], colour)
        for part, colour in _PART_COLOURS.items()
    ]
    totals = [p.total_j_per_token for p in machines]
    ranges = {
        "type": "scatter",
        "name": "low to high",
        "y": names,
        "x": [t.typical for t in totals],
        "mode": "markers",
        "marker": {"color": "#222", "symbol": "line-ns", "size": 1},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [t.high - t.typical for t in totals],
            "arrayminus": [t.typical - t.low for t in totals],
            "color": "#222",
        },
    }
    return _chart([*bars, ranges], f"{phase}: energy per token by part", "joules per token")


def _op_chart(summary: JobSummary, phase: str) -> dict[str, object]:
    """Seconds by op and cause on the ternary array, longest ops first."""
    ops = sorted(summary.ternary.phase(phase).ops, key=lambda op: op.cycles, reverse=True)[:_OPS_SHOWN]
    bars = [
        _bar(cause, [op.name for op in ops], [op.causes.get(cause, 0) / summary.clock_hz for op in ops], colour)
        for cause, colour in _CAUSE_COLOURS.items()
    ]
    return _chart(bars, f"{phase}: time by op", "seconds", height=440)


def _bar(name: str, labels: list[str], values: list[float], colour: str) -> dict[str, object]:
    """One colour of horizontal stacked bars."""
    marker = {"color": colour}
    return {
        "type": "bar",
        "name": name.replace("_", " "),
        "y": labels,
        "x": values,
        "orientation": "h",
        "marker": marker,
    }


def _chart(data: list[dict[str, object]], title: str, unit: str, **layout: object) -> dict[str, object]:
    """Horizontal bars, the first on top."""
    axes = {"xaxis": {"title": {"text": unit}}, "yaxis": {"autorange": "reversed"}}
    return {"data": data, "layout": _LAYOUT | {"title": {"text": title}} | axes | layout}
