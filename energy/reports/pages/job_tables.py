"""Tables of the main job's page: what its figures do not show."""

from collections.abc import Sequence

from energy.alternatives import Alternative
from energy.area import AREA_PARTS
from energy.assumptions import Assumption
from energy.luts import LUT_PARTS
from energy.reports.charts.palette import label_of
from energy.reports.numbers import common_unit, significant, thin
from energy.reports.pages.document import Cell, Column, Table, column, text_column
from energy.reports.rows import SAVINGS, percent, reduction_rows
from energy.reports.verdict import machine_label
from energy.summary import JobSummary

__all__ = ["alternatives_table", "area_table", "assumptions_table", "job_tables", "luts_table", "ops_table"]

_OPS = 12

_HOLDS = {
    "": "–",
    "lanes": "lanes",
    "compute-area": "area of array and vector unit",
    "area": "area",
    "power": "power in prefill, on the chip",
    "bandwidth": "memory alone",
}


def job_tables(summary: JobSummary) -> list[Table]:
    """Machines phase by phase, savings, area, the longest ops, operators as papers count them, operands."""
    tables = [_phase_table(summary, phase.name) for phase in summary.ternary.phases]
    tables.append(_savings_table(summary))
    if all(machine.area for machine in summary.machines):
        tables.append(area_table(summary))
    if any(machine.luts for machine in summary.machines):
        tables.append(luts_table(summary))
    tables += [ops_table(summary, phase.name) for phase in summary.ternary.phases]
    return [*tables, _operands_table(summary), _recipes_table(summary), _paper_table(summary)]


def alternatives_table(rows: Sequence[Alternative], phase: str = "prefill") -> Table:
    """Every rival under every hold; ``phase``: the first of the job."""
    token = "pass" if phase == "pass" else "prompt token"
    columns = [
        text_column("held equal", [_HOLDS[row.hold] for row in rows]),
        text_column("machine", [row.reason or machine_label(row.mac) for row in rows]),
        Column("rows × columns", [Cell(row.size.replace("x", " × "), _lanes(row.size)) for row in rows]),
        column("area", [row.area_mm2 for row in rows], "mm²"),
        _scaled(phase, [None if row.reason else row.prefill_s for row in rows], "s"),
        _scaled(f"energy per {token}", [None if row.reason else row.prefill_j_per_token for row in rows], "J"),
        column("decode", [row.decode_tokens_per_s for row in rows], "tokens/s"),
        _scaled("energy per token", [row.decode_j_per_token for row in rows], "J"),
        Column("to repeat", [Cell(row.command, code=True) for row in rows], words=True),
    ]
    kinds = ["strong" if not row.hold else "off" if row.reason else "" for row in rows]
    return Table("alternatives-table", "The rivals under everything that can be held equal", columns, kinds)


def assumptions_table(rows: Sequence[Assumption]) -> Table:
    """What is assumed, measured, published, derived; the number is what marks on the page show."""
    phases = list(dict.fromkeys(name for row in rows for name in row.shares))
    columns = [
        Column("mark", [Cell(str(number), number) for number, _ in enumerate(rows, start=1)]),
        text_column("what", [row.subject for row in rows]),
        text_column("figure, low to high", [thin(row.value) for row in rows]),
        Column("kind", [Cell(row.kind, badge=row.kind) for row in rows], words=True),
        *(Column(f"of {name}'s energy", [_share(row.shares.get(name)) for row in rows]) for name in phases),
        text_column("source", [row.source for row in rows]),
    ]
    return Table(
        "assumptions-table", "On what the figures rest", columns, anchors=[f"assumption-{row.key}" for row in rows]
    )


