"""Committed pairs of runs, one on a single GPU and one shared by several: equal bits, and how much sooner."""

import json
from pathlib import Path

from hw.artifact import write_text
from hw.document import Record, load_json
from hw.errors import InputError
from hw.pages import markdown_table
from quant.manifest import read_manifest
from quant.procedures.cost import RunCost, read_cost

__all__ = ["SHARED_FILE", "SharedRow", "add_shared_row", "read_shared_rows", "shared_markdown", "shared_row"]

SHARED_FILE = Path("docs") / "results" / "shared.json"
_OPTIONS = ("epochs", "distilled", "distill_steps", "generated_windows")  # that say how long a job is


class SharedRow(Record):
    """Two runs of one job. Seconds and bytes: of one GPU, then of the first of several."""

    model: str
    blocks: int
    method: str
    options: dict[str, float | int | str | bool]
    calibration: str
    devices: int
    equal: bool  # trits and scales, bit for bit
    quantize_seconds: tuple[float, float]
    seconds: tuple[float, float]
    device_bytes: tuple[int, int]
    machine: str


class _Rows(Record):
    rows: list[SharedRow]


def shared_row(alone: Path, shared: Path, devices: int, machine: str) -> SharedRow:
    """The row of two finished runs, each a folder with manifest.json and cost.json.

    Raises:
        InputError: runs that are not of one job, or that do not say what they took.
    """
    one, other = (read_manifest(folder / "manifest.json") for folder in (alone, shared))
    for name in ("source_sha256", "method", "options", "calibration"):
        if getattr(one, name) != getattr(other, name):
            raise InputError(
                f"{shared}: {name} must be {getattr(one, name)!r}, as in {alone}, not {getattr(other, name)!r}"
            )
    costs = _cost(alone), _cost(shared)
    return SharedRow(
        model=one.model,
        blocks=one.shape.layers,
        method=one.method,
        options={name: one.options[name] for name in _OPTIONS if name in one.options},
        calibration=one.calibration,
        devices=devices,
        equal=one.weights_sha256 == other.weights_sha256,
        quantize_seconds=tuple(cost.quantize_seconds for cost in costs),
        seconds=tuple(cost.seconds for cost in costs),
        device_bytes=tuple(cost.device_bytes for cost in costs),
        machine=machine,
    )


def read_shared_rows(path: Path) -> list[SharedRow]:
    """The committed rows; none where there is no file.

    Raises:
        InputError: a damaged file.
    """
    return load_json(path, _Rows).rows if Path(path).is_file() else []


def add_shared_row(path: Path, row: SharedRow) -> None:
    """Append a row, or replace the one of the same job and devices."""

    def identity(one: SharedRow) -> tuple:
        return one.model, one.blocks, one.method, one.options, one.calibration, one.devices

    rows = [one for one in read_shared_rows(path) if identity(one) != identity(row)]
    write_text(path, json.dumps(_Rows(rows=[*rows, row]).model_dump(), indent=1) + "\n")


def shared_markdown(rows: list[SharedRow]) -> str:
    """A row per pair."""
    if not rows:
        return "No pair is kept yet; `tritforge results --add RUN --beside RUN --devices cuda:0,cuda:1` keeps one."
    header = ("model", "method", "options", "calibrated on", "GPUs", "bits", "quantizing on one", "on all", "sooner")
    return markdown_table((*header, "peak of one GPU", "of each", "machine"), [_cells(row) for row in rows])


def _cells(row: SharedRow) -> tuple[str, ...]:
    alone, shared = row.quantize_seconds
    return (
        f"{row.model}, {row.blocks} blocks",
        f"`{row.method}`",
        ", ".join(f"{name} {value}" for name, value in row.options.items()) or "defaults",
        row.calibration,
        str(row.devices),
        "equal" if row.equal else "DIFFERENT",
        f"{alone:.1f} s",
        f"{shared:.1f} s",
        f"{alone / shared:.2f} x",
        *(f"{value / 1e9:.1f} GB" for value in row.device_bytes),
        row.machine,
    )


def _cost(folder: Path) -> RunCost:
    cost = read_cost(folder)
    if cost is None or cost.finished_blocks:
        raise InputError(f"{folder}: must hold the cost.json of an uninterrupted run")
    return cost
