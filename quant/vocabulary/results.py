"""Committed perplexities of models whose embedding and head are in digits; the table of the documentation."""

from pathlib import Path

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.pages import markdown_table

__all__ = ["TABLES_FILE", "TableResults", "TableRow", "add_table_row", "read_table_results", "tables_markdown"]

TABLES_FILE = Path("docs") / "results" / "vocabulary.json"

_SCHEMA, _VERSION = "tritforge.vocabulary", 1


class TableRow(Record):
    """One set of tables in digits, the decoder linears float."""

    model: str
    digits: int
    roles: str
    steps: int  # 0: rounded alone
    rate: float
    norm_rate: float
    body_rate: float = 0.0
    tokens_per_step: int
    learned_length: int
    soften: float
    generated_windows: int
    real_share: float
    seed: int
    entry_bits: float  # stored per entry of the tables in digits, scales and mean row included
    whole_bits: float  # stored per parameter of the whole file, what is not in digits at 16 bits
    divergence: float | None  # from full precision in nats per token, mean of the last tenth of the steps
    perplexity: dict[str, float]  # keys as in a manifest: "fp", "fp_a8", "a16", "a8"
    evaluation: str
    calibration: str
    seconds: float | None  # of training, text that the model wrote included; None: the table was there
    device: str

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement replaces."""
        left_out = {"entry_bits", "whole_bits", "divergence", "perplexity", "seconds", "device"}
        return tuple(self.model_dump(exclude=left_out).values())


class TableResults(Record):
    """Every row that was measured."""

    rows: tuple[TableRow, ...] = ()


def read_table_results(path: Path) -> TableResults:
    """Read a results file.

    Raises:
        InputError: missing, or not such a file.
    """
    return read_record(path, _SCHEMA, _VERSION, TableResults, "measure again: tritforge vocabulary --help")


def add_table_row(path: Path, row: TableRow) -> None:
    """Add a row, in the place of one of the same table and texts."""
    rows = read_table_results(path).rows if path.is_file() else ()
    kept = [one for one in rows if one.key != row.key]
    body = TableResults(rows=tuple(sorted([*kept, row], key=_order))).model_dump(mode="json")
    write_artifact(path, _SCHEMA, _VERSION, body, {})


def tables_markdown(results: TableResults) -> str:
    """The rows as a Markdown table."""
    header = (
        *(
            "model",
            "digits",
            "roles",
            "steps x tokens",
            "rate",
            "body",
            "bits per entry",
            "bits per parameter, whole file",
        ),
        *("ppl A16", "x FP", "ppl A8", "divergence", "sample", "training", "machine"),
    )
    return markdown_table(header, [_cells(row) for row in results.rows])


def _cells(row: TableRow) -> tuple[str, ...]:
    before, after = row.perplexity["fp"], row.perplexity["a16"]
    return (
        row.model,
        str(row.digits),
        row.roles,
        f"{row.steps} x {row.tokens_per_step}" if row.steps else "rounded",
        f"{row.rate:g}" if row.steps else "-",
        f"trained, {row.body_rate:g}" if row.steps and row.body_rate else "as it was",
        f"{row.entry_bits:.3f}",
        f"{row.whole_bits:.2f}",
        f"{after:.2f}",
        f"{after / before:.3f}",
        f"{row.perplexity['a8']:.2f}",
        "-" if row.divergence is None else f"{row.divergence:.3f} nats",
        row.evaluation,
        "-" if row.seconds is None or not row.steps else f"{row.seconds / 60:.1f} min",
        row.device,
    )


def _order(row: TableRow) -> tuple[object, ...]:
    return row.model, row.roles, row.digits, row.steps, str(row.key)
