"""Committed runs that were given minutes instead of steps, by ``--minutes``, and the documentation's table."""

import json
from pathlib import Path

from hw.artifact import write_text
from hw.document import Record, load_json
from hw.errors import InputError
from hw.pages import markdown_table
from quant.manifest import Manifest, collapse
from quant.procedures.cost import RunCost

__all__ = ["MINUTES_FILE", "MinutesRow", "add_minutes_row", "minutes_markdown", "minutes_row", "read_minutes_rows"]

MINUTES_FILE = Path("docs") / "results" / "minutes.json"


class MinutesRow(Record):
    """One run. ``seconds``: what it took of its ``minutes``; ``trained_seconds``: of them, steps of training."""

    model: str
    minutes: float
    calibration: str
    evaluation: str
    block_steps: int
    distill_steps: int
    trained_seconds: float
    seconds: float
    perplexity: dict[str, float]  # keys: "fp_a8", "a8" and the others of the manifest
    host_bytes: int
    machine: str


class _Rows(Record):
    rows: list[MinutesRow]


def minutes_row(manifest: Manifest, cost: RunCost | None, machine: str) -> MinutesRow:
    """The row of a finished run.

    Raises:
        InputError: a run whose cost does not say how long it trained.
    """
    if cost is None or cost.trained_seconds is None or cost.finished_blocks:
        raise InputError(
            "the folder to add must hold the cost.json of one uninterrupted run, since its table is of minutes; make "
            "the run again"
        )
    return MinutesRow(
        model=manifest.model,
        minutes=manifest.budget["minutes"],
        calibration=manifest.calibration,
        evaluation=manifest.evaluation,
        block_steps=int(manifest.options["block_steps"]),
        distill_steps=int(manifest.options["distill_steps"]),
        trained_seconds=cost.trained_seconds,
        seconds=cost.seconds,
        perplexity=manifest.perplexity,
        host_bytes=cost.host_bytes,
        machine=machine,
    )


def read_minutes_rows(path: Path) -> list[MinutesRow]:
    """The committed rows; none where there is no file.

    Raises:
        InputError: a damaged file.
    """
    return load_json(path, _Rows).rows if Path(path).is_file() else []


def add_minutes_row(path: Path, row: MinutesRow) -> None:
    """Append a row, or replace the one of the same model, minutes and texts."""

    def identity(one: MinutesRow) -> tuple:
        return one.model, one.minutes, one.calibration, one.evaluation

    rows = [one for one in read_minutes_rows(path) if identity(one) != identity(row)]
    write_text(path, json.dumps(_Rows(rows=[*rows, row]).model_dump(), indent=1) + "\n")


def minutes_markdown(rows: list[MinutesRow]) -> str:
    """A row per run, the fewest minutes first."""
    if not rows:
        return "No run of so many minutes is kept yet; `tritforge results --add RUN` keeps one."
    header = ("model", "minutes given", "trained for", "whole job", "steps per block / of the model", "calibrated on")
    header += ("ppl A8 before", "after", "x FP", "host peak", "machine")
    return markdown_table(header, [_cells(row) for row in sorted(rows, key=lambda row: (row.model, row.minutes))])


def _cells(row: MinutesRow) -> tuple[str, ...]:
    before, after = row.perplexity["fp_a8"], row.perplexity["a8"]
    collapsed = " (not to be used)" if collapse(row.perplexity) else ""
    return (
        row.model,
        f"{row.minutes:g}",
        f"{row.trained_seconds / 60:.1f} min",
        f"{row.seconds / 60:.1f} min",
        f"{row.block_steps} / {row.distill_steps}",
        row.calibration,
        f"{before:.2f}",
        f"{after:.2f}",
        f"{after / before:.2f}{collapsed}",
        f"{row.host_bytes / 2**30:.1f} GiB",
        row.machine,
    )
