"""Horizontal bars, stacked by part with a whisker from low to high, or single; label and value stand over each bar."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from energy.reports.charts.scale import Linear
from energy.reports.charts.svg import chart, element, share
from energy.reports.numbers import significant

__all__ = ["Bar", "Segment", "axis", "grid", "stacked_bars"]

ROW, BAR, TEXT = 52, 18, 14  # pixels: of a row, of its bar, from a row's top to the base line of its text
AXIS = 22  # below the last row
_BEYOND = 1.3  # of the longest bar: the axis reaches no farther
_LETTER = 6.4  # mean width of a letter in a bar, pixels
_WIDE, _NARROW = 480, 300  # width of a figure on a screen and on a phone, pixels


class Segment(NamedTuple):
    """A piece of a bar."""

    name: str
    slot: str  # of the palette
    value: float  # in the axis' unit
    text: str  # value with its unit


class Bar(NamedTuple):
    """One line of a figure."""

    label: str
    text: str  # at the right end, over the bar
    segments: Sequence[Segment]
    low: float | None = None
    high: float | None = None
    strong: bool = False  # the machine that the page is about


def stacked_bars(bars: Sequence[Bar], title: str, description: str) -> Markup:
    """All bars on one axis from zero; the unit stands in the title of the figure.

    Where whiskers are much longer than all bars, the axis ends before them and an arrow says that they go on.
    """
    longest = max(sum(segment.value for segment in bar.segments) for bar in bars)
    scale = Linear(min(_BEYOND * longest, max([longest, *(bar.high or 0.0 for bar in bars)])))
    bottom = ROW * len(bars) + 2
    rows = [_row(bar, ROW * number, scale) for number, bar in enumerate(bars)]
    return chart(bottom + AXIS, title, description, grid(scale, bottom), *rows, axis(scale, bottom))


def grid(scale: Linear, bottom: float) -> Markup:
    """Lines at the ticks, the one at zero stronger."""
    return element(
        "g",
        *(
            element(
                "line",
                x1=share(scale.at(tick)),
                x2=share(scale.at(tick)),
                y1=0,
                y2=bottom,
                class_="zero" if tick == 0 else None,
            )
            for tick in scale.ticks
        ),
        class_="grid",
    )


def axis(scale: Linear, bottom: float) -> Markup:
    """Figures at the ticks; the outer ones end with the box."""
    anchors = ["start", *["middle"] * (len(scale.ticks) - 2), "end"]
    return element(
        "g",
        *(
            element("text", tick_text(tick), x=share(scale.at(tick)), y=bottom + 15, text_anchor=anchor)
            for tick, anchor in zip(scale.ticks, anchors, strict=True)
        ),
        class_="axis",
    )


def tick_text(tick: float) -> str:
    """A tick without needless zeros."""
    text = significant(tick)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _row(bar: Bar, top: float, scale: Linear) -> Markup:
    y, start, pieces = top + TEXT + 7, 0.0, []
    for segment in bar.segments:
        if segment.value > 0:
            pieces.append(_segment(segment, start, y, scale, sum(one.value for one in bar.segments)))
            start += segment.value
    spoken = "; ".join(f"{one.name} {one.text}" for one in bar.segments if one.value > 0 and one.name)
    whisker = [] if bar.low is None or bar.high is None else [_whisker(bar.low, bar.high, y, scale)]
    return element(
        "g",
        element("text", bar.label, x=0, y=top + TEXT, class_="name strong" if bar.strong else "name"),
        element("text", bar.text, x="100%", y=top + TEXT, text_anchor="end", class_="value"),
        *pieces,
        *whisker,
        tabindex=0,
        role="img",
        aria_label=f"{bar.label}: {bar.text}. {spoken}",
    )


def _segment(segment: Segment, start: float, y: float, scale: Linear, whole: float) -> Markup:
    left, width = scale.at(start), segment.value / (scale.high - scale.low)
    part = f"{100 * segment.value / whole:.0f}\u202f%"
    tip = f"{segment.name}: {segment.text}, {part}" if segment.name else segment.text
    rect = element(
        "rect",
        element("title", tip),
        x=share(left),
        y=y,
        width=share(width),
        height=BAR,
        class_=f"segment {segment.slot}",
    )
    return rect + _inside(segment, part, left + width / 2, width, y)


def _inside(segment: Segment, part: str, middle: float, width: float, y: float) -> Markup:
    """The segment's name and share where they fit, or its name; of two texts one is for a screen, one for a phone."""
    if not segment.name:
        return Markup("")
    wide, narrow = (
        next((text for text in (f"{segment.name} {part}", segment.name) if _LETTER * len(text) + 10 <= width * box), "")
        for box in (_WIDE, _NARROW)
    )
    shown = {"inside": wide} if wide == narrow else {"inside wide": wide, "inside narrow": narrow}
    return Markup("").join(
        element(
            "text",
            text,
            x=share(middle),
            y=y + 13,
            text_anchor="middle",
            class_=f"{kind} on-{segment.slot}",
            aria_hidden="true",
        )
        for kind, text in shown.items()
        if text
    )


def _whisker(low: float, high: float, y: float, scale: Linear) -> Markup:
    """From low to high under the bar, with caps; an arrow at the end of the axis."""
    left, right, middle = share(scale.at(low)), share(min(scale.at(high), 1.0)), y + BAR + 5
    caps = [left] if high > scale.high else [left, right]
    arrow = [] if high <= scale.high else [element("text", "▸", x=right, y=middle + 5, text_anchor="end")]
    return element(
        "g",
        element("line", x1=left, x2=right, y1=middle, y2=middle),
        *(element("line", x1=end, x2=end, y1=middle - 3, y2=middle + 3) for end in caps),
        *arrow,
        class_="whisker",
        aria_hidden="true",
    )
