"""Measured perplexities of the whole token in integers: one row per model, trits and number formats."""

from pathlib import Path

from hw.artifact import write_artifact
from hw.document import Record, read_record
from quant.manifest import trits_of
from quant.token.job import TokenFormat

__all__ = [
    "TOKEN_RESULTS",
    "TokenResults",
    "TokenRow",
    "add_token_row",
    "read_token_results",
    "token_markdown",
]

TOKEN_RESULTS = Path("docs") / "results" / "whole-token.json"

_SCHEMA, _VERSION = "tritforge.whole-token", 1


class TokenRow(Record):
    """Perplexities of one integer model beside the float ones on the same windows."""

    model: str
    method: str
    options: dict[str, float | int | str | bool | None]
    form: TokenFormat
    text: str  # name, and in brackets the begin of its hash
    windows: int
    length: int
    float_attention: float  # float32, int8 activations at the linears, the same trits, float table
    same_trits: float  # the same with the table's digits
    integer: float
    change: float  # of the perplexity, integer over same_trits - 1, from the paired losses
    standard_error: float | None  # of the change, over windows; None of one window
    saturated: int  # kernels that clipped a value

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement replaces."""
        return self.model, self.method, str(self.options), self.form, self.text, self.windows, self.length

    @property
    def trits(self) -> str:
        """Model, method and its options."""
        return trits_of(self.model, self.method, self.options)

    @property
    def sample(self) -> str:
        """Name of the text, and the windows of it."""
        return f"{self.text.rpartition(' ')[0]}, {self.windows} x {self.length}"


class TokenResults(Record):
    """Every row that was measured."""

    rows: tuple[TokenRow, ...] = ()


def read_token_results(path: Path) -> TokenResults:
    """Read a results file.

    Raises:
        InputError: missing, or not such a file.
    """
    return read_record(path, _SCHEMA, _VERSION, TokenResults, "measure again: tritforge integer --help")


def add_token_row(path: Path, row: TokenRow) -> None:
    """Add a row, in the place of one of the same model, trits, formats and text."""
    rows = read_token_results(path).rows if path.is_file() else ()
    kept = [one for one in rows if one.key != row.key]
    body = TokenResults(rows=tuple(sorted([*kept, row], key=_order))).model_dump(mode="json")
    write_artifact(path, _SCHEMA, _VERSION, body, {})


def token_markdown(results: TokenResults) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| model, trits | K / V digits | WHT | block | table digits | A8, float attention | its table in digits "
        "| integers | change | sample |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in results.rows:
        form = row.form
        error = "" if row.standard_error is None else f" ± {100 * row.standard_error:.2f}"
        lines.append(
            f"| {row.trits} | {form.key_digits} / {form.value_digits} "
            f"| {'yes' if form.rotate else 'no'} | {form.block} | {form.table_digits} | {row.float_attention:.3f} "
            f"| {row.same_trits:.3f} | {row.integer:.3f} | {100 * row.change:+.2f}{error} % "
            f"| {row.sample} |"
        )
    return "\n".join(lines)


def _order(row: TokenRow) -> tuple[object, ...]:
    form = row.form
    size = (-form.key_digits, -form.value_digits, not form.rotate, form.block, -form.table_digits)
    return row.model, row.method, str(row.options), *size
