"""The page of two designs: what differs, waterfalls of latency and energy, tables of count x cost."""

from markupsafe import Markup

from energy.difference import Changed, Difference, Quantity
from energy.reports.charts.palette import label_of, slots
from energy.reports.charts.waterfall import Step, waterfall
from energy.reports.difference import (
    difference_sentences,
    difference_verdict,
    ends_of,
    parts_of,
    quantity_name,
    signed,
    sums_of,
)
from energy.reports.numbers import common_unit, thin
from energy.reports.pages.document import Provenance, Table, column, render, text_column
from energy.reports.rows import si

__all__ = ["difference_html", "waterfall_of"]

_SMALL = 0.01  # of the largest change: terms below it are one step


def difference_html(difference: Difference, made: Provenance) -> str:
    """The page."""
    quantities = [(one.phase, quantity) for one in difference.phases for quantity in (one.latency, one.energy)]
    ordered = [pair for name in ("latency", "energy") for pair in quantities if pair[1].name == name]
    return render(
        "difference",
        title=f"{difference.b} against {difference.a}",
        names=(difference.a, difference.b),
        verdict=difference_verdict(difference),
        sentences=difference_sentences(difference),
        notes=difference.notes,
        figures=[
            (_title(phase, quantity), waterfall_of(difference, phase, quantity), quantity.name)
            for phase, quantity in ordered
        ],
        tables=[_table(difference, phase, quantity) for phase, quantity in quantities],
        fields=_fields(difference, difference.fields) if difference.fields else None,
        provenance=made,
    )


def waterfall_of(difference: Difference, phase: str, quantity: Quantity) -> Markup:
    """From A to B; small terms of either sign are one step, so that the steps still sum to the difference."""
    unit, factor = common_unit([quantity.a, quantity.b], quantity.unit)
    colours = slots(term.key for term in quantity.terms)
    least = _SMALL * max((abs(term.difference) for term in quantity.terms), default=0.0)
    steps = [
        Step(label_of(term.key), colours[term.key], term.difference * factor, _signed(term.difference, quantity.unit))
        for term in quantity.terms
        if abs(term.difference) > least
    ]
    rest = sum(term.difference for term in quantity.terms if abs(term.difference) <= least)
    if rest:
        steps.append(Step("the rest", "leakage", rest * factor, _signed(rest, quantity.unit)))
    ends = [
        (name, value * factor, thin(si(value, quantity.unit)))
        for name, value in ((difference.a, quantity.a), (difference.b, quantity.b))
    ]
    spoken = "; ".join(f"{step.label} {step.text}" for step in steps)
    return waterfall(ends[0], steps, ends[1], f"{_title(phase, quantity)}, {unit}", spoken)


def _title(phase: str, quantity: Quantity) -> str:
    unit, _ = common_unit([quantity.a, quantity.b], quantity.unit)
    return f"{quantity.name.capitalize()} of {quantity_name(phase, quantity)}, {unit}"


def _signed(value: float, unit: str) -> str:
    return thin(signed(value, unit))


def _table(difference: Difference, phase: str, quantity: Quantity) -> Table:
    """Terms as rows, their sum last."""
    unit, factor = common_unit([quantity.a, quantity.b], quantity.unit)
    terms, sums, ends = quantity.terms, sums_of(quantity), ends_of(quantity)
    parts, none = [parts_of(term) for term in terms], [None] * len(ends)
    columns = [
        text_column("term", [*(label_of(term.key) for term in terms), "sum", *(name for name, _, _ in ends)]),
        column(difference.a, [*(term.a for term in terms), quantity.a, *(a for _, a, _ in ends)], unit, factor),
        column(difference.b, [*(term.b for term in terms), quantity.b, *(b for _, _, b in ends)], unit, factor),
        column(
            "difference",
            [*(term.difference for term in terms), quantity.b - quantity.a, *(b - a for _, a, b in ends)],
            unit,
            factor,
        ),
        column("by count", [*(one for one, _ in parts), sums[0], *none], unit, factor),
        column("by cost", [*(one for _, one in parts), sums[1], *none], unit, factor),
        text_column("counted", [*(term.counted for term in terms), "", *("" for _ in ends)]),
        column(f"{difference.a} counts", [*(term.count_a for term in terms), None, *none]),
        column(f"{difference.b} counts", [*(term.count_b for term in terms), None, *none]),
    ]
    name = f"{phase}-{quantity.name}-table"
    caption = f"{_title(phase, quantity)} = count × cost"
    return Table(name, caption, columns, ["" for _ in terms] + ["strong"] + ["" for _ in ends])


def _fields(difference: Difference, fields: list[Changed]) -> Table:
    columns = [
        text_column("field", [field.name for field in fields]),
        text_column(difference.a, [field.a for field in fields]),
        text_column(difference.b, [field.b for field in fields]),
    ]
    return Table(
        "fields-table",
        "Fields of model, sizes, array, memory, execution and costs that differ",
        columns,
        filtered=len(fields) > 12,
    )
