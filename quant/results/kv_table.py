"""Committed perplexities over quantized K and V: a row per weights and format; the table of the documentation."""

from itertools import groupby
from pathlib import Path

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.pages import markdown_table

__all__ = ["FLOAT_WEIGHTS", "KV_FILE", "KvResults", "KvRow", "add_kv_row", "kv_markdown", "read_kv_results"]

KV_FILE = Path("docs") / "results" / "kv.json"
FLOAT_WEIGHTS = "float"  # in place of a run's method

_SCHEMA, _VERSION = "tritforge.kv", 1


class KvRow(Record):
    """One set of weights over one format of K and V, int8 activations at the decoder linears."""

    model: str
    weights: str  # "float", or the method of the run whose trits they are
    weights_sha256: str
    kv: str  # as quant.kv.formats spells it, or "float"
    rotate: bool
    bits: float  # stored per element of K and V, scales included, as the last token of a window finds them
    perplexity: float
    change: float  # of the perplexity against float attention with the same weights, from paired losses
    standard_error: float | None  # of the change, over windows; None of one window
    mean_cosine: float  # of attention outputs to those of float attention, over all heads and tokens
    min_cosine: float  # of the worst head, over tokens
    worst_head: tuple[int, int] | None  # layer and head
    text: str
    windows: int
    length: int
    seconds: float
    device: str

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement replaces."""
        return self.model, self.weights, self.weights_sha256, self.kv, self.text, self.windows, self.length


class KvResults(Record):
    """Every row that was measured."""

    rows: tuple[KvRow, ...] = ()


def read_kv_results(path: Path) -> KvResults:
    """Read a results file.

    Raises:
        InputError: missing, or not such a file.
    """
    return read_record(path, _SCHEMA, _VERSION, KvResults, "measure again: tritforge kv --help")


def add_kv_row(path: Path, row: KvRow) -> None:
    """Add a row, in the place of one of the same weights, format and sample; others keep their places."""
    rows = list(read_kv_results(path).rows) if path.is_file() else []
    places = [number for number, one in enumerate(rows) if one.key == row.key]
    if places:
        rows[places[0]] = row
    else:
        rows.append(row)
    write_artifact(path, _SCHEMA, _VERSION, KvResults(rows=tuple(rows)).model_dump(mode="json"), {})


def kv_markdown(results: KvResults) -> str:
    """The rows as a Markdown table, those of one model, weights and sample together."""
    header = (
        *("model", "weights", "K and V", "bits per element", "rotated", "perplexity", "change"),
        *("cosine of heads, mean", "worst head", "sample", "time", "machine"),
    )

    def sample(row: KvRow) -> tuple[object, ...]:
        return row.model, row.weights != FLOAT_WEIGHTS, row.weights, row.weights_sha256, row.text, row.windows

    ordered = sorted(results.rows, key=sample)
    return markdown_table(header, [_cells(row) for _, rows in groupby(ordered, key=sample) for row in rows])


def _cells(row: KvRow) -> tuple[str, ...]:
    own = row.weights == FLOAT_WEIGHTS
    error = "" if row.standard_error is None else f" ± {100 * row.standard_error:.2f}"
    worst = "-" if row.worst_head is None else "{:.4f} (layer {}, head {})".format(row.min_cosine, *row.worst_head)
    floats = row.kv == "float"
    return (
        row.model,
        FLOAT_WEIGHTS if own else f"`{row.weights}` ({row.weights_sha256[:8]})",
        "float" if floats else f"`{row.kv}`",
        f"{row.bits:.2f}",
        "yes" if row.rotate else "no",
        f"{row.perplexity:.2f}",
        "-" if floats else f"{100 * row.change:+.2f}{error} %",
        "-" if floats else f"{row.mean_cosine:.4f}",
        worst,
        f"{row.text.split(' ')[0]}, {row.windows} x {row.length}",
        f"{row.seconds:.0f} s",
        row.device,
    )
