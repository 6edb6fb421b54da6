"""A study's page: its question, the front with the designs worth building, the answer; then the rows."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from energy.reports.charts.plane import Line, Point, plane
from energy.reports.numbers import common_unit, significant, thin
from energy.reports.pages.document import Cell, Column, Provenance, Table, column, render, text_column
from energy.reports.study import best_first, figure_text, value_text
from energy.study.document import Study
from energy.study.metrics import HIGH, LOW, METRICS
from energy.study.result import StudyPoint, StudyResult

__all__ = ["Design", "answer", "designs", "study_html"]

_PRINTED = ("first_token_s", "power_w", "area_mm2")  # beside objectives and derived metrics
_EQUAL = 1.005  # times the best: a design within is as good
_ROWS = 500  # of the table and the picture; 2 kB each

_ENDINGS = {  # of metrics' names -> words; the longer ones first
    "_tokens_per_s_per_mm2": "speed per area",
    "_tokens_per_s_per_w": "speed per power",
    "_tokens_per_s": "speed",
    "edp_j_s": "energy-delay product",
    "_s_per_token": "time per token",
    "_j_per_token": "energy per token",
    "_j_per_request": "energy per request",
    "_s": "time",
    "_w": "",
    "_mm2": "",
    "_bytes": "",
}


class Design(NamedTuple):
    """A design of the front that is worth building, and for what."""

    point: StudyPoint
    why: str


def study_html(result: StudyResult, made: Provenance) -> str:
    """The page."""
    study, points = result.study, best_first(result)
    front = [point for point in points if point.pareto]
    shown = points if len(points) <= _ROWS else front[:_ROWS]
    drawn = [*front[:_ROWS], *(point for point in points[:: len(points) // _ROWS + 1] if not point.pareto)]
    named = designs(result)
    return render(
        "study",
        title=study.name,
        question=study.description or f"Which combinations of {', '.join(study.columns)} are worth building?",
        base=[f"{name} {value}" for name, value in study.base.model_dump(exclude_defaults=True).items()],
        counts=(len(result.points), len(points), len(result.front)),
        objectives=_objectives(study),
        figure=_picture(study, drawn, named) if drawn else None,
        figure_title=f"{_title(study, study.objectives[1])} against {_title(study, study.objectives[0])}",
        designs=[(_named(study, one), one.why, _key_figures(study, one)) for one in named],
        answer=answer(result),
        points=_table(study, shown) if shown else None,
        left=len(points) - len(shown),
        reasons=_reasons(result),
        provenance=made,
    )


def designs(result: StudyResult) -> list[Design]:
    """The best of each objective, and of two objectives the compromise; each design once, at most three.

    The compromise is the point of the front that is nearest to the best of every objective at once, each in its
    logarithm over the front's range.
    """
    study, front = result.study, result.front
    if not front:
        return []
    found: dict[int, list[str]] = {}
    for name in study.objectives:
        best = min(front, key=lambda point: _cost(study, point, name))
        found.setdefault(front.index(best), []).append(f"{_sense(study, name)} {_title(study, name)}")
    if len(study.objectives) == 2 and len(front) > 2:
        found.setdefault(front.index(_compromise(study, front)), []).append("the compromise")
    return [Design(front[index], " and ".join(whys)) for index, whys in found.items()]


def answer(result: StudyResult) -> str:
    """The designs, what each is for and what it gives up, and whether their ranges overlap."""
    study, named = result.study, designs(result)
    if not named:
        return "No combination can be built, run and meet every constraint; the reasons stand below."
    if len(named) == 1:
        return f"Build A ({_named(study, named[0])}): it is best in every objective."
    parts = [
        f"{letter} for {one.why}{_given_up(study, one, result.front)}"
        for letter, one in zip("ABC", named, strict=False)
    ]
    return f"Worth building: {'; '.join(parts)}.{_overlaps(study, named)}"


def _given_up(study: Study, design: Design, front: Sequence[StudyPoint]) -> str:
    """How far it is from the best in the other objectives: ``, at 12.2 times the least user time per token``."""
    told = []
    for name in study.objectives:
        best = min(front, key=lambda point: _cost(study, point, name)).metrics[name] or 0.0
        own = design.point.metrics[name] or 0.0
        times = (own / best if name in study.minimize else best / own) if own and best else 1.0
        if times > _EQUAL:
            what = f"the {_sense(study, name)} {_title(study, name)}"
            told.append(
                f"{significant(times)} times {what}" if name in study.minimize else f"1/{significant(times)} of {what}"
            )
    return f", at {' and '.join(told)}" if told else ""


def _overlaps(study: Study, named: Sequence[Design]) -> str:
    """Which of the designs cannot be told apart in an objective that has a range."""
    told = []
    for name in study.objectives:
        ranges = [(one.point.metrics.get(name + LOW), one.point.metrics.get(name + HIGH)) for one in named]
        pairs = [
            f"{'ABC'[a]} and {'ABC'[b]}"
            for a in range(len(named))
            for b in range(a + 1, len(named))
            if None not in (*ranges[a], *ranges[b]) and ranges[a][0] <= ranges[b][1] and ranges[b][0] <= ranges[a][1]
        ]
        if pairs:
            told.append(f"{', '.join(pairs)} overlap in {_title(study, name)} from low to high costs")
    return f" {'; '.join(told)}: there the order of typical figures rests on the costs." if told else ""


def _compromise(study: Study, front: list[StudyPoint]) -> StudyPoint:
    logs = [[math.log(max(abs(point.metrics[name] or 0.0), 1e-300)) for point in front] for name in study.objectives]
    spans = [(min(values), (max(values) - min(values)) or 1.0) for values in logs]

    def distance(index: int) -> float:
        total = 0.0
        for name, values, (low, span) in zip(study.objectives, logs, spans, strict=True):
            part = (values[index] - low) / span
            total += (part if name in study.minimize else 1 - part) ** 2
        return total

    return front[min(range(len(front)), key=distance)]


def _cost(study: Study, point: StudyPoint, name: str) -> float:
    value = point.metrics[name] or 0.0
    return value if name in study.minimize else -value


def _title(study: Study, metric: str) -> str:
    """A metric in words, without its unit: ``user time per token``; a derived one by its name."""
    if metric in study.derived:
        return metric
    for ending, words in _ENDINGS.items():
        if metric == ending.lstrip("_") or metric.endswith(ending):
            stem = "" if metric == ending.lstrip("_") else metric.removesuffix(ending)
            return f"{stem} {words}".replace("_", " ").strip()
    return metric.replace("_", " ")


def _sense(study: Study, name: str) -> str:
    return "least" if name in study.minimize else "most"


def _named(study: Study, design: Design) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in design.point.values.items())


def _key_figures(study: Study, design: Design) -> str:
    """The objectives, each with its unit and its range where it has one."""
    metrics, parts = design.point.metrics, []
    for name in study.objectives:
        unit = study.unit(name)
        text = f"{_title(study, name)} {figure_text(metrics[name] or 0.0, unit)}"
        low, high = metrics.get(name + LOW), metrics.get(name + HIGH)
        if low is not None and high is not None:
            text += f" ({figure_text(low, unit)} to {figure_text(high, unit)})"
        parts.append(text)
    return thin(", ".join(parts))


def _objectives(study: Study) -> str:
    parts = [f"small {_title(study, name)}" for name in study.minimize]
    return ", ".join(parts + [f"large {_title(study, name)}" for name in study.maximize])


def _picture(study: Study, points: Sequence[StudyPoint], named: Sequence[Design]) -> Markup:
    """Two objectives against each other: the front as a line, the named designs with their ranges."""
    x, y = study.objectives[:2]
    (x_unit, x_factor), (y_unit, y_factor) = (
        common_unit([point.metrics[name] or 0.0 for point in points], study.unit(name)) for name in (x, y)
    )
    letters = {id(one.point): letter for letter, one in zip("ABC", named, strict=False)}
    ordered = sorted(points, key=lambda point: (id(point) in letters, point.pareto))  # those drawn last are on top
    marks = [_mark(study, point, letters.get(id(point), ""), x_factor, y_factor) for point in ordered]
    front = sorted((mark.x, mark.y) for mark, point in zip(marks, ordered, strict=True) if point.pareto)
    titles = f"{_title(study, x)}, {x_unit}", f"{_title(study, y)}, {y_unit}"
    lines = [Line(front, "dotted")] if len(study.objectives) == 2 else []
    return plane(marks, lines, *titles, f"{study.name}: {titles[1]} against {titles[0]}", _spoken(study, named), 420)


def _mark(study: Study, point: StudyPoint, label: str, x_factor: float, y_factor: float) -> Point:
    """A point; with its range where it has a ``label``."""
    x, y = study.objectives[:2]
    low, high = (point.metrics.get(y + end) if label else None for end in (LOW, HIGH))
    axes = ", ".join(f"{name} {value_text(value)}" for name, value in point.values.items())
    figures = ", ".join(
        f"{_title(study, name)} {figure_text(point.metrics[name] or 0.0, study.unit(name))}"
        for name in study.objectives
    )
    return Point(
        (point.metrics[x] or 0.0) * x_factor,
        (point.metrics[y] or 0.0) * y_factor,
        thin(f"{axes}: {figures}"),
        label,
        "strong" if label else "rival" if point.pareto else "faint",
        low=None if low is None else low * y_factor,
        high=None if high is None else high * y_factor,
    )


def _spoken(study: Study, named: Sequence[Design]) -> str:
    """The named designs as a description of the picture."""
    return "; ".join(
        f"{letter}: {_named(study, one)}, {_key_figures(study, one)}" for letter, one in zip("ABC", named, strict=False)
    )


def _table(study: Study, points: Sequence[StudyPoint]) -> Table:
    """Axes and metrics, in each column one unit; ranges as tips."""
    columns = [Column("front", [Cell("●", 0) if point.pareto else Cell("", 1) for point in points])]
    for name in study.columns:
        values = [point.values[name] for point in points]
        number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        cells = [Cell(value_text(value), float(value) if number else None) for value in values]  # type: ignore[arg-type]
        columns.append(Column(name, cells, words=not number))
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
        unit, factor = common_unit([value for value in values if value is not None], study.unit(name))
        one = column(_title(study, name), values, "" if unit == "1" else unit, factor)
        if METRICS.get(name) and METRICS[name].ranged:
            tips = [_tip(point, name, factor, unit) for point in points]
            one = one._replace(cells=[cell._replace(tip=tip) for cell, tip in zip(one.cells, tips, strict=True)])
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
