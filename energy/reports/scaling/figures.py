"""Figures of a sweep: bits per byte against what a model stores and what a token costs; accuracy over examples."""

from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup

from energy.reports.charts.panels import Panel, Series, panels
from energy.reports.charts.plane import Line, Point, plane
from energy.reports.numbers import significant, thin
from energy.reports.pages.document import standalone
from energy.scaling.points import ScalingPoint, label_of
from hw.artifact import write_text
from quant.evaluation.generated.names import PATTERNS
from quant.evaluation.rows import FLOAT_WEIGHTS

__all__ = ["draw_scaling"]

_COLOURS = ("#0072b2", "#c8500a", "#1a7f5a", "#a3447f", "#b7950b", "#5a626b", "#6a3d8f", "#7a2e1d")
_DASHES = ("5 4", "2 3", "10 3", "10 3 2 3", "5 2 1 2", "1 4", "14 4")  # of methods, on lines over examples
_WIDTH = 860
_QUALITY = "pages", "bits_per_byte"


def draw_scaling(folder: Path, points: Sequence[ScalingPoint]) -> list[str]:
    """Write the figures that the points have scores for, as SVG files of ``folder``; their names."""
    written = {}
    if any(one.value(*_QUALITY) is not None for one in points):
        written["scaling-size.svg"] = _scaling(points, lambda one: one.megabytes, "megabytes of the whole model")
        joules = "joules per token written"
        written["scaling-energy.svg"] = _scaling(points, lambda one: one.joules_per_token, joules)
    subjects = _subjects(points)
    if subjects:
        written["shots.svg"] = panels(
            subjects,
            "examples before the item",
            "answers right, %; dashed: quantized",
            "Learning in context before and after quantization",
            "; ".join(f"{one.title}: {', '.join(line.name for line in one.series)}" for one in subjects),
        )
    for name, figure in written.items():
        write_text(folder / name, standalone(figure, _WIDTH))
    return list(written)


def _scaling(points: Sequence[ScalingPoint], across: Callable[[ScalingPoint], float], x_title: str) -> Markup:
    """A mark per set of weights, coloured by its model; the line is what nothing smaller or cheaper is better than."""
    models = list(dict.fromkeys(one.model for one in points))
    shown = [(one, one.value(*_QUALITY)) for one in points]
    marks = [
        Point(
            across(one),
            value,
            _tip(one, points, value),
            label_of(one, points),
            "faint" if one.collapsed else "strong",
            square=one.method == FLOAT_WEIGHTS,
            fill=_COLOURS[models.index(one.model) % len(_COLOURS)],
            crossed=one.collapsed,
        )
        for one, value in shown
        if value is not None
    ]
    front = _front([(mark.x, mark.y) for mark in marks])
    return plane(
        marks,
        [Line(front, "dotted")],
        f"{x_title}; squares: before quantization",
        "bits per byte of text, int8 activations; crossed: unusable",
        f"Quality against {x_title}",
        "; ".join(mark.tip for mark in marks),
        420,
        keys=[(_COLOURS[at % len(_COLOURS)], model) for at, model in enumerate(models)],
        wide=_WIDTH,
    )


def _front(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spots that no other undercuts on both axes, from left to right."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(spots):
        if not found or y < found[-1][1]:
            found.append((x, y))
    return found


def _subjects(points: Sequence[ScalingPoint]) -> list[Panel]:
    """A panel per pattern task: usable sets of weights over the numbers of examples."""
    models = list(dict.fromkeys(one.model for one in points))
    methods = list(dict.fromkeys(label_of(one, points) for one in points if one.method != FLOAT_WEIGHTS))
    found = []
    for task in PATTERNS:
        lines = []
        for one in points:
            values = one.values(task, "acc")
            if values and not one.collapsed:
                colour = _COLOURS[models.index(one.model) % len(_COLOURS)]
                label = label_of(one, points)
                dash = _DASHES[methods.index(label) % len(_DASHES)] if label in methods else ""
                lines.append(Series(f"{one.model}, {label}", colour, dash, values))
        if lines:
            found.append(Panel(task, lines))
    return found


def _tip(point: ScalingPoint, points: Sequence[ScalingPoint], value: float) -> str:
    state = ", collapsed: unusable" if point.collapsed else ""
    return thin(
        f"{point.model}, {label_of(point, points)}: {significant(value)} bits per byte, "
        f"{significant(point.megabytes)} MB, {significant(1e3 * point.joules_per_token)} mJ per token{state}"
    )
