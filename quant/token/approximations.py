"""What each approximation of the whole token costs in perplexity, one after another, out of the measured rows."""

from collections.abc import Iterable
from typing import NamedTuple

from hw.pages import markdown_table
from quant.token.job import TokenFormat
from quant.token.results import TokenResults, TokenRow

__all__ = ["approximation_markdown", "costs"]

_FIRST = TokenFormat(key_digits=5, value_digits=5)  # what the others are compared with


class _Step(NamedTuple):
    """An approximation, as the change from one format to another; other fields are those of ``_FIRST``."""

    name: str
    before: dict[str, int | bool]
    after: dict[str, int | bool]


_FOUR, _LESS, _THREE = ({"key_digits": k, "value_digits": v} for k, v in ((4, 4), (4, 3), (3, 3)))
_STEPS = (
    _Step("K and V in 4 digits, not 5", {}, _FOUR),
    _Step("V in 3 digits, not 4", _FOUR, _LESS),
    _Step("K in 3 digits too, not 4", _LESS, _THREE),
    _Step("K in 4 and V in 3 digits, not 5", {}, _LESS),
    _Step("no rotation (WHT), K and V in 5 digits", {}, {"rotate": False}),
    _Step("no rotation (WHT), K and V in 4 digits", _FOUR, _FOUR | {"rotate": False}),
    _Step("softmax by blocks of 16 tokens, not 64", {}, {"block": 16}),
)


def costs(rows: Iterable[TokenRow]) -> dict[str, float]:
    """By approximation, how much higher the perplexity is than without it, as a share; of one model, trits and sample.

    Only those of which both ends were measured on the same windows.
    """
    by_form = {row.form: row for row in rows}
    found = {}
    if first := by_form.get(_FIRST):
        found["table in digits, not in float"] = first.same_trits / first.float_attention - 1
        found["integers for float: norms, RoPE, softmax, SiLU; K and V in 5 digits"] = first.change
    for step in _STEPS:
        ends = [by_form.get(_FIRST.model_copy(update=fields)) for fields in (step.before, step.after)]
        if ends[0] and ends[1]:
            found[step.name] = ends[1].integer / ends[0].integer - 1
    return found


def approximation_markdown(results: TokenResults) -> str:
    """A row per approximation, a column per model, trits and sample."""
    samples: dict[tuple[str, str], list[TokenRow]] = {}
    for row in results.rows:
        samples.setdefault((f"{row.trits}: {row.sample}", row.text), []).append(row)
    columns = [costs(rows) for rows in samples.values()]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(name, *(_percent(column.get(name)) for column in columns)) for name in names]
    return markdown_table(("approximation", *(title for title, _ in samples)), rows)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{round(100 * share, 2) + 0.0:+.2f} %"  # no -0.00
