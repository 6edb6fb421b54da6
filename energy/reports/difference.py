"""The difference of two designs in sentences, and as tables on the screen."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from energy.costs.tables import Cost, is_close
from energy.difference import Difference, Quantity, Term
from energy.reports.charts.palette import label_of
from energy.reports.numbers import common_unit, significant
from energy.reports.rows import percent, si

__all__ = [
    "difference_sentences",
    "difference_verdict",
    "ends_of",
    "largest_terms",
    "listed",
    "parts_of",
    "print_difference",
    "quantity_name",
    "signed",
    "sums_of",
]

_LARGEST = 3  # terms of a sentence
_COVERED = 0.8  # of the sum of all changes: a sentence stops naming terms there
_NOTHING = 1e-9  # of the larger of both values: rounding

_TIMES = 2.0  # ratio from which a change is said as one

_ASPECTS = {
    ("prefill", "latency"): "the time of prefill",
    ("decode", "latency"): "the time of a decode step",
    ("prefill", "energy"): "the energy of a prompt token",
    ("decode", "energy"): "the energy of a token written",
}
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


def difference_verdict(difference: Difference) -> str:
    """One sentence: in what B is better, in what worse, and in what the two are equal."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "equal": []}
    ranged = False
    for one in difference.phases:
        for quantity in (one.latency, one.energy):
            what = _ASPECTS.get((one.phase, quantity.name), f"{quantity.name} of {one.phase}")
            if quantity.is_equal:
                found["equal"].append(what)
                ranged = ranged or not is_close(quantity.a, quantity.b)
            else:
                kind = "better" if quantity.b < quantity.a else "worse"
                found[kind].append(f"{what} ({_change(quantity)})")
    why = ", whose ranges from low to high costs cannot be told apart" if ranged else ""
    parts: list[str] = []
    for kind, beside, more in (("better", "than", ""), ("worse", "than", ""), ("equal", "to", why)):
        if found[kind]:
            first = "" if parts else f" {beside} {difference.a}"
            parts.append(f"{kind}{first} in {listed(found[kind])}{more}")
    return f"{difference.b} is {'; '.join(parts) or f'run in no phase that {difference.a} has'}."


def listed(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _change(quantity: Quantity) -> str:
    """How far B is from A: ``68 % less``, or ``3.4 times``."""
    if not quantity.a:
        return f"{si(quantity.b, quantity.unit)} instead of none"
    ratio = quantity.b / quantity.a
    if ratio >= _TIMES:
        return f"{significant(ratio)} times"
    return f"{percent(abs(ratio - 1))} {'less' if ratio < 1 else 'more'}"


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
    console.print(difference_verdict(difference), style="bold", highlight=False)
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
    ranges = [_range(one, quantity.unit) for one in (quantity.range_a, quantity.range_b)]
    values = (
        f"{si(b, quantity.unit)}{ranges[1]} on {difference.b} and {si(a, quantity.unit)}{ranges[0]} on {difference.a}"
    )
    start = f"{name[:1].upper()}{name[1:]} {verb} {values}"
    if is_close(a, b):
        return f"{start}: as much."
    change = _change(quantity)
    if quantity.is_equal:
        change = f"equal, as the ranges from low to high costs go; {change} with typical ones"
    terms = ", ".join(
        f"{signed(term.difference, quantity.unit)} {label_of(term.key)}" for term in largest_terms(quantity)
    )
    return f"{start}: {change}{', mostly ' if terms else ''}{terms}."


def _range(cost: Cost | None, unit: str) -> str:
    """Low and high costs in brackets, where there is a range."""
    return "" if cost is None or cost.low == cost.high else f" ({si(cost.low, unit)} to {si(cost.high, unit)})"


def ends_of(quantity: Quantity) -> list[tuple[str, float, float]]:
    """``low costs`` and ``high costs``: the sums of both designs there."""
    if quantity.range_a is None or quantity.range_b is None:
        return []
    a, b = quantity.range_a, quantity.range_b
    return [("with low costs", a.low, b.low), ("with high costs", a.high, b.high)]


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
    for end, a, b in ends_of(quantity):
        table.add_row(end, *(significant(value * factor) for value in (a, b, b - a)), "", "", "")
    return table


def parts_of(term: Term) -> tuple[float, float]:
    """What more actions and what dearer ones add, without what rounding leaves."""
    least = _NOTHING * max(abs(term.a), abs(term.b))
    return tuple(value if abs(value) > least else 0.0 for value in (term.by_count, term.by_cost))  # type: ignore[return-value]


def sums_of(quantity: Quantity) -> tuple[float, float]:
    """Over all terms."""
    pairs = [parts_of(term) for term in quantity.terms]
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
