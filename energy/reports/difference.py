"""The difference of two designs in sentences, and as tables on the screen."""

from rich.console import Console
from rich.table import Table

from energy.difference import Difference, Quantity, Term
from energy.reports.charts.palette import label_of
from energy.reports.numbers import common_unit, significant
from energy.reports.rows import percent, si

__all__ = [
    "difference_sentences",
    "largest_terms",
    "parts_of",
    "print_difference",
    "quantity_name",
    "signed",
    "sums_of",
]

_LARGEST = 3  # terms of a sentence
_COVERED = 0.8  # of the sum of all changes: a sentence stops naming terms there
_EQUAL = 0.005
_NOTHING = 1e-9  # of the larger of both values: rounding

_NAMES = {
    ("prefill", "latency"): "prefill",
    ("decode", "latency"): "a step of decode",
    ("prefill", "energy"): "a prompt token",
    ("decode", "energy"): "a token written",
    ("pass", "latency"): "a pass",
    ("pass", "energy"): "a pass",
}


def quantity_name(phase: str, quantity: Quantity) -> str:
    """What takes the time or the energy."""
    return _NAMES.get((phase, quantity.name), f"{phase}, per {quantity.per}")


def difference_sentences(difference: Difference) -> list[str]:
    """One per phase and quantity: both values, how far apart, and the terms that make most of it."""
    return [
        _sentence(difference, quantity_name(one.phase, quantity), quantity)
        for one in difference.phases
        for quantity in (one.latency, one.energy)
    ]


def largest_terms(quantity: Quantity) -> list[Term]:
    """The terms that make most of all changes, the largest first."""
    ordered = sorted(quantity.terms, key=lambda term: abs(term.difference), reverse=True)
    moved, found, covered = sum(abs(term.difference) for term in ordered), [], 0.0
    for term in ordered[:_LARGEST]:
        if covered < _COVERED * moved and term.difference:
            found.append(term)
            covered += abs(term.difference)
    return found


def signed(value: float, unit: str) -> str:
    """With its sign, in the unit that suits it."""
    return ("+" if value > 0 else "") + si(value, unit)


def print_difference(difference: Difference, console: Console) -> None:
    """Sentences, one table per phase and quantity, and the fields that differ."""
    for note in difference.notes:
        console.print(note, style="bold red", highlight=False)
    for sentence in difference_sentences(difference):
        console.print(sentence, highlight=False)
    for one in difference.phases:
        for quantity in (one.latency, one.energy):
            console.print(_table(difference, quantity_name(one.phase, quantity), quantity))
    table = Table(title="fields that differ", box=None, title_justify="left")
    for name in ("", difference.a, difference.b):
        table.add_column(name, justify="right" if name else "left")
    for field in difference.fields:
        table.add_row(field.name, field.a, field.b)
    console.print(table)


def _sentence(difference: Difference, name: str, quantity: Quantity) -> str:
    a, b = quantity.a, quantity.b
    verb = "takes" if quantity.name == "energy" else "lasts"
    values = f"{si(b, quantity.unit)} on {difference.b} and {si(a, quantity.unit)} on {difference.a}"
    start = f"{name[:1].upper()}{name[1:]} {verb} {values}"
    if not a or abs(b / a - 1) < _EQUAL:
        return f"{start}: as much."
    change = f"{percent(abs(b / a - 1))} {'less' if b < a else 'more'}"
    terms = ", ".join(
        f"{signed(term.difference, quantity.unit)} {label_of(term.key)}" for term in largest_terms(quantity)
    )
    return f"{start}: {change}, mostly {terms}."


def _table(difference: Difference, name: str, quantity: Quantity) -> Table:
    unit, factor = common_unit([quantity.a, quantity.b], quantity.unit)
    table = Table(title=f"{quantity.name} of {name}, {unit}", box=None, title_justify="left", header_style="bold")
    for head in ("", difference.a, difference.b, "difference", "by count", "by cost", "counted"):
        table.add_column(head, justify="left" if head in ("", "counted") else "right")
    for term in quantity.terms:
        values = (term.a, term.b, term.difference, *parts_of(term))
        table.add_row(label_of(term.key), *(significant(value * factor) for value in values), term.counted)
    sums = (quantity.a, quantity.b, quantity.b - quantity.a, *sums_of(quantity))
    table.add_row("sum", *(significant(value * factor) for value in sums), "", style="bold")
    return table


def parts_of(term: Term) -> tuple[float, float]:
    """What more actions and what dearer ones add, without what rounding leaves."""
    least = _NOTHING * max(abs(term.a), abs(term.b))
    return tuple(value if abs(value) > least else 0.0 for value in (term.by_count, term.by_cost))  # type: ignore[return-value]


def sums_of(quantity: Quantity) -> tuple[float, float]:
    """Over all terms."""
    pairs = [parts_of(term) for term in quantity.terms]
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
