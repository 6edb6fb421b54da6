"""Committed rows of how runs and their exported files agree, and the documentation's table of them; without torch."""

import json
from pathlib import Path

from hw.artifact import write_text
from hw.document import Record, load_json
from quant.manifest import older_options

__all__ = ["AGREEMENT_FILE", "Agreement", "Agreements", "add_agreement", "agreement_markdown", "read_agreements"]

AGREEMENT_FILE = Path("docs") / "results" / "exports.json"

_HEADER = (
    *("model", "method", "format", "runtime", "file", "linears", "at true bits", "tokens equal to A16", "to A8"),
    *("ppl there", "ppl A16", "ppl A8"),
)


class Agreement(Record):
    """One exported run. ``tokens_equal``: share of greedy tokens before the first that differs, beside our A16 and A8;
    ``perplexity``: of "theirs" and of ours, "a16" and "a8"."""

    model: str
    method: str
    options: dict[str, float | int | str | bool | None]
    true_bits: float
    tokens_equal: dict[str, float]
    perplexity: dict[str, float]
    format: str = ""
    runtime: str = ""
    text: str = ""
    file_bytes: int = 0
    linear_bytes: int = 0  # of the decoder linears in the file
    packed_bytes: int = 0  # of the same in the run's own packed checkpoint, which is what "true bits" count
    accuracy: str = ""


class Agreements(Record):
    """All rows."""

    rows: list[Agreement]


def read_agreements(path: Path) -> Agreements:
    """Read the committed rows.

    Raises:
        InputError: missing or damaged file.
    """
    return load_json(path, Agreements)


def add_agreement(path: Path, row: Agreement) -> None:
    """Append a row, or replace the one of the same model, method, options and format."""

    def identity(one: Agreement) -> tuple:
        return one.model, one.method, one.options, one.format

    rows = read_agreements(path).rows if Path(path).is_file() else []
    kept = [one for one in rows if identity(one) != identity(row)]
    write_text(path, json.dumps(Agreements(rows=[*kept, row]).model_dump(), indent=1) + "\n")


def agreement_markdown(agreements: Agreements) -> str:
    """A Markdown table of all rows, by model, method and format, and the texts below it."""
    lines = ["| " + " | ".join(_HEADER) + " |", "| " + " | ".join(["---"] * 4 + ["---:"] * 8) + " |"]
    for row in sorted(agreements.rows, key=lambda one: (one.model, one.method, one.format)):
        equal, ppl = row.tokens_equal, row.perplexity
        cells = (
            *(row.model, f"`{row.method}`", f"`{row.format}`", row.runtime, _mb(row.file_bytes)),
            *(_mb(row.linear_bytes), f"{_mb(row.packed_bytes)} ({row.true_bits:.2f})"),
            *(f"{equal['a16']:.1%}", f"{equal['a8']:.1%}"),
            *(f"{ppl[key]:.3f}" for key in ("theirs", "a16", "a8")),
        )
        lines.append("| " + " | ".join(cells) + " |")
    notes = sorted({f"{row.model}: text {row.text}" for row in agreements.rows})
    notes += older_options((row.model, row.method, row.options) for row in agreements.rows)
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
