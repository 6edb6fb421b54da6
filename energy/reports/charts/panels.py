"""Panels side by side with one scale: lines with marks over whole numbers, one panel per subject; their key below."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from energy.reports.charts.scale import Ranged
from energy.reports.charts.svg import chart, element, share

__all__ = ["Panel", "Series", "panels"]

_TOP, _BOTTOM, _LEFT = 46, 40, 12.0  # pixels over and under the drawing; share of a panel left of it, per cent
_KEY_ROW, _KEY_COLUMNS = 18, 3
_LEAST = 0.2  # that the y axis goes up to, so that noise does not fill it
_MARK = 3.5  # radius, pixels


class Series(NamedTuple):
    """A line of one panel; ``values``: by the number on the x axis."""

    name: str
    colour: str
    dash: str  # lengths of strokes and gaps, as SVG has them; "": a solid line
    values: dict[int, float]


class Panel(NamedTuple):
    """What belongs to one title."""

    title: str
    series: Sequence[Series]


def panels(
    subjects: Sequence[Panel], x_title: str, y_title: str, title: str, description: str, height: int = 260
) -> Markup:
    """The panels from left to right; all have the y axis of the largest value, from zero to at least a fifth."""
    numbers = sorted({at for one in subjects for line in one.series for at in line.values})
    largest = max((value for one in subjects for line in one.series for value in line.values.values()), default=1.0)
    y, keys = Ranged([0.0, max(largest, _LEAST)]), {line.name: line for one in subjects for line in one.series}
    rows = -(-len(keys) // _KEY_COLUMNS)
    width = 100 / max(len(subjects), 1)
    drawn = [
        element("svg", *_panel(one, numbers, y, height), x=f"{width * at:.2f}%", width=f"{width:.2f}%", height=height)
        for at, one in enumerate(subjects)
    ]
    return chart(
        height + rows * _KEY_ROW + 6,
        title,
        description,
        element("text", y_title, x=0, y=12, class_="title"),
        element("text", x_title, x="100%", y=height - 4, text_anchor="end", class_="title"),
        *drawn,
        *_keys(list(keys.values()), height + 14),
    )


def _panel(one: Panel, numbers: Sequence[int], y: Ranged, height: float) -> list[Markup]:
    last = max(len(numbers) - 1, 1)
    places = {number: share((_LEFT + (96 - _LEFT) * at / last) / 100) for at, number in enumerate(numbers)}

    def down(value: float) -> float:
        return _TOP + (1 - y.at(value)) * (height - _TOP - _BOTTOM)

    across = [element("line", x1=share(_LEFT / 100), x2="96%", y1=down(tick), y2=down(tick)) for tick in y.ticks]
    left = [
        element("text", f"{100 * tick:.3g}", x=share(_LEFT / 100 - 0.02), y=down(tick) + 4, text_anchor="end")
        for tick in y.ticks
    ]
    below = [
        element("text", number, x=at, y=height - _BOTTOM + 18, text_anchor="middle") for number, at in places.items()
    ]
    parts = [
        element("text", one.title, x="54%", y=_TOP - 8, text_anchor="middle", class_="key"),
        element("g", *across, class_="grid"),
        element("g", *left, *below, class_="axis"),
    ]
    for line in one.series:
        spots = [(places[at], down(value)) for at, value in sorted(line.values.items())]
        stroke = _stroke(line)
        parts += [element("line", x1=x1, y1=y1, x2=x2, y2=y2, style=stroke) for (x1, y1), (x2, y2) in pairwise(spots)]
        parts += [
            element(
                "circle",
                element("title", f"{line.name}, {one.title}, {at} examples: {100 * value:.1f} %"),
                cx=places[at],
                cy=down(value),
                r=_MARK,
                style=f"fill:{line.colour}",
            )
            for at, value in sorted(line.values.items())
        ]
    return parts


def _stroke(line: Series) -> str:
    return f"stroke:{line.colour};stroke-width:2px;" + (f"stroke-dasharray:{line.dash}" if line.dash else "")


def _keys(series: Sequence[Series], top: float) -> list[Markup]:
    """A piece of each line and its name, in columns."""
    found = []
    for number, line in enumerate(series):
        down = top + _KEY_ROW * (number // _KEY_COLUMNS)
        left = 100 * (number % _KEY_COLUMNS) / _KEY_COLUMNS
        stroke = _stroke(line)
        piece = element("line", x1=0, x2=26, y1=down, y2=down, style=stroke)
        name = element("text", line.name, x=32, y=down + 4, class_="key")
        found.append(element("svg", piece, name, x=f"{left:.2f}%", overflow="visible"))
    return found
