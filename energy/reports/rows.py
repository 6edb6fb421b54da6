"""The result table as plain rows of text: built once, rendered on the screen, in Markdown and in HTML."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from energy.area import AREA_PARTS
from energy.costs.tables import Cost
from energy.luts import LUT_PARTS
from energy.summary import ClockGating, JobSummary, PhaseSummary, Reduction

__all__ = [
    "SAVINGS",
    "Row",
    "gating_line",
    "headline",
    "latency_rows",
    "percent",
    "reduction_rows",
    "result_rows",
    "si",
]

_PREFIXES = {-5: "f", -4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P"}

_LATENCIES = {  # of redraws of the explorer: field -> heading
    "median_ms": "median, ms",
    "p95_ms": "95th percentile",
    "cpu_median_ms": "processor, median",
    "cpu_p95_ms": "processor, 95th",
    "whole_median_ms": "with all rivals, median",
    "whole_p95_ms": "with all rivals, 95th",
    "kib": "KiB",
}

SAVINGS = ("latency", "array energy", "compute energy", "whole system", "fewer bits", "arithmetic", "the rest")


class Row(NamedTuple):
    """One line: a label, one cell per machine; ``section`` rows have no cells."""

    label: str
    cells: tuple[str, ...] = ()

    @property
    def section(self) -> bool:
        """True for a heading."""
        return not self.cells


def si(value: float, unit: str, digits: int = 3) -> str:
    """``value`` with an SI prefix and ``digits`` significant digits: ``si(0.0123, "J") == "12.3 mJ"``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    decade = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 999.6 is 1.00e3
    exponent = min(max(decade // 3, -5), 5)
    scaled = value / 1000**exponent
    decimals = max(0, digits - 1 - (decade - 3 * exponent))
    return f"{scaled:.{decimals}f} {_PREFIXES[exponent]}{unit}".rstrip()


def percent(share: float) -> str:
    """A share as a percentage, one decimal below 10 %."""
    return f"{100 * share:.1f} %" if abs(share) < 0.0995 else f"{100 * share:.0f} %"


def headline(summary: JobSummary) -> list[str]:
    """Lines that say what was simulated."""
    array = summary.ternary
    size = si(summary.parameters, "").replace(" ", "")
    sizes = f"{size} parameters, prefill {summary.prefill} + decode {summary.decode}, batch {summary.batch}"
    return [
        f"{summary.model}: {sizes if summary.prefill else f'{len(array.phases[0].ops)} products, {size} weights'}",
        f"{array.name}: {array.lanes} lanes at {si(summary.clock_hz, 'Hz')}, memory {summary.memory} "
        f"({si(summary.memory_bytes_per_s, 'B/s')})",
        f"energies from {summary.costs}; {_HELD[summary.hold]}",
    ]


def result_rows(summary: JobSummary) -> list[Row]:
    """Rows of the main table; the cells follow ``summary.machines``."""
    rows = [Row("rows x columns", tuple(machine.size for machine in summary.machines))]
    for phase in summary.ternary.phases:
        phases = [machine.phase(phase.name) for machine in summary.machines]
        rows.append(Row(phase.title))
        rows.append(Row("latency", tuple(si(p.seconds, "s") for p in phases)))
        rows.append(
            Row("passes/s" if phase.unit == "pass" else "tokens/s", tuple(f"{p.tokens_per_s:.4g}" for p in phases))
        )
        rows.append(Row("cycles", tuple(si(p.cycles, "") for p in phases)))
        rows.append(Row("array utilization", tuple(percent(p.utilization) for p in phases)))
        rows.extend(
            Row(f"time: {_CAUSE_LABELS[cause]}", tuple(percent(p.causes[cause] / p.cycles) for p in phases))
            for cause in phase.causes
            if cause not in ("host", "port_stall", "output_stall") or any(p.causes[cause] for p in phases)
        )
        rows.append(Row("power", tuple(si(p.total_j_per_token.typical * p.tokens_per_s, "W") for p in phases)))
        rows.append(Row(f"energy per {phase.unit}", tuple(si(p.total_j_per_token.typical, "J") for p in phases)))
        rows.extend(
            Row(f"energy: {label}", tuple(si(_part(p, parts), "J") for p in phases))
            for label, parts in _PARTS
            if label not in _MAY_BE_MISSING or any(_part(p, parts) for p in phases)
        )
        rows.append(Row("low to high", tuple(_range(p.total_j_per_token) for p in phases)))
    return rows + _area_rows(summary) + _lut_rows(summary)


def gating_line(gating: ClockGating) -> str:
    """What resting clocks could save, as a sentence."""
    return (
        f"clock gating in {gating.phase}: {percent(gating.steady_operands)} of the lanes' operands stay as they were "
        f"(measured), clocks take {percent(gating.clock_share)} of the array's energy: {percent(gating.saved)} at most"
    )


def reduction_rows(summary: JobSummary) -> list[Row]:
    """What the ternary array saves: a row per rival and phase; cells: ``SAVINGS``, whose last three sum to the 4th."""
    return [
        Row(f"{item.phase} vs {item.baseline.rpartition('/')[2]}", tuple(map(percent, _savings(item))))
        for item in summary.reductions
    ]


def _savings(item: Reduction) -> list[float]:
    saved = [item.latency, item.array_energy, item.compute_energy, item.system_energy]
    return saved if item.split is None else [*saved, item.split.fewer_bits, item.split.arithmetic, item.split.rest]


def _area_rows(summary: JobSummary) -> list[Row]:
    """Area by part, and the range of the sum; no rows where the costs know no areas."""
    areas = [machine.area for machine in summary.machines if machine.area is not None]
    if len(areas) < len(summary.machines):
        return []
    parts = [part for part in AREA_PARTS if any(area.parts_mm2[part].typical for area in areas)]
    return [
        Row("area, mm2"),
        Row("total area", tuple(f"{area.total.typical:.3g}" for area in areas)),
        *(Row(f"area: {part}", tuple(f"{area.parts_mm2[part].typical:.3g}" for area in areas)) for part in parts),
        Row("low to high", tuple(f"{area.total.low:.3g} to {area.total.high:.3g}" for area in areas)),
    ]


def _lut_rows(summary: JobSummary) -> list[Row]:
    """Look-up tables, flip-flops, DSPs and block RAMs; tables by part, and the range of their sum."""
    machines = [machine.luts for machine in summary.machines if machine.luts is not None]
    if not machines:
        return []
    first = machines[0]
    parts = [part for part in LUT_PARTS if any(one.parts[part]["tables"].typical for one in machines)]
    totals = {"LUTs": "tables", "flip-flops": "flip_flops", "DSPs": "dsps", "block RAMs": "block_rams"}
    return [
        Row(f"area, {first.family}, LUT{first.inputs}"),
        *(Row(name, tuple(_count(one.total(what).typical) for one in machines)) for name, what in totals.items()),
        *(Row(f"LUTs: {part}", tuple(_count(one.parts[part]["tables"].typical) for one in machines)) for part in parts),
        Row("LUTs, low to high", tuple(" to ".join(map(_count, _outer(one.total("tables")))) for one in machines)),
        Row("part", tuple(one.part if one.fits else f"> {one.part}" for one in machines)),
    ]


def _count(value: float) -> str:
    return f"{value / 1000:.3g} k" if value >= 10_000 else f"{value:.0f}"


def _outer(cost: Cost) -> tuple[float, float]:
    return cost.low, cost.high


_HELD = {
    "lanes": "rivals of as many lanes",
    "compute-area": "rivals of as much area of array and vector unit",
    "area": "rivals of as much area",
    "power": "rivals of as much power on the chip",
    "bandwidth": "rivals of the same memory, with the fewest lanes whose prefill is as fast",
}

_CAUSE_LABELS = {
    "ideal": "array busy",
    "fill_drain": "fill, drain",
    "weight_stall": "weight bus",
    "dram_stall": "DRAM",
    "vector": "vector unit",
    "host": "host",
    "port_stall": "ports of buffers",
    "output_stall": "results leaving",
}

_PARTS = (
    ("array", ("array",)),
    ("vector unit", ("vector",)),
    ("clock", ("clock",)),
    ("wires", ("wires",)),
    ("host", ("host",)),
    ("SRAM", ("sram",)),
    ("DRAM bits", ("dram", "dram_rows")),
    ("DRAM rest", ("dram_standby", "dram_refresh")),
    ("leakage", ("leakage",)),
)

_MAY_BE_MISSING = ("clock", "wires", "host")  # operators have neither clock nor wires


def _part(phase: PhaseSummary, parts: tuple[str, ...]) -> float:
    return sum(phase.joules_per_token[part].typical for part in parts)


def _range(cost: Cost) -> str:
    """Low to high, both in the unit that suits the high end."""
    high = si(cost.high, "J", 2)
    number, unit = high.split(" ")
    return f"{float(number) * cost.low / cost.high:.3g} to {number} {unit}"


def latency_rows(measured: Mapping[str, Sequence[Mapping[str, object]]]) -> list[list[str]]:
    """Header, and a row per control of ``energy.explorer.measure.Latency`` as a mapping."""
    rows = [
        [str(one["control"]), str(one["redraws"]), *(f"{one[name]:.0f}" for name in _LATENCIES)]
        for one in measured["rows"]
    ]
    return [["move of", "redraws", *_LATENCIES.values()], *rows]
