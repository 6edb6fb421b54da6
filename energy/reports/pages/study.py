"""A study's page: its question, the front with the designs worth building, the answer; then the rows."""

from collections.abc import Mapping, Sequence
from itertools import islice

from markupsafe import Markup

from energy.reports.answer import LETTERS, Design, answer, axes_text, designs, figures_text, metric_title
from energy.reports.charts.plane import Line, Point, plane
from energy.reports.numbers import common_unit, significant, thin
from energy.reports.pages.document import Cell, Column, Provenance, Table, column, render, standalone, text_column
from energy.reports.study import figure_text, value_text
from energy.study.document import Study
from energy.study.metrics import HIGH, LOW, METRICS, RIVAL
from energy.study.points import StudyPoint
from energy.study.result import StudyResult

__all__ = ["study_html", "study_picture"]

_PRINTED = ("first_token_s", "power_w", "area_mm2")  # beside objectives and derived metrics
_ROWS = 500  # of the table and the picture; 2 kB each
_NAMED = 24  # points that are named by their values, at most
_AXES = 3  # whose values are such a name, at most
_LETTERS = 26  # of such a name, at most


def study_html(result: StudyResult, made: Provenance) -> str:
    """The page."""
    study, points = result.study, result.best_first
    front = [*islice((point for point in points if point.pareto), _ROWS)]
    shown = points if len(points) <= _ROWS else front
    drawn = [*front, *(point for point in points[:: len(points) // _ROWS + 1] if not point.pareto)]
    named = designs(result)
    return render(
        "study",
        title=study.name,
        question=study.description or f"Which combinations of {', '.join(study.columns)} are worth building?",
        base=[f"{name} {_shown(value)}" for name, value in study.base.model_dump(exclude_defaults=True).items()],
        rivals=study.base.rivals,
        counts=(len(result.points), len(points), len(result.front)),
        objectives=_objectives(study),
        figure=_picture(study, drawn, named) if drawn else None,
        figure_title=f"{metric_title(study, study.objectives[1])} against {metric_title(study, study.objectives[0])}",
        designs=[(axes_text(one.point), one.why, figures_text(study, one.point)) for one in named],
        answer=answer(result),
        points=_table(study, shown) if shown else None,
        left=len(points) - len(shown),
        reasons=_reasons(result),
        provenance=made,
    )


def _shown(value: object) -> str:
    """A field of the base job: lists and mappings without Python's brackets."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(one)}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def study_picture(result: StudyResult) -> str:
    """The page's figure as an SVG file of its own; empty where no point counts."""
    points = result.feasible
    drawn = [*result.front[:_ROWS], *(point for point in points[:: len(points) // _ROWS + 1] if not point.pareto)]
    return standalone(_picture(result.study, drawn, designs(result))) if drawn else ""


def _objectives(study: Study) -> str:
    parts = [f"small {metric_title(study, name)}" for name in study.minimize]
    return ", ".join(parts + [f"large {metric_title(study, name)}" for name in study.maximize])


def _picture(study: Study, points: Sequence[StudyPoint], named: Sequence[Design]) -> Markup:
    """Two objectives against each other: the front as a line, the named designs with their ranges."""
    x, y = study.objectives[:2]
    (x_unit, x_factor), (y_unit, y_factor) = (
        common_unit([point.metrics[name] or 0.0 for point in points], study.unit(name)) for name in (x, y)
    )
    letters = {id(one.point): letter for letter, one in zip(LETTERS, named, strict=False)}
    names = _names(points)
    ordered = sorted(points, key=lambda point: (id(point) in letters, point.pareto))  # those drawn last are on top
    marks = [
        _mark(study, point, letters.get(id(point), ""), names.get(id(point), ""), x_factor, y_factor)
        for point in ordered
    ]
    beside = [
        one for point in named for one in _rivals(study, point.point, letters[id(point.point)], x_factor, y_factor)
    ]
    front = sorted((mark.x, mark.y) for mark, point in zip(marks, ordered, strict=True) if point.pareto)
    titles = [
        metric_title(study, name) + (f", {unit}" if unit != "1" else "") for name, unit in ((x, x_unit), (y, y_unit))
    ]
    lines = [Line(front, "dotted")] if len(study.objectives) == 2 else []
    return plane(
        [*beside, *marks],
        lines,
        titles[0],
        titles[1],
        f"{study.name}: {titles[1]} against {titles[0]}",
        _spoken(study, named),
        420,
    )


def _names(points: Sequence[StudyPoint]) -> dict[int, str]:
    """What tells points apart, by their identity: the values of their axes, where points and axes are few."""
    if len(points) > _NAMED or len(points[0].values) > _AXES:
        return {}
    names = {id(point): ", ".join(value_text(value) for value in point.values.values()) for point in points}
    return names if all(len(name) <= _LETTERS for name in names.values()) else {}


def _rivals(study: Study, point: StudyPoint, letter: str, x_factor: float, y_factor: float) -> list[Point]:
    """A design's rivals, where both objectives are figures that they have too."""
    x, y = study.objectives[:2]
    found = []
    for mac in study.base.rivals:
        one, other = (point.metrics.get(f"{RIVAL}.{mac}.{name}") for name in (x, y))
        if one is not None and other is not None:
            name = f"{letter} in {mac.upper()}"
            tip = f"{name}: {axes_text(point)}"
            found.append(Point(one * x_factor, other * y_factor, tip, name, "faint", square=True))
    return found


def _mark(study: Study, point: StudyPoint, letter: str, name: str, x_factor: float, y_factor: float) -> Point:
    """A point; with its range where it has a ``letter``, and with its ``name`` where there is room."""
    x, y = study.objectives[:2]
    label = f"{letter}: {name}" if letter and name else letter or name
    low, high = (point.metrics.get(y + end) if letter else None for end in (LOW, HIGH))
    axes = axes_text(point)
    figures = ", ".join(
        f"{metric_title(study, name)} {figure_text(point.metrics[name] or 0.0, study.unit(name))}"
        for name in study.objectives
    )
    return Point(
        (point.metrics[x] or 0.0) * x_factor,
        (point.metrics[y] or 0.0) * y_factor,
        thin(f"{axes}: {figures}"),
        label,
        "strong" if letter else "rival" if point.pareto else "faint",
        low=None if low is None else low * y_factor,
        high=None if high is None else high * y_factor,
    )


def _spoken(study: Study, named: Sequence[Design]) -> str:
    """The named designs as a description of the picture."""
    return "; ".join(
        f"{letter}: {axes_text(one.point)}, {figures_text(study, one.point)}"
        for letter, one in zip(LETTERS, named, strict=False)
    )


def _table(study: Study, points: Sequence[StudyPoint]) -> Table:
    """Axes and metrics, in each column one unit; ranges as tips."""
    columns = []
    for name in study.columns:
        values = [point.values[name] for point in points]
        number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        cells = [Cell(value_text(value), float(value) if number else None) for value in values]  # type: ignore[arg-type]
        columns.append(Column(name, cells, words=not number))
    columns.append(Column("front", [Cell("●", 0) if point.pareto else Cell("–", 1) for point in points]))
    return Table(
        "points-table",
        "Points that count, best first",
        [*columns, *_metric_columns(study, points)],
        ["strong" if point.pareto else "" for point in points],
        filtered=True,
    )


def _metric_columns(study: Study, points: Sequence[StudyPoint]) -> list[Column]:
    columns = []
    for name in dict.fromkeys((*study.objectives, *study.derived, *METRICS)):
        values = [point.metrics[name] for point in points]
        if name in METRICS and all(value is None for value in values):
            continue  # no FPGA, method or cell library is named
        unit, factor = common_unit([value for value in values if value is not None], study.unit(name))
        one = column(metric_title(study, name), values, "" if unit == "1" else unit, factor)
        if METRICS.get(name) and METRICS[name].ranged:
            tips = [_tip(point, name, factor, unit) for point in points]
            one = one._replace(cells=[cell._replace(tip=tip) for cell, tip in zip(one.cells, tips, strict=True)])
        if name in study.objectives:
            best = [name in point.equal_to_best for point in points]
            one = one._replace(
                cells=[cell._replace(best=is_best) for cell, is_best in zip(one.cells, best, strict=True)]
            )
        columns.append(one._replace(screen=name not in (*study.objectives, *study.derived, *_PRINTED)))
    return columns


def _tip(point: StudyPoint, name: str, factor: float, unit: str) -> str:
    low, high = point.metrics.get(name + LOW), point.metrics.get(name + HIGH)
    return "" if low is None or high is None else f"{significant(low * factor)} to {significant(high * factor)} {unit}"


def _reasons(result: StudyResult) -> Table | None:
    if not (reasons := result.reasons()):
        return None
    columns = [
        Column("points", [Cell(str(count), count) for _, count in reasons]),
        text_column("reason", [why for why, _ in reasons]),
    ]
    return Table("reasons", "Why points are out", columns)
