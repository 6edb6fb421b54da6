"""Figures of the main job's page: latency by cause, energy by part, doublings, and the roofline."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from energy.reports.charts.bars import Bar, Segment, stacked_bars
from energy.reports.charts.palette import label_of, slots
from energy.reports.charts.plane import Line, Point, plane
from energy.reports.charts.tornado import Swing, tornado
from energy.reports.numbers import common_unit, significant, thin
from energy.reports.rows import si
from energy.reports.verdict import machine_label
from energy.sensitivity import Sensitivity
from energy.summary import JobSummary, MachineSummary, PhaseSummary
from sim.reports.explain import PhaseExplanation
from sim.result import SimResult

__all__ = [
    "Figure",
    "doublings",
    "energy_figure",
    "latency_figure",
    "roofline_figure",
    "sensitivity_figure",
    "shown_causes",
    "shown_parts",
    "waiting_bar",
]

_SECONDS = {"s": "seconds", "ms": "milliseconds", "µs": "microseconds"}
_TOKENS = {"prefill": "prompt token", "decode": "token written", "pass": "pass"}
_HELPS = 1.01  # speed-up from which a doubling is shown
_CHANGES = {"memory latency": "half the memory latency", "host": "a host of twice the speed"}
_LEAST = 5e-4  # of the longest bar: a cause or part below it in every machine and phase is not named


class Figure(NamedTuple):
    """A title with its unit, and the drawing."""

    title: str
    svg: Markup
    note: str = ""


def shown_causes(summary: JobSummary) -> list[str]:
    """Causes that take time somewhere, in the order of the result."""
    return _shown(summary, lambda phase: {cause: cycles / phase.cycles for cause, cycles in phase.causes.items()})


def shown_parts(summary: JobSummary) -> list[str]:
    """Parts that take energy somewhere."""
    return _shown(
        summary,
        lambda phase: {
            part: cost.typical / phase.total_j_per_token.typical for part, cost in phase.joules_per_token.items()
        },
    )


def latency_figure(summary: JobSummary, phase: str, missing: Sequence[str] = ()) -> Figure:
    """Seconds of a phase by cause, one bar per machine; ``missing``: rivals that have none yet."""
    unit, factor = common_unit([machine.phase(phase).seconds for machine in summary.machines], "s")
    colours = slots(shown_causes(summary))
    bars = []
    for machine in summary.machines:
        one = machine.phase(phase)
        seconds = {cause: one.seconds * one.causes.get(cause, 0) / one.cycles for cause in colours}
        bars.append(_bar(summary, machine, si(one.seconds, "s"), seconds, colours, factor, "s"))
    tokens = summary.ternary.phase(phase).tokens
    what = f"Latency of {phase}, {tokens} {'token' if tokens == 1 else 'tokens'}"
    what = "Latency of a pass" if phase == "pass" else what
    bars += [waiting_bar(mac) for mac in missing]
    return _figure(f"{what}, {_SECONDS.get(unit, unit)}", bars, "by what the machine waits for")


def energy_figure(summary: JobSummary, phase: str, missing: Sequence[str] = ()) -> Figure:
    """Joules per token of a phase by part, one bar per machine, with the range of the total."""
    phases = [machine.phase(phase) for machine in summary.machines]
    unit, factor = common_unit([one.total_j_per_token.typical for one in phases], "J")
    colours = slots(shown_parts(summary))
    bars = []
    for machine, one in zip(summary.machines, phases, strict=True):
        joules = {part: one.joules_per_token[part].typical for part in colours if part in one.joules_per_token}
        low, typical, high = (value * factor for value in one.total_j_per_token)
        text = f"{significant(typical)} {unit} ({significant(low)} – {significant(high)})"
        bars.append(_bar(summary, machine, text, joules, colours, factor, "J")._replace(low=low, high=high))
    bars += [waiting_bar(mac) for mac in missing]
    token = _TOKENS.get(phase, f"token of {phase}")
    return _figure(f"Energy per {token}, {unit}", bars, "by part, and from low to high costs")


def waiting_bar(mac: str) -> Bar:
    """The place of a machine that is still being simulated."""
    return Bar(machine_label(mac), "being simulated", [])


def doublings(explanation: PhaseExplanation, shown: int = 3) -> Figure:
    """What the best single doublings, and twice the cores, would make of a phase's speed."""
    helpful = [change for change in explanation.changes if change.speedup >= _HELPS][:shown]
    changes = [*(helpful or explanation.changes[:1]), ("cores", explanation.twice_the_cores)]
    bars = [
        Bar(
            _CHANGES.get(what, f"twice the {what}"),
            f"{speedup:.2f} ×",
            [Segment("", "total", speedup, f"{speedup:.2f} ×")],
        )
        for what, speedup in changes
    ]
    title = f"Speed of {explanation.phase} after one change, times today's"
    return Figure(title, stacked_bars(bars, title, "; ".join(f"{bar.label} {bar.text}" for bar in bars)))


