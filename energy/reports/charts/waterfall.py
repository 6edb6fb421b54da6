"""A waterfall: from one figure to another through the terms of their difference, which sum to it."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from markupsafe import Markup

from energy.reports.charts.bars import AXIS, axis, grid
from energy.reports.charts.scale import Linear
from energy.reports.charts.svg import chart, element, share

__all__ = ["Step", "waterfall"]

_ROW, _BAR, _TEXT = 40, 14, 13  # pixels


class Step(NamedTuple):
    """One term."""

    label: str
    slot: str
    value: float  # in the axis' unit; below zero: it becomes less
    text: str  # with sign and unit


def waterfall(
    first: tuple[str, float, str], steps: Sequence[Step], last: tuple[str, float, str], title: str, description: str
) -> Markup:
    """``first`` and ``last``: label, value and text of the two ends; both stand on zero, steps hang between them."""
    levels = list(accumulate((step.value for step in steps), initial=first[1]))
    scale = Linear(max(0.0, *levels, last[1]), min(0.0, *levels))
    bottom = _ROW * (len(steps) + 2) + 2
    rows = [_line(0, first[0], first[2], 0.0, first[1], "total", scale)]
    for number, (step, start) in enumerate(zip(steps, levels, strict=False), start=1):
        low, high = sorted((start, start + step.value))
        rows.append(_line(number, step.label, step.text, low, high, step.slot, scale, start))
    rows.append(_line(len(steps) + 1, last[0], last[2], 0.0, last[1], "total strong", scale, levels[-1]))
    return chart(bottom + AXIS, title, description, grid(scale, bottom), *rows, axis(scale, bottom))


def _line(
    number: int,
    label: str,
    text: str,
    low: float,
    high: float,
    slot: str,
    scale: Linear,
    before: float | None = None,
) -> Markup:
    """A bar from ``low`` to ``high``, and the line that leads to it from the level ``before``."""
    top = _ROW * number
    y, total = top + _TEXT + 7, slot.startswith("total")
    link = []
    if before is not None:
        at = share(scale.at(before))
        link = [element("line", x1=at, x2=at, y1=y - (_ROW - _BAR), y2=y + (_BAR if total else 0), class_="link")]
    return element(
        "g",
        element("text", label, x=0, y=top + _TEXT, class_="name strong" if slot == "total strong" else "name"),
        element("text", text, x="100%", y=top + _TEXT, text_anchor="end", class_="value"),
        *link,
        element(
            "rect",
            element("title", f"{label}: {text}"),
            x=share(scale.at(low)),
            y=y,
            height=_BAR,
            width=share(max(scale.at(high) - scale.at(low), 0.002)),
            class_=f"segment {slot}",
        ),
        tabindex=0,
        role="img",
        aria_label=f"{label}: {text}",
    )
