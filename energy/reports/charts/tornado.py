"""Ranges around one value: what each thing alone would make of it, the widest on top."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from energy.reports.charts.bars import AXIS, tick_text
from energy.reports.charts.scale import Ranged
from energy.reports.charts.svg import chart, element, share

__all__ = ["Swing", "tornado"]

_ROW, _BAR, _TEXT = 40, 12, 13  # pixels
_LEAST = 0.1  # of the value: the span of the axis, so that nothing is enlarged beyond that


class Swing(NamedTuple):
    """One line: where the value would be with low and with high costs, in the axis' unit."""

    label: str
    slot: str
    low: float
    high: float
    text: str


def tornado(typical: float, swings: Sequence[Swing], title: str, description: str) -> Markup:
    """Ranges, not lengths: the axis covers what is there and need not begin at zero; a line stands at ``typical``."""
    ends = [value for swing in swings for value in (swing.low, swing.high)]
    scale = Ranged([typical, *ends], least=_LEAST * abs(typical))
    bottom = _ROW * len(swings) + 2
    ticks = [share(scale.at(tick)) for tick in scale.ticks]
    lines = [element("line", x1=tick, x2=tick, y1=0, y2=bottom) for tick in ticks]
    at = share(scale.at(typical))
    return chart(
        bottom + AXIS,
        title,
        description,
        element("g", *lines, element("line", x1=at, x2=at, y1=0, y2=bottom, class_="zero"), class_="grid"),
        *(_line(number, swing, scale) for number, swing in enumerate(swings)),
        _axis(scale, bottom),
    )


def _line(number: int, swing: Swing, scale: Ranged) -> Markup:
    top = _ROW * number
    left, right = sorted((scale.at(swing.low), scale.at(swing.high)))
    return element(
        "g",
        element("text", swing.label, x=0, y=top + _TEXT, class_="name"),
        element("text", swing.text, x="100%", y=top + _TEXT, text_anchor="end", class_="value"),
        element(
            "rect",
            element("title", f"{swing.label}: {swing.text}"),
            x=share(left),
            y=top + _TEXT + 7,
            width=share(max(right - left, 0.004)),
            height=_BAR,
            class_=f"segment {swing.slot}",
        ),
        tabindex=0,
        role="img",
        aria_label=f"{swing.label}: {swing.text}",
    )


def _axis(scale: Ranged, bottom: float) -> Markup:
    anchors = {0: "start", len(scale.ticks) - 1: "end"}
    return element(
        "g",
        *(
            element(
                "text", tick_text(tick), x=share(scale.at(tick)), y=bottom + 15, text_anchor=anchors.get(at, "middle")
            )
            for at, tick in enumerate(scale.ticks)
        ),
        class_="axis",
    )
