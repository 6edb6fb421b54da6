"""The page of a comparison of methods: what to use, perplexity against bits and against energy, what collapsed."""

from markupsafe import Markup

from energy.compare import Comparison, MethodRow
from energy.reports.charts.plane import Point, plane
from energy.reports.numbers import common_unit, significant, thin
from energy.reports.pages.document import Provenance, Table, column, render, text_column
from energy.reports.rows import percent, si
from quant.manifest import COLLAPSED

__all__ = ["comparison_html", "comparison_verdict"]


def comparison_html(comparison: Comparison, made: Provenance) -> str:
    """The page."""
    before, *methods = comparison.rows
    return render(
        "methods",
        title=f"{comparison.model}: methods of quantization",
        machine=[
            comparison.model,
            f"{comparison.prefill} + {comparison.decode} tokens, batch {comparison.batch}",
            comparison.array,
            comparison.memory,
            f"costs {comparison.costs}",
        ],
        verdict=comparison_verdict(comparison),
        collapsed=[
            (row.method, significant(_times(before, row))) for row in methods if _times(before, row) >= COLLAPSED
        ],
        figures=[
            _figure(comparison, "true_bits", "true bits per weight", ""),
            _figure(comparison, "decode_j_per_token", "energy per token written", "J"),
        ],
        table=_table(comparison),
        text=comparison.text,
        calibration=comparison.calibration,
        provenance=made,
    )


def comparison_verdict(comparison: Comparison) -> str:
    """The most accurate method, and the one that writes cheapest among those that did not collapse."""
    before, *methods = comparison.rows
    usable = [row for row in methods if _times(before, row) < COLLAPSED]
    if not usable:
        return (
            f"No method keeps the perplexity of {comparison.model} below {COLLAPSED:g} times what it was "
            f"({before.perplexity_a8:.3g}): none of these weights is to be used."
        )
    best, cheapest = min(usable, key=lambda row: row.perplexity_a8), min(usable, key=lambda row: row.decode_j_per_token)
    text = f"Most accurate: {_in_words(before, best)}."
    if cheapest is not best:
        saved = 1 - cheapest.decode_j_per_token / best.decode_j_per_token
        text += f" {percent(saved)} less energy per token: {_in_words(before, cheapest)}."
    return text


def _in_words(before: MethodRow, row: MethodRow) -> str:
    return (
        f"{row.method}, perplexity {row.perplexity_a8:.3g} where {before.perplexity_a8:.3g} stood before, "
        f"{row.true_bits:.3g} bits per weight, {significant(row.decode_tokens_per_s)} tokens/s at "
        f"{si(row.decode_j_per_token, 'J')} per token"
    )


def _times(before: MethodRow, row: MethodRow) -> float:
    """Perplexity with 8-bit activations over that before quantization."""
    return row.perplexity_a8 / before.perplexity_a8


def _figure(comparison: Comparison, field: str, title: str, unit: str) -> tuple[str, Markup]:
    """Perplexity against a field of the rows."""
    values = [getattr(row, field) for row in comparison.rows]
    shown, factor = common_unit(values, unit)
    points = [
        Point(
            value * factor,
            row.perplexity_a8,
            thin(f"{row.method}: perplexity {row.perplexity_a8:.4g}, {title} {significant(value * factor)} {shown}"),
            row.method,
            "rival" if number == 0 else "strong" if _times(comparison.rows[0], row) < COLLAPSED else "faint",
        )
        for number, (row, value) in enumerate(zip(comparison.rows, values, strict=True))
    ]
    name = f"{title}, {shown}" if shown else title
    heading = f"Perplexity against {title}"
    return heading, plane(
        points, [], name, "perplexity, 8-bit activations", heading, "; ".join(p.tip for p in points), 420
    )


def _table(comparison: Comparison) -> Table:
    before, *_ = rows = comparison.rows

    def scaled(title: str, values: list[float], unit: str):
        return column(title, values, *common_unit(values, unit))

    columns = [
        text_column("method", [row.method for row in rows]),
        column("true bits", [row.true_bits for row in rows], "per weight"),
        column("planes", [row.planes or None for row in rows]),
        column("perplexity", [row.perplexity_a16 for row in rows], "16-bit activations"),
        column("perplexity", [row.perplexity_a8 for row in rows], "8-bit activations"),
        column("times before", [_times(before, row) for row in rows]),
        column("decode", [row.decode_tokens_per_s for row in rows], "tokens/s"),
        scaled("prefill", [row.prefill_s for row in rows], "s"),
        scaled("energy per token", [row.decode_j_per_token for row in rows], "J"),
        scaled("of that, the array", [row.decode_array_j_per_token for row in rows], "J"),
    ]
    kinds = ["off" if _times(before, row) >= COLLAPSED else "" for row in rows]
    return Table("methods", "Methods; red: collapsed, not to be used", columns, kinds, filtered=len(rows) > 8)
