"""A study on the screen, and how its figures are written."""

from itertools import islice

from rich.console import Console
from rich.table import Table

from energy.reports.rows import si
from energy.study.axes import Value
from energy.study.document import Study
from energy.study.points import StudyPoint
from energy.study.result import StudyResult

__all__ = ["figure_text", "heading", "print_study", "value_text"]

_ROWS_ON_SCREEN = 40
_REASONS = 5  # on the screen
_WITH_PREFIX = ("s", "J", "W", "B", "J s")  # units of a cell; others stand in the heading
# On the screen, beside the objectives.
_SHOWN = ("user_s_per_token", "decode_j_per_token", "first_token_s", "decode_tokens_per_s", "power_w")


def print_study(result: StudyResult, console: Console) -> None:
    """Print feasible points, best first, or the front of a long study; then why others are out."""
    study, points = result.study, result.best_first
    front = (point for point in points if point.pareto)
    shown = points if len(points) <= _ROWS_ON_SCREEN else [*islice(front, _ROWS_ON_SCREEN)]
    title = f"{study.name}: {len(points)} of {len(result.points)} points feasible, * = Pareto"
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    table.add_column("", no_wrap=True, min_width=1)
    for name in study.columns:
        table.add_column(name, justify="right", no_wrap=True)
    measured = [name for name in _SHOWN if not points or any(point.metrics[name] is not None for point in points)]
    metrics = list(dict.fromkeys((*study.objectives, *study.derived, *measured)))
    for name in metrics:
        table.add_column(heading(study, name).replace(" ", "\n"), justify="right", no_wrap=True)
    for point in shown:
        table.add_row(*_cells(study, point, metrics), style="bold" if point.pareto else "")
    console.print(table)
    if len(shown) < len(points):
        console.print(f"{len(points) - len(shown)} more feasible points are in points.csv")
    _print_reasons(result, console)


def _print_reasons(result: StudyResult, console: Console) -> None:
    reasons = result.reasons()
    for why, count in reasons[:_REASONS]:
        console.print(f"{count} out: {why}", highlight=False, markup=False)
    if len(reasons) > _REASONS:
        rest = sum(count for _, count in reasons[_REASONS:])
        console.print(f"{rest} out for {len(reasons) - _REASONS} more reasons, in points.csv")


def _cells(study: Study, point: StudyPoint, metrics: list[str]) -> list[str]:
    values = [value_text(value) for value in point.values.values()]
    return ["*" if point.pareto else "", *values, *(_cell(study, point, name) for name in metrics)]


def _cell(study: Study, point: StudyPoint, name: str) -> str:
    typical = point.metrics[name]
    return "-" if typical is None else figure_text(typical, study.unit(name))


def value_text(value: Value) -> str:
    """A value of an axis."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def heading(study: Study, metric: str) -> str:
    """``decode_j_per_token`` as ``decode J/token``; a derived metric with its unit."""
    if metric in study.derived:
        return f"{metric} [{study.unit(metric)}]"
    words = metric.replace("_j_per_", "_J/").removeprefix("j_per_").replace("_per_", "/").replace("_", " ")
    return f"J/{words}" if metric.startswith("j_per_") else words


def figure_text(value: float, unit: str, whole: bool = False) -> str:
    """A metric with its unit, where that is not in the heading; ``whole``: there is no heading."""
    if unit in _WITH_PREFIX:
        return si(value, unit)
    text = f"{value:.6g}" if unit == "lanes" else f"{value:.3g}"
    return f"{text} {unit}" if unit == "%" or (whole and unit != "1") else text