def roofline_figure(results: Sequence[SimResult]) -> Figure:
    """Both phases of every machine under the roofs of its lanes and of the memory; logarithmic axes."""
    memory = results[0].memory.bytes_per_s / 1e9  # GB/s, the slope of the roof in GMAC/s per MAC/byte
    marks = [
        _mark(result, number, phase) for number, result in enumerate(results) for phase in range(len(result.phases))
    ]
    roofs = {result.lanes * result.array.clock_hz / 1e9 for result in results}
    left = 0.5 * min(mark.x for mark in marks)
    right = 2 * max([mark.x for mark in marks] + [roof / memory for roof in roofs])
    lines = [Line([(left, left * memory), (top / memory, top), (right, top)], "") for top in sorted(roofs)[1:]]
    lanes = results[0].lanes * results[0].array.clock_hz / 1e9
    own = Line([(left, left * memory), (lanes / memory, lanes), (right, lanes)], "strong")
    spoken = "; ".join(mark.tip for mark in marks)
    title = "Roofline: multiply-accumulates per second against those per byte from DRAM"
    svg = plane(
        marks, [*lines, own], "multiply-accumulates per DRAM byte", "10⁹ multiply-accumulates per second", title, spoken
    )
    note = "disc: prefill, square: decode; the roof is lanes × clock, its slope the memory's sustained bandwidth"
    return Figure(title, svg, note)


def sensitivity_figure(found: Sensitivity, shown: int = 5) -> Figure:
    """What each part's costs alone, low or high in every machine, would make of an answer."""
    token = _TOKENS.get(found.phase, f"token of {found.phase}")
    unit, factor = ("%", 100.0) if found.rival else common_unit([found.typical], "J")
    *parts, whole = found.swings
    colours = slots(swing.part for swing in parts)
    swings = [
        Swing(
            label_of(swing.part),
            colours.get(swing.part, "total"),
            swing.low * factor,
            swing.high * factor,
            f"{significant(swing.low * factor)} – {significant(swing.high * factor)} {unit}",
        )
        for swing in [*parts[:shown], whole]
    ]
    if found.rival:
        title = f"Energy saved per {token} against {machine_label(found.rival)}, {unit}"
    else:
        title = f"Energy per {token}, {unit}"
    note = f"{significant(found.typical * factor)} {unit} with typical costs; one part low – high, in every machine"
    return Figure(title, tornado(found.typical * factor, swings, title, note), note)


def _mark(result: SimResult, number: int, at: int) -> Point:
    phase = result.phases[at]
    macs = sum(op.macs for op in phase.ops)
    moved = (phase.counts.dram_read_bits + phase.counts.dram_write_bits) / 8
    rate, label = macs / result.seconds(phase) / 1e9, machine_label(result.array.mac)
    x = macs / max(moved, 1.0)
    tip = f"{label}, {phase.name}: {significant(x)} per byte, {significant(rate)} × 10⁹ per second"
    kind = "rival" if number else "strong"
    return Point(x, rate, tip, label if number else f"{label}, {phase.name}", kind, square=phase.name == "decode")


def _shown(summary: JobSummary, shares: Callable[[PhaseSummary], dict[str, float]]) -> list[str]:
    found: dict[str, float] = {}
    for machine in summary.machines:
        for phase in machine.phases:
            for key, value in shares(phase).items():
                found[key] = max(found.get(key, 0.0), value)
    return [key for key, value in found.items() if value >= _LEAST]


def _bar(
    summary: JobSummary,
    machine: MachineSummary,
    text: str,
    values: dict[str, float],
    colours: dict[str, str],
    factor: float,
    unit: str,
) -> Bar:
    segments = [
        Segment(label_of(key), colours[key], value * factor, thin(si(value, unit))) for key, value in values.items()
    ]
    return Bar(machine_label(machine.mac), thin(text), segments, strong=machine is summary.ternary)


def _figure(title: str, bars: list[Bar], note: str) -> Figure:
    spoken = "; ".join(f"{bar.label} {bar.text}" for bar in bars)
    return Figure(title, stacked_bars(bars, title, spoken), note)
