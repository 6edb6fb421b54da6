"""Committed rows of cut vocabularies: bits per byte before and after, tokens, bytes; the table of the documentation."""

import math
from pathlib import Path

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.pages import markdown_table

__all__ = ["CUT_FILE", "CutResults", "CutRow", "add_cut_row", "cut_markdown", "read_cut_results"]

CUT_FILE = Path("docs") / "results" / "vocabulary-cut.json"

_SCHEMA, _VERSION = "tritforge.vocabulary-cut", 1
_MEASURED = {"loss", "bits_per_byte", "tokens_per_byte", "words_per_byte", "seconds", "device"}


class CutRow(Record):
    """One cut. Pairs are of the model as it came and with the cut vocabulary."""

    model: str
    entries: tuple[int, int]
    steps: int  # 0: cut alone
    norm_rate: float
    body_rate: float
    tokens_per_step: int
    learned_length: int
    generated_windows: int
    real_share: float
    seed: int
    loss: float | None  # KL to the full vocabulary's distributions, nats per piece, mean of the last tenth of the steps
    bits_per_byte: tuple[float, float]  # of the evaluation text, float activations
    tokens_per_byte: tuple[float, float]  # of the evaluation text
    words_per_byte: float  # of the evaluation text; words stand between spaces
    table_bytes: tuple[int, int]  # embedding, and head where it is another, at 16 bits
    file_bytes: tuple[int, int]  # all parameters at 16 bits
    evaluation: str
    calibration: str
    seconds: float | None  # of training, text that the model wrote included
    device: str

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement replaces."""
        return tuple(self.model_dump(exclude=_MEASURED).values())

    @property
    def per_token(self) -> tuple[float, float]:
        """Perplexity per token of the full vocabulary, of both: the same bits over the same number of tokens."""
        first, second = (math.exp(bits * math.log(2) / self.tokens_per_byte[0]) for bits in self.bits_per_byte)
        return first, second

    @property
    def per_word(self) -> tuple[float, float]:
        """Perplexity per word."""
        first, second = (math.exp(bits * math.log(2) / self.words_per_byte) for bits in self.bits_per_byte)
        return first, second


class CutResults(Record):
    """Every row that was measured."""

    rows: tuple[CutRow, ...] = ()


def read_cut_results(path: Path) -> CutResults:
    """Read a results file.

    Raises:
        InputError: missing, or not such a file.
    """
    return read_record(path, _SCHEMA, _VERSION, CutResults, "measure again: tritforge vocabulary --help")


def add_cut_row(path: Path, row: CutRow) -> None:
    """Add a row, in the place of one of the same cut and texts."""
    rows = read_cut_results(path).rows if path.is_file() else ()
    kept = [one for one in rows if one.key != row.key]
    order = sorted([*kept, row], key=lambda one: (one.model, one.evaluation, -one.entries[1], one.steps, str(one.key)))
    write_artifact(path, _SCHEMA, _VERSION, CutResults(rows=tuple(order)).model_dump(mode="json"), {})


def cut_markdown(results: CutResults) -> str:
    """The rows as a Markdown table."""
    header = (
        *(
            "model",
            "entries",
            "steps x tokens",
            "rate of norms",
            "body",
            "bits per byte",
            "per token of the full vocabulary",
            "x full",
        ),
        *("per word", "tokens", "table", "whole file", "sample", "training", "machine"),
    )
    return markdown_table(header, [_cells(row) for row in results.rows])


def _cells(row: CutRow) -> tuple[str, ...]:
    tokens, words = row.per_token, row.per_word
    return (
        row.model,
        f"{row.entries[0]} -> {row.entries[1]}",
        f"{row.steps} x {row.tokens_per_step}" if row.steps else "cut alone",
        f"{row.norm_rate:g}" if row.steps else "-",
        f"trained, {row.body_rate:g}" if row.steps and row.body_rate else "as it was",
        "{:.4f} -> {:.4f}".format(*row.bits_per_byte),
        "{:.2f} -> {:.2f}".format(*tokens),
        f"{tokens[1] / tokens[0]:.3f}",
        "{:.1f} -> {:.1f}".format(*words),
        f"{row.tokens_per_byte[1] / row.tokens_per_byte[0] - 1:+.1%}",
        _megabytes(row.table_bytes),
        _megabytes(row.file_bytes),
        row.evaluation,
        f"{row.seconds / 60:.1f} min" if row.steps and row.seconds is not None else "-",
        row.device,
    )


def _megabytes(sizes: tuple[int, int]) -> str:
    return " -> ".join(f"{size / 1e6:.1f}" for size in sizes) + " MB"