def area_table(summary: JobSummary) -> Table:
    """Area by part of every machine, mm²."""
    areas = [(machine, machine.area) for machine in summary.machines if machine.area]
    parts = [part for part in AREA_PARTS if any(area.parts_mm2[part].typical for _, area in areas)]
    columns = [
        text_column("machine", [machine_label(machine.mac) for machine, _ in areas]),
        *(column(label_of(part), [area.parts_mm2[part].typical for _, area in areas], "mm²") for part in parts),
        column("sum", [area.total.typical for _, area in areas], "mm²"),
        Column(
            "low to high",
            [Cell(f"{area.total.low:.3g} – {area.total.high:.3g}", area.total.low) for _, area in areas],
            "mm²",
        ),
    ]
    return Table("area", "Area, without DRAM", columns, _kinds(summary))


def luts_table(summary: JobSummary) -> Table:
    """Tables of an FPGA by part of every machine, and its flip-flops, DSPs and block RAMs."""
    machines = [(machine, machine.luts) for machine in summary.machines if machine.luts]
    first = machines[0][1]
    parts = [part for part in LUT_PARTS if any(luts.parts[part]["tables"].typical for _, luts in machines)]
    sums = {"tables": "sum", "flip_flops": "flip-flops", "dsps": "DSPs", "block_rams": "block RAMs"}
    columns = [
        text_column("machine", [machine_label(machine.mac) for machine, _ in machines]),
        *(column(label_of(part), [luts.parts[part]["tables"].typical for _, luts in machines]) for part in parts),
        *(column(name, [luts.total(what).typical for _, luts in machines]) for what, name in sums.items()),
        Column(
            "tables, low to high",
            [
                Cell(f"{total.low:,.0f} – {total.high:,.0f}", total.low)
                for total in (luts.total("tables") for _, luts in machines)
            ],
        ),
        text_column("part", [luts.part if luts.fits else f"larger than {luts.part}" for _, luts in machines]),
    ]
    return Table("luts", f"Area on {first.family}, look-up tables of {first.inputs} inputs", columns, _kinds(summary))


def ops_table(summary: JobSummary, phase: str) -> Table:
    """The ops of the first machine that take the longest, by cause."""
    one = summary.ternary.phase(phase)
    ops = sorted(one.ops, key=lambda op: op.cycles, reverse=True)[:_OPS]
    causes = [cause for cause in one.causes if any(op.causes.get(cause, 0) for op in ops)]
    seconds = one.seconds / one.cycles
    columns = [
        text_column("op", [op.name for op in ops]),
        text_column("unit", [op.unit for op in ops]),
        _scaled("time", [op.cycles * seconds for op in ops], "s"),
        Column(f"of {phase}", [_share(op.cycles / one.cycles) for op in ops]),
        *(
            Column(label_of(cause), [_share(op.causes.get(cause, 0) / max(op.cycles, 1)) for op in ops])
            for cause in causes
        ),
    ]
    caption = f"The longest ops of {phase} on {summary.ternary.name}, and what each waits for"
    return Table(f"ops-{phase}", caption, columns)


def _phase_table(summary: JobSummary, phase: str) -> Table:
    phases = [machine.phase(phase) for machine in summary.machines]
    totals = [one.total_j_per_token for one in phases]
    unit, factor = common_unit([total.typical for total in totals], "J")
    columns = [
        text_column("machine", [machine_label(machine.mac) for machine in summary.machines]),
        Column("rows × columns", [Cell(m.size.replace("x", " × "), m.lanes) for m in summary.machines]),
        column("weights", [machine.weight_bits for machine in summary.machines], "bits"),
        column("speed", [one.tokens_per_s for one in phases], "passes/s" if phase == "pass" else "tokens/s"),
        Column("cycles", [Cell(f"{one.cycles:,}".replace(",", "\u202f"), one.cycles) for one in phases]),
        Column("array utilization", [_share(one.utilization) for one in phases]),
        _scaled("power", [one.total_j_per_token.typical * one.tokens_per_s for one in phases], "W"),
        Column(
            f"energy per {phases[0].unit}, low to high",
            [Cell(f"{significant(t.low * factor)} – {significant(t.high * factor)}", t.low) for t in totals],
            unit,
        ),
    ]
    tokens = summary.ternary.phase(phase).tokens
    caption = "A pass through the products" if phase == "pass" else f"{phase.capitalize()} of {tokens} tokens"
    return Table(f"machines-{phase}", caption, columns, _kinds(summary))


