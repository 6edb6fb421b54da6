"""Committed results of quantization: one row per run, read from its manifest; the table of the documentation."""

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from hw.artifact import write_text
from hw.document import Record, load_json
from hw.errors import InputError
from quant.manifest import Manifest
from quant.methods.method import GENERATED_LENGTH
from quant.shapes import load_shape, model_names

__all__ = ["RESULTS_FILE", "Results", "Row", "add_row", "read_results", "results_markdown", "row_of"]

RESULTS_FILE = Path("docs") / "results" / "quantization.json"

_HEADER = (
    *("model", "method", "options", "seed", "true bits", "whole file", "ppl A16", "ppl A8", "x FP"),
    *("last words", "share of FP", "tokens written / distilled on", "time", "machine"),
)
_WORDS = ("model", "method", "options", "machine")
_TOKENS_PER_STEP = 16384  # of distillation, where a row does not name another number


class Row(Record):
    """One run. Perplexities and accuracies that were not measured are absent from their dictionaries."""

    model: str
    method: str
    options: dict[str, float | int | str | bool | None]  # those given on the command line
    seed: int
    true_bits: float
    whole_bits: float | None = None  # per parameter of the whole file, tables included; None: tables at 16 bits
    perplexity: dict[str, float]  # keys: "fp", "fp_a8", "a16", "a8"
    last_word: dict[str, float]  # keys: "fp_a8", "a8"
    evaluation: str
    prose: str
    calibration: str
    seconds: float | None  # the whole command, evaluation and recording included
    device: str


class Results(Record):
    """All rows, in the order of the table."""

    rows: list[Row]


def row_of(manifest: Manifest, options: dict[str, object], seed: int, seconds: float | None, device: str) -> Row:
    """The row of a finished run."""
    return Row(
        model=manifest.model,
        method=manifest.method,
        options=options,
        seed=seed,
        true_bits=manifest.true_bits,
        whole_bits=manifest.whole_bits,
        perplexity=manifest.perplexity,
        last_word=manifest.last_word,
        evaluation=manifest.evaluation,
        prose=manifest.last_word_text,
        calibration=manifest.calibration,
        seconds=seconds,
        device=device,
    )


def read_results(path: Path) -> Results:
    """Read the committed rows.

    Raises:
        InputError: missing or damaged file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; committed results are part of a checkout, so run this at its top")
    return load_json(path, Results)


def add_row(path: Path, row: Row) -> None:
    """Append a row, or replace the one of the same model, method, options, seed and texts."""

    def identity(one: Row) -> tuple:
        return one.model, one.method, one.options, one.seed, one.evaluation, one.calibration

    rows = read_results(path).rows if Path(path).is_file() else []
    kept = [one for one in rows if identity(one) != identity(row)]
    dumped = [one.model_dump(exclude=None if one.whole_bits is not None else {"whole_bits"}) for one in [*kept, row]]
    write_text(path, json.dumps({"rows": dumped}, indent=1) + "\n")


def results_markdown(results: Results) -> str:
    """A Markdown table, each model at full precision and then its runs, best first, and the texts below it."""
    ordered = sorted(results.rows, key=lambda row: (row.model, row.perplexity.get("a8", row.perplexity["a16"])))
    lines = [_line(_HEADER), _line("---" if name in _WORDS else "---:" for name in _HEADER)]
    for model, rows in groupby(ordered, key=lambda row: row.model):
        newest = [row for row in results.rows if row.model == model][-1]
        lines += [_line(_unquantized_cells(newest)), *(_line(_cells(row)) for row in rows)]
    notes = {
        f"evaluated on {row.evaluation}; last words of {row.prose}; calibrated on {row.calibration}"
        for row in ordered
        if row.prose
    }
    return "\n".join([*lines, "", *(f"- {note}" for note in sorted(notes))])


def _unquantized_cells(row: Row) -> list[str]:
    """The model before quantization, as this run measured it."""
    float_ppl, int8_ppl = (_number(row.perplexity.get(name), ".2f") for name in ("fp", "fp_a8"))
    words = _number(row.last_word.get("fp_a8"), ".1%")
    return [row.model, "full precision", "", "-", "16", "16", float_ppl, int8_ppl, "1.00", words, "100%", "-", "-", ""]


def _cells(row: Row) -> list[str]:
    a8, reference = row.perplexity.get("a8"), row.perplexity.get("fp_a8")
    words, words_before = row.last_word.get("a8"), row.last_word.get("fp_a8")
    return [
        row.model,
        f"`{row.method}`",
        ", ".join(f"{name} {'row' if value is None else value}" for name, value in row.options.items()) or "defaults",
        str(row.seed),
        f"{row.true_bits:.3f}",
        _number(_whole_bits(row), ".2f"),
        _number(row.perplexity.get("a16"), ".2f"),
        _number(a8, ".2f"),
        _number(a8 / reference if a8 and reference else None, ".2f"),
        _number(words, ".1%"),
        _number(words / words_before if words is not None and words_before else None, ".0%"),
        _tokens(row),
        "-" if row.seconds is None else f"{row.seconds / 60:.1f} min",
        row.device,
    ]


def _whole_bits(row: Row) -> float | None:
    """Bits per parameter of the whole file; of a row that does not say, what 16 bits for all but the linears give.

    None where the model's dimensions do not ship with the project.
    """
    if row.whole_bits is not None or row.model not in model_names():
        return row.whole_bits
    shape = load_shape(row.model)
    kept = 16 * (shape.total_parameters - shape.linear_parameters)
    return (row.true_bits * shape.linear_parameters + kept) / shape.total_parameters


def _tokens(row: Row) -> str:
    """Tokens that the full-precision model wrote, and tokens that all steps of distillation saw; millions."""
    steps, windows = row.options.get("distill_steps"), row.options.get("generated_windows")
    if not steps or not windows:
        return "-"
    seen = int(steps) * int(row.options.get("distill_tokens_per_step") or _TOKENS_PER_STEP)
    return f"{int(windows) * GENERATED_LENGTH / 1e6:.2f} M / {seen / 1e6:.1f} M"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
