"""One decoder layer of a step as a Gantt chart, in SVG that needs no script: a row per unit, a bar per op."""

import math
from html import escape

from sim.reports.timeline import Span, step_spans, tracks
from sim.result import PhaseResult, SimResult

__all__ = ["layer_gantt"]

_WIDTH, _LEFT, _RIGHT, _ROW, _BAR, _TOP, _BOTTOM = 960, 110, 40, 24, 16, 64, 34  # pixels
_TICKS = 8
_LABEL_PIXELS = 26  # an op narrower than this has its name in its tooltip only
# By a variable of the page that holds the chart, whose colours follow light and dark, or as they are where it has none
_COLOURS = {
    "ops": "var(--rival,#8f8f8f)",
    "array": "var(--array,#0072b2)",
    "weight stream": "var(--sram,#e69f00)",
    "vector unit": "var(--vector,#6cc0ee)",
    "host": "var(--host,#a3447f)",
    "results": "var(--other-2,#6a3d8f)",
    "reads": "var(--dram,#c8500a)",
    "writes": "var(--other-4,#7a2e1d)",
}


def layer_gantt(result: SimResult, phase: PhaseResult) -> str:
    """The first decoder layer of the first step of ``phase``; hover a bar for its op and its time."""
    result = result.on(phase.name)
    spans = [span for span in step_spans(result, phase) if span.layer == 0]
    start_us = min(span.start_us for span in spans)
    end_us = max(span.start_us + span.duration_us for span in spans)
    rows = {track: _TOP + _ROW * number for number, track in enumerate(tracks(result))}
    length_us = end_us - start_us
    scale = (_WIDTH - _LEFT - _RIGHT) / length_us
    unit_us, unit = (1e3, "milliseconds") if length_us >= 1e4 else (1.0, "microseconds")
    bottom = _TOP + _ROW * len(rows)

    def x(time_us: float) -> float:
        return _LEFT + (time_us - start_us) * scale

    title = f"{phase.name} of {result.model} on {result.machine}, {result.memory.name}: first layer of a step"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + _BOTTOM}" width="100%" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="currentColor" role="img" '
        f'aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    step = _round_step(length_us / unit_us / _TICKS)
    for tick in range(int(length_us / unit_us / step) + 1):
        position = _LEFT + tick * step * unit_us * scale
        parts.append(
            f'<line x1="{position:.1f}" y1="{_TOP - 4}" x2="{position:.1f}" y2="{bottom}" '
            'style="stroke:var(--grid,#e4e4e4)"/>'
        )
        parts.append(f'<text x="{position:.1f}" y="{bottom + 14}" text-anchor="middle">{tick * step:,.6g}</text>')
    parts.append(f'<text x="{_LEFT}" y="{bottom + 28}">{phase.name}: {unit} since the layer began</text>')
    for track, y in rows.items():
        parts.append(f'<text x="{_LEFT - 8}" y="{y + _BAR - 4}" text-anchor="end">{escape(track)}</text>')
    parts += [_bar(span, rows[span.track], x(span.start_us), span.duration_us * scale) for span in spans]
    parts += [
        f'<text transform="translate({x(span.start_us) + 4:.1f} {_TOP - 5}) rotate(-28)">{escape(span.op)}</text>'
        for span in spans
        if span.track == "ops" and span.duration_us * scale >= _LABEL_PIXELS
    ]
    return "\n".join([*parts, "</svg>"])


def _round_step(wanted: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(wanted))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= wanted)


def _bar(span: Span, y: float, left: float, width: float) -> str:
    what = f" {span.what}" if span.what else ""
    label = f"{span.op}{what}, {span.track}: {span.duration_us:,.4g} us"
    return (
        f'<rect x="{left:.2f}" y="{y}" width="{max(width, 0.4):.2f}" height="{_BAR}" '
        f'style="fill:{_COLOURS[span.what or span.track]}"><title>{escape(label)}</title></rect>'
    )