def _savings_table(summary: JobSummary) -> Table:
    rows = reduction_rows(summary)
    names = [f"{item.phase} against {machine_label(item.baseline.rpartition('/')[2])}" for item in summary.reductions]
    columns = [text_column("phase and rival", names)]
    for number, name in enumerate(SAVINGS):
        cells = [row.cells[number] if number < len(row.cells) else "–" for row in rows]
        shown = ["0 %" if cell in ("0.0 %", "-0.0 %") else cell for cell in cells]
        columns.append(Column(name, [Cell(thin(cell), _number(cell)) for cell in shown]))
    caption = "Saved by ternary: latency, energies, and the whole system's energy as a sum of its three causes"
    return Table("savings", caption, columns)


def _operands_table(summary: JobSummary) -> Table:
    names, found = list(summary.statistics), list(summary.statistics.values())
    kinds = ["measured" if one.measured else "assumed" for one in found]
    columns = [
        text_column("linear", names),
        column("zero fraction", [one.zero_fraction for one in found]),
        column("operand toggles", [one.toggle_rate for one in found], "per bit"),
        column("activation toggles", [one.input_toggle_rate for one in found], "per bit"),
        Column("kind", [Cell(kind, badge=kind) for kind in kinds], words=True),
    ]
    origins = list(dict.fromkeys(one.origin for one in found))
    if len(origins) > 1:
        columns.append(text_column("origin", [one.origin for one in found]))
    origin = f": {origins[0]}" if len(origins) == 1 else ""
    return Table("operands", f"Operands of the array{origin}", columns)


def _recipes_table(summary: JobSummary) -> Table:
    """How energies and areas were made: what machines share once."""
    found: dict[tuple[str, str], list[str]] = {}
    for machine in summary.machines:
        areas = machine.area.recipes if machine.area else {}
        recipes = {**machine.energy_recipes, **{f"area: {part}": recipe for part, recipe in areas.items()}}
        for pair in recipes.items():
            found.setdefault(pair, []).append(machine_label(machine.mac))
    names = [machines if len(machines) < len(summary.machines) else ["all"] for machines in found.values()]
    columns = [
        text_column("part", [part for part, _ in found]),
        text_column("machine", [", ".join(machines) for machines in names]),
        text_column("recipe", [thin(recipe) for _, recipe in found]),
    ]
    return Table("recipes", "How each energy and area was made", columns)


def _paper_table(summary: JobSummary) -> Table:
    columns = [
        text_column("recipe", [line.recipe for line in summary.paper]),
        text_column("table", [line.table for line in summary.paper]),
        Column("saved", [_share(line.reduction) for line in summary.paper]),
    ]
    caption = "One operator, as papers count: no adder tree, registers or memory (derived)"
    return Table("papers", caption, columns)


def _kinds(summary: JobSummary) -> list[str]:
    return ["strong" if machine is summary.ternary else "" for machine in summary.machines]


def _scaled(title: str, values: Sequence[float | None], unit: str) -> Column:
    """All values in the unit that suits the largest."""
    shown, factor = common_unit([value for value in values if value is not None], unit)
    return column(title, values, shown, factor)


def _share(value: float | None) -> Cell:
    return Cell("–", value) if not value else Cell(thin(percent(value)), value)


def _number(text: str) -> float | None:
    try:
        return float(text.removesuffix(" %"))
    except ValueError:
        return None


def _lanes(size: str) -> float | None:
    rows, _, cols = size.partition("x")
    return int(rows) * int(cols) if rows and cols else None
