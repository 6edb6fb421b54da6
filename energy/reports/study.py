"""A study on the screen and as a self-contained HTML page."""

from html import escape

import plotly.graph_objects as go
from rich.console import Console
from rich.table import Table

from energy.reports.page import figure_html, html_page, html_table
from energy.reports.rows import si
from energy.study.axes import Value
from energy.study.document import Study
from energy.study.metrics import HIGH, LOW, METRICS
from energy.study.result import StudyPoint, StudyResult

__all__ = ["print_study", "study_html"]

_ROWS_ON_SCREEN = 40
_ROWS_ON_PAGE = 1000
_REASONS = 5  # on the screen
_WITH_PREFIX = ("s", "J", "W", "B", "J s")  # units of a cell; others stand in the heading
# On the screen, beside the objectives.
_SHOWN = ("user_s_per_token", "decode_j_per_token", "first_token_s", "decode_tokens_per_s", "power_w")


def print_study(result: StudyResult, console: Console) -> None:
    """Print feasible points, best first, or the front of a long study; then why others are out."""
    study, points = result.study, _sorted(result)
    shown = points if len(points) <= _ROWS_ON_SCREEN else [p for p in points if p.pareto][:_ROWS_ON_SCREEN]
    title = f"{study.name}: {len(points)} of {len(result.points)} points feasible, * = Pareto"
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    table.add_column("", no_wrap=True, min_width=1)
    for name in study.columns:
        table.add_column(name, justify="right", no_wrap=True)
    metrics = list(dict.fromkeys((*study.objectives, *study.derived, *_SHOWN)))
    for name in metrics:
        table.add_column(_heading(study, name).replace(" ", "\n"), justify="right", no_wrap=True)
    for point in shown:
        table.add_row(*_cells(study, point, metrics), style="bold" if point.pareto else "")
    console.print(table)
    if len(shown) < len(points):
        console.print(f"{len(points) - len(shown)} more feasible points are in points.csv")
    _print_reasons(result, console)


def study_html(result: StudyResult) -> str:
    """The study with its plot."""
    study, points = result.study, _sorted(result)
    shown = points if len(points) <= _ROWS_ON_PAGE else [p for p in points if p.pareto][:_ROWS_ON_PAGE]
    metrics = [*METRICS, *study.derived]
    rows = [
        ("strong" if point.pareto else "", [escape(cell) for cell in _cells(study, point, metrics, ranges=True)])
        for point in shown
    ]
    body = [
        f"<h1>{escape(study.name)}</h1>",
        f"<p>{escape(study.description)}</p>",
        f"<p>Base: {escape(', '.join(f'{k} {v}' for k, v in study.base.model_dump().items()))}. "
        f"{len(points)} of {len(result.points)} points are feasible. Points marked * are on the Pareto front of "
        f"{escape(_objectives(study))}. Energies, power and area are typical figures (low to high).</p>",
        figure_html(_scatter(study, shown)),
        html_table(["", *study.columns, *(_heading(study, name) for name in metrics)], rows),
    ]
    if len(shown) < len(points):
        body.append(f"<p>{len(points) - len(shown)} more feasible points are in points.csv.</p>")
    if reasons := result.reasons():
        body.append("<h2>Why points are out</h2>")
        body.append(html_table(["points", "reason"], [("", [str(count), escape(why)]) for why, count in reasons]))
    return html_page(study.name, "\n".join(body))


def _print_reasons(result: StudyResult, console: Console) -> None:
    reasons = result.reasons()
    for why, count in reasons[:_REASONS]:
        console.print(f"{count} out: {why}", highlight=False, markup=False)
    if len(reasons) > _REASONS:
        rest = sum(count for _, count in reasons[_REASONS:])
        console.print(f"{rest} out for {len(reasons) - _REASONS} more reasons, in points.csv")


def _objectives(study: Study) -> str:
    parts = [f"small {name}" for name in study.minimize] + [f"large {name}" for name in study.maximize]
    return ", ".join(parts)


def _sorted(result: StudyResult) -> list[StudyPoint]:
    """Feasible points, best first."""
    first, *_ = result.study.objectives
    sign = 1 if first in result.study.minimize else -1
    return sorted(result.feasible, key=lambda point: sign * (point.metrics[first] or 0.0))


def _cells(study: Study, point: StudyPoint, metrics: list[str], ranges: bool = False) -> list[str]:
    values = [_shown(value) for value in point.values.values()]
    return ["*" if point.pareto else "", *values, *(_cell(study, point, name, ranges) for name in metrics)]


def _cell(study: Study, point: StudyPoint, name: str, ranges: bool) -> str:
    typical, unit = point.metrics[name], study.unit(name)
    if typical is None:
        return "-"
    low, high = point.metrics.get(name + LOW), point.metrics.get(name + HIGH)
    if not ranges or low is None or high is None:
        return _format(typical, unit)
    return f"{_format(typical, unit)} ({_format(low, unit)} to {_format(high, unit)})"


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _heading(study: Study, metric: str) -> str:
    """``decode_j_per_token`` as ``decode J/token``; a derived metric with its unit."""
    if metric in study.derived:
        return f"{metric} [{study.unit(metric)}]"
    words = metric.replace("_j_per_", "_J/").removeprefix("j_per_").replace("_per_", "/").replace("_", " ")
    return f"J/{words}" if metric.startswith("j_per_") else words


def _format(value: float, unit: str) -> str:
    if unit in _WITH_PREFIX:
        return si(value, unit)
    return f"{value:.6g}" if unit == "lanes" else f"{value:.3g}"


def _label(point: StudyPoint) -> str:
    return "<br>".join(f"{escape(name)} = {escape(str(value))}" for name, value in point.values.items())


def _scatter(study: Study, points: list[StudyPoint]) -> go.Figure:
    """The first two objectives against each other, one colour per value of the first axis, the front as a line."""
    x, y = study.objectives[:2]
    first, *_ = study.columns
    by_value: dict[Value, list[StudyPoint]] = {}
    for point in points:
        by_value.setdefault(point.values[first], []).append(point)
    figure = go.Figure()
    for value, group in by_value.items():
        figure.add_scatter(
            name=f"{first} = {value}",
            x=[point.metrics[x] for point in group],
            y=[point.metrics[y] for point in group],
            text=[_label(point) for point in group],
            mode="markers",
            marker={"size": [11 if point.pareto else 7 for point in group]},
        )
    front = sorted((point for point in points if point.pareto), key=lambda point: point.metrics[x] or 0.0)
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
        xaxis={"title": f"{x} [{study.unit(x)}]", "type": "log"},
        yaxis={"title": f"{y} [{study.unit(y)}]", "type": "log"},
    )
    return figure
