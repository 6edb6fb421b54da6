"""What was measured: a row per task, number of examples and metric; readable without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.table import Table

from hw.artifact import write_artifact
from hw.document import Record, read_record

__all__ = ["FLOAT_WEIGHTS", "SHARES", "EvaluationRow", "add_rows", "read_rows", "rows_table"]

_SCHEMA, _VERSION = "tritforge.evaluation", 1

FLOAT_WEIGHTS = "float"  # in place of a run's method
SHARES = ("acc", "acc_norm", "exact_match")  # metrics that are shares of items


class EvaluationRow(Record):
    """One metric of one task, or the perplexity of one text, with one set of weights."""

    model: str
    weights: str  # "float", or the method of the run whose trits they are
    weights_sha256: str
    activations: Literal["int8", "float"]  # at the decoder linears
    task: str  # a text: its name and hash
    data_sha256: str  # of the items as lm-eval has them, or of the text
    shots: int
    metric: str
    value: float
    standard_error: float | None  # of a share, over items; None of other metrics and of one item
    items: int  # of a text: windows
    cut: int  # requests whose context was longer than the model's and lost its beginning
    harness: str  # lm-eval and its version; "" of texts
    seconds: float
    device: str

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement replaces."""
        weights = self.model, self.weights_sha256, self.activations
        return *weights, self.task, self.data_sha256, self.shots, self.metric, self.items

    @property
    def shown(self) -> str:
        """The value with its standard error, shares in per cent."""
        if self.metric not in SHARES:
            return f"{self.value:.4g}"
        error = "" if self.standard_error is None else f" ± {100 * self.standard_error:.1f}"
        return f"{100 * self.value:.1f}{error} %"


class _Rows(Record):
    rows: tuple[EvaluationRow, ...] = ()


def read_rows(path: Path) -> tuple[EvaluationRow, ...]:
    """Rows that ``tritforge evaluate --add`` has written.

    Raises:
        InputError: missing, or not such a file.
    """
    return read_record(path, _SCHEMA, _VERSION, _Rows, "measure again: tritforge evaluate --help").rows


def add_rows(path: Path, new: Sequence[EvaluationRow]) -> None:
    """Add rows to a file, each in the place of one of the same weights, items and metric."""
    rows = {row.key: row for row in (*(read_rows(path) if path.is_file() else ()), *new)}
    write_artifact(path, _SCHEMA, _VERSION, _Rows(rows=tuple(rows.values())).model_dump(mode="json"), {})


def rows_table(rows: Sequence[EvaluationRow], title: str) -> Table:
    """The rows for the screen."""
    table = Table(title=title, title_justify="left", box=None)
    for name in ("task", "metric"):
        table.add_column(name)
    for name in ("shots", "value", "items"):
        table.add_column(name, justify="right")
    for row in rows:
        cut = f" ({row.cut} cut)" if row.cut else ""
        table.add_row(row.task, row.metric, f"{row.shots}", row.shown, f"{row.items}{cut}")
    return table
