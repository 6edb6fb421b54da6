"""A plane with logarithmic axes: points with names, straight lines, whiskers; rooflines and fronts are drawn on it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from energy.reports.charts.bars import tick_text
from energy.reports.charts.scale import Logarithmic, Ranged
from energy.reports.charts.svg import chart, element, share

__all__ = ["Line", "Point", "plane"]

_TOP, _BOTTOM = 30, 38  # pixels over and under the drawing: the y axis' title, ticks and the x axis' title
_MARK = 5.0  # radius, pixels
_LETTER, _BOLD, _KEY_LETTER = 6.4, 7.0, 7.6  # width of a letter in pixels: of a name, of a strong one, of a key
_KEY_ROW = 16
_BESIDE = 14.0  # pixels from a mark's centre to a name that needs no line to it
_WIDE = 520  # width of a figure that names are placed for, pixels

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


class Point(NamedTuple):
    """A mark; where ``label`` is set its name stands beside it."""

    x: float
    y: float
    tip: str
    label: str = ""  # of a kind that is not strong: where there is room
    kind: str = "rival"  # class of the style sheet
    square: bool = False
    fill: str = ""  # a colour of its own, beside its kind's
    crossed: bool = False  # not to be used
    low: float | None = None  # of y
    high: float | None = None


class Line(NamedTuple):
    """Straight pieces through points of the plane."""

    points: Sequence[tuple[float, float]]
    kind: str


def plane(
    points: Sequence[Point],
    lines: Sequence[Line],
    x_title: str,
    y_title: str,
    title: str,
    description: str,
    height: int = 340,
    keys: Sequence[tuple[str, str]] = (),
    wide: int = _WIDE,
) -> Markup:
    """Points above lines above the grid; ``keys``: colours and what they mean, in the upper right corner.

    ``wide``: pixels that names are placed for.
    """
    xs = [point.x for point in points] + [x for line in lines for x, _ in line.points]
    ys = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    ys += [y for line in lines for _, y in line.points]
    x, y = _scale(xs, [point.x for point in points]), _scale(ys, [point.y for point in points])
    spots = [(x.at(point.x), _down(y.at(point.y), height)) for point in points]
    return chart(
        height,
        title,
        description,
        _grid(x, y, height),
        element("text", y_title, x=0, y=12, class_="title"),
        element("text", x_title, x="100%", y=height - 4, text_anchor="end", class_="title"),
        *(_line(line, x, y, height) for line in lines),
        *(_range(point, x, y, height) for point in points),
        *(_mark(point, spot) for point, spot in sorted(zip(points, spots, strict=True), key=_is_strong)),
        *_keys(keys),
        *_labels(points, spots, [*_figures(y, height), *_key_boxes(keys, wide)], height, wide, bool(keys)),
    )


def _scale(values: Sequence[float], of_points: Sequence[float]) -> Logarithmic | Ranged:
    """Logarithmic where every point can be shown so; values of zero and below have round steps."""
    return Logarithmic(values, 0.1) if min(of_points, default=1.0) > 0 else Ranged(values)


def _is_strong(mark: tuple[Point, tuple[float, float]]) -> bool:
    """What the page is about is drawn last, over all others."""
    return mark[0].kind == "strong"


def _down(fraction: float, height: float) -> float:
    """A position on the y axis in pixels from the top."""
    return _TOP + (1 - fraction) * (height - _TOP - _BOTTOM)


def _grid(x: Logarithmic | Ranged, y: Logarithmic | Ranged, height: float) -> Markup:
    bottom = height - _BOTTOM
    across = [
        element("line", x1=0, x2="100%", y1=_down(y.at(tick), height), y2=_down(y.at(tick), height)) for tick in y.ticks
    ]
    up = [element("line", x1=share(x.at(tick)), x2=share(x.at(tick)), y1=_TOP, y2=bottom) for tick in x.ticks]
    left = [
        element("text", tick_text(tick), x=2, y=_down(y.at(tick), height) - 3) for tick in y.ticks if y.at(tick) < 0.97
    ]
    below = [
        element("text", tick_text(tick), x=share(x.at(tick)), y=bottom + 14, text_anchor="middle")
        for tick in x.ticks
        if 0.02 < x.at(tick) < 0.98
    ]
    return element("g", *across, *up, class_="grid") + element("g", *left, *below, class_="axis")


def _line(line: Line, x: Logarithmic | Ranged, y: Logarithmic | Ranged, height: float) -> Markup:
    return element(
        "g",
        *(
            element(
                "line", x1=share(x.at(x1)), y1=_down(y.at(y1), height), x2=share(x.at(x2)), y2=_down(y.at(y2), height)
            )
            for (x1, y1), (x2, y2) in zip(line.points, line.points[1:], strict=False)
        ),
        class_=f"line {line.kind}",
    )


def _range(point: Point, x: Logarithmic | Ranged, y: Logarithmic | Ranged, height: float) -> Markup:
    if point.low is None or point.high is None:
        return Markup("")
    at = share(x.at(point.x))
    ends = _down(y.at(point.low), height), _down(y.at(point.high), height)
    return element("g", element("line", x1=at, x2=at, y1=ends[0], y2=ends[1]), class_="whisker", aria_hidden="true")


def _mark(point: Point, spot: tuple[float, float]) -> Markup:
    title, (at, down) = element("title", point.tip), spot
    kind = f"mark {point.kind}"
    own = {"style": f"fill:{point.fill}"} if point.fill else {}
    focus = {"tabindex": 0, "role": "img", "aria_label": point.tip} if point.label else {}
    moved = f"translate({-_MARK:g} {-_MARK:g})"
    if point.square:
        size = 2 * _MARK
        place = {"x": share(at), "y": down, "width": size, "height": size, "transform": moved}
        mark = element("rect", title, **place, class_=kind, **own, **focus)
    else:
        mark = element("circle", title, cx=share(at), cy=down, r=_MARK, class_=kind, **own, **focus)
    return (_cross(at, down) if point.crossed else Markup("")) + mark


def _cross(at: float, down: float) -> Markup:
    """Two strokes behind a mark and beyond it."""
    reach = _MARK + 4
    strokes = [element("line", x1=-reach, y1=-reach * turn, x2=reach, y2=reach * turn) for turn in (1, -1)]
    return element("svg", element("g", *strokes, class_="cross"), x=share(at), y=down, overflow="visible")


def _keys(keys: Sequence[tuple[str, str]]) -> list[Markup]:
    """A square of each colour and its meaning, below each other, as far from the edge as the longest takes."""
    found, left = [], _key_width(keys)
    for number, (colour, meaning) in enumerate(keys):
        down = _TOP + 8 + _KEY_ROW * number
        moved, beside = (f"translate({-shift:g} 0)" for shift in (left, left - 14))
        found.append(element("rect", x="100%", y=down, width=10, height=10, transform=moved, fill=colour))
        found.append(element("text", meaning, x="100%", y=down + 9, transform=beside, class_="key"))
    return found


def _key_width(keys: Sequence[tuple[str, str]]) -> float:
    return max((14 + _KEY_LETTER * len(meaning) for _, meaning in keys), default=0.0)


def _key_boxes(keys: Sequence[tuple[str, str]], wide: int) -> list[Box]:
    """What ``_keys`` covers of a figure of that width."""
    rows = (_TOP + 8 + _KEY_ROW * number for number in range(len(keys)))
    return [(wide - _key_width(keys), down, float(wide), down + _KEY_ROW) for down in rows]


def _figures(y: Logarithmic | Ranged, height: float) -> list[Box]:
    """What the figures of the y axis cover."""
    return [(0.0, _down(y.at(tick), height) - 14, 56.0, _down(y.at(tick), height) - 1) for tick in y.ticks]


def _labels(
    points: Sequence[Point], spots: Sequence[tuple[float, float]], figures: list[Box], height: float, wide: int,
    keyed: bool,
) -> list[Markup]:  # fmt: skip
    """Names beside their marks, each where it covers no mark, no figure of the axis and no name placed before.

    ``keyed``: colours mean something, and no name takes one.
    """
    marks = [_around(at * wide, down) for at, down in spots]
    taken = marks + figures
    placed, leaders = [], []
    for point, (at, down) in sorted(zip(points, spots, strict=True), key=_is_strong, reverse=True):
        spot = (
            _place(point.label, at * wide, down, marks, taken, height, wide, point.kind == "strong")
            if point.label
            else None
        )
        if spot is None:
            continue
        box, anchor, shift, base = spot
        taken.append(box)
        leaders += _leader(box, at, at * wide, down)
        placed.append(
            element(
                "text",
                point.label,
                x=share(at),
                y=base,
                text_anchor=anchor,
                transform=f"translate({shift} 0)",
                class_=f"label {point.kind}{' keyed' * keyed}",
                aria_hidden="true",
            )
        )
    return [*leaders, *placed]


def _place(
    label: str,
    at: float,
    down: float,
    marks: list[Box],
    taken: list[Box],
    height: float,
    wide: int,
    needed: bool,
):
    """Box, anchor, shift and base line of a name: the first place that is free and nearest to its own mark.

    A name that is ``needed`` stands where it covers least where there is none; None: any other is left out.
    """
    width, choices = (_BOLD if needed else _LETTER) * len(label), []
    for base in (down + 4, down - 9, down + 18, down - 22, down + 31, down - 35, down + 44, down - 48, down + 57):
        for anchor, shift in (("start", 9), ("end", -9)):
            left = at + shift - (width if anchor == "end" else 0)
            choices.append(((left, base - 11, left + width, base + 3), anchor, shift, base))
    inside = [one for one in choices if one[0][0] >= 0 and one[0][2] <= wide and _TOP <= one[3] <= height - _BOTTOM]
    free = [one for one in inside if not any(_overlap(one[0], other) for other in taken)]
    own = _around(at, down)
    told = [one for one in free if all(_gap(one[0], own) <= _gap(one[0], other) for other in marks)]
    if told or not needed:
        return told[0] if told else None
    return min(free or inside or choices, key=lambda one: sum(_covered(one[0], other) for other in taken))


def _around(at: float, down: float) -> Box:
    """What a mark covers."""
    return at - _MARK, down - _MARK, at + _MARK, down + _MARK


def _leader(box: Box, at: float, across: float, down: float) -> list[Markup]:
    """A thin line from a mark to its name, where that stands further off than beside it."""
    x, y = min(max(across, box[0]), box[2]) - across, min(max(down, box[1]), box[3]) - down
    length = math.hypot(x, y)
    if length <= _BESIDE:
        return []
    start = _MARK / length
    line = element("line", x1=x * start, y1=y * start, x2=x, y2=y, class_="leader")
    return [element("svg", line, x=share(at), y=down, overflow="visible")]


def _covered(one: Box, other: Box) -> float:
    """Square pixels that two boxes share."""
    across, down = (min(one[at + 2], other[at + 2]) - max(one[at], other[at]) for at in (0, 1))
    return max(0.0, across) * max(0.0, down)


def _gap(one: Box, other: Box) -> float:
    """Pixels between two boxes; 0 where they touch."""
    across = max(one[0] - other[2], other[0] - one[2], 0.0)
    down = max(one[1] - other[3], other[1] - one[3], 0.0)
    return math.hypot(across, down)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
