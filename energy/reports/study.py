"""A study on the screen and as a self-contained HTML page."""

from collections.abc import Iterable
from html import escape

import plotly.graph_objects as go
from rich.console import Console
from rich.table import Table

from energy.reports.page import figure_html, html_page, html_table
from energy.reports.rows import si
from energy.study import METRICS, StudyPoint, StudyResult

__all__ = ["print_study", "study_html"]

_ROWS_ON_SCREEN = 40


def print_study(result: StudyResult, console: Console) -> None:
    """Print the points, best first in the first metric; of a long study only the front and the next best."""
    points = _sorted(result)
    shown = points if len(points) <= _ROWS_ON_SCREEN else [p for p in points if p.pareto]
    table = Table(
        title=f"{result.study.name}: {len(points)} points, * = Pareto", box=None, pad_edge=False, title_justify="left"
    )
    for name in ("", *result.study.axes):
        table.add_column(name, justify="right", no_wrap=True)
    metrics = [name for name in METRICS if name != "buffer_bytes" or name in result.study.minimize]
    for name in metrics:
        table.add_column(_heading(name).replace(" ", "\n", 1), justify="right", no_wrap=True)
    for point in shown:
        table.add_row(*_cells(point, metrics), style="bold" if point.pareto else "")
    console.print(table)
    if len(shown) < len(points):
        console.print(f"{len(points) - len(shown)} dominated points are in study.json and report.html")


def study_html(result: StudyResult) -> str:
    """The study with its plot."""
    study = result.study
    rows = [
        ("strong" if point.pareto else "", [escape(cell) for cell in _cells(point, METRICS)])
        for point in _sorted(result)
    ]
    header = ["", *study.axes, *map(_heading, METRICS)]
    body = [
        f"<h1>{escape(study.name)}</h1>",
        f"<p>{escape(study.description)}</p>",
        f"<p>Base: {escape(', '.join(f'{k} {v}' for k, v in study.base.model_dump().items()))}. "
        f"Points marked * are on the Pareto front of {escape(' and '.join(study.minimize))}.</p>",
        figure_html(_scatter(result)),
        html_table(header, rows),
    ]
    return html_page(study.name, "\n".join(body))


def _sorted(result: StudyResult) -> list[StudyPoint]:
    return sorted(result.points, key=lambda point: point.metrics[result.study.minimize[0]])


def _cells(point: StudyPoint, metrics: Iterable[str]) -> list[str]:
    values = [str(value) for value in point.values.values()]
    return [
        "*" if point.pareto else "",
        *values,
        *(_format(point.metrics[name], unit) for name, unit in METRICS.items()),
    ]


def _heading(metric: str) -> str:
    """``decode_j_per_token`` as ``decode J/token``."""
    return metric.replace("_per_token", "/token").replace("_j/", "_J/").replace("_", " ")


def _format(value: float, unit: str) -> str:
    return f"{value:.0f}" if unit == "lanes" else si(value, unit)


def _label(point: StudyPoint) -> str:
    return "<br>".join(f"{name} = {value}" for name, value in point.values.items())


def _scatter(result: StudyResult) -> go.Figure:
    """The first two metrics against each other, one colour per value of the first axis, the front as a line."""
    x, y = result.study.minimize[:2]
    first, *_ = result.study.axes
    figure = go.Figure()
    for value in result.study.axes[first]:
        points = [point for point in result.points if point.values[first] == value]
        figure.add_scatter(
            name=f"{first} = {value}",
            x=[point.metrics[x] for point in points],
            y=[point.metrics[y] for point in points],
            text=[_label(point) for point in points],
            mode="markers",
            marker={"size": [11 if point.pareto else 7 for point in points]},
        )
    front = sorted((point for point in result.points if point.pareto), key=lambda point: point.metrics[x])
    figure.add_scatter(
        name="Pareto front",
        x=[point.metrics[x] for point in front],
        y=[point.metrics[y] for point in front],
        mode="lines",
        line={"color": "#888", "dash": "dot"},
    )
    figure.update_layout(
        template="plotly_white",
        height=520,
        xaxis={"title": f"{x} [{METRICS[x]}]", "type": "log"},
        yaxis={"title": f"{y} [{METRICS[y]}]", "type": "log"},
    )
    return figure
