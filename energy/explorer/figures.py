"""Figures that the explorer adds to a job's: speed against energy with the other arrays, and area by part."""

from collections.abc import Sequence

from energy.area import AREA_PARTS
from energy.explorer.answers import Answer
from energy.reports.charts.bars import Bar, Segment, stacked_bars
from energy.reports.charts.palette import label_of, slots
from energy.reports.charts.plane import Line, Point, plane
from energy.reports.numbers import significant
from energy.reports.pages.job_figures import Figure, waiting_bar
from energy.reports.verdict import machine_label
from energy.summary import MachineSummary

__all__ = ["area_figure", "area_parts", "map_figure"]

_MJ = 1e3  # of a joule
_HEIGHT = 340  # pixels
_APART = 1.12  # ratio of figures from which two names can be told apart


def map_figure(answer: Answer, pinned: Answer | None, others: Sequence[Answer]) -> Figure:
    """Decode of the design, of its rivals as ghosts, of the pinned one; ``others``: the same on other arrays."""
    own, *rivals = answer.summary.machines
    points = [_point(own, "strong", own.name)]
    if pinned is not None and pinned.state != answer.state:
        points.append(_point(pinned.summary.ternary, "pinned", "pinned"))
    points += [_point(rival, "faint", machine_label(rival.mac)) for rival in rivals]
    lines = []
    if others:
        arrays = [_point(one.summary.ternary, "rival", one.state.array) for one in others]
        lines.append(_front([points[0], *arrays]))
        for point in arrays:
            points.append(point._replace(label="") if any(_near(point, one) for one in points) else point)
    spoken = "; ".join(point.tip for point in points)
    title = "Speed against energy of decode"
    svg = plane(points, lines, "tokens per second", "mJ per token", title, spoken, _HEIGHT)
    note = "green: this design; pale: its rivals; grey: other arrays in its place, with a line along the best of them"
    return Figure(title, svg, note)


def area_figure(answer: Answer) -> Figure | None:
    """Square millimetres by part, a bar per machine; None where the costs know no areas."""
    areas = [machine.area for machine in answer.summary.machines]
    if None in areas:
        return None
    colours, bars = slots(AREA_PARTS), []
    for number, (machine, area) in enumerate(zip(answer.summary.machines, areas, strict=True)):
        segments = [
            Segment(_label(part), colours[part], cost.typical, f"{significant(cost.typical)} mm²")
            for part, cost in area.parts_mm2.items()
        ]
        low, typical, high = area.total
        text = f"{significant(typical)} mm², {machine.size}"
        bars.append(Bar(machine_label(machine.mac), text, segments, low, high, strong=number == 0))
    bars += [waiting_bar(mac) for mac in answer.missing]
    spoken = "; ".join(f"{bar.label} {bar.text}" for bar in bars)
    title = "Silicon area, mm²"
    return Figure(title, stacked_bars(bars, title, spoken), "by part, and from low to high; rows x columns")


def area_parts() -> list[tuple[str, str]]:
    """Slot and words of each part of the area."""
    return [(slot, _label(part)) for part, slot in slots(AREA_PARTS).items()]


def _label(part: str) -> str:
    return "vector unit" if part == "vector" else label_of(part)


def _point(machine: MachineSummary, kind: str, label: str) -> Point:
    decode = machine.phase("decode")
    low, typical, high = (_MJ * value for value in decode.total_j_per_token)
    tip = f"{label}: {significant(decode.tokens_per_s)} tokens/s, {significant(typical)} mJ per token"
    wanted = {"low": low, "high": high} if kind == "strong" else {}
    return Point(decode.tokens_per_s, typical, tip, label, kind, **wanted)


def _near(one: Point, other: Point) -> bool:
    return all(max(a, b) < _APART * min(a, b) for a, b in ((one.x, other.x), (one.y, other.y)))


def _front(points: Sequence[Point]) -> Line:
    """Along those than which none is both faster and takes less."""
    best: list[Point] = []
    for point in sorted(points, key=lambda one: (-one.x, one.y)):
        if not best or point.y < best[-1].y:
            best.append(point)
    return Line([(point.x, point.y) for point in best], "dotted")
