"""Rows of a study as CSV and Parquet: columns are axes, reason, front, all figures, hash of the inputs."""

import csv
from collections.abc import Iterator
from pathlib import Path

from energy.study.document import Study
from energy.study.points import StudyPoint
from energy.study.result import StudyResult
from hw.artifact import atomic_path
from hw.errors import InputError

__all__ = ["has_parquet", "write_csv", "write_parquet"]

_BATCH = 8192  # rows of Parquet that are in memory as columns at once


def write_csv(path: Path, result: StudyResult) -> None:
    """Write one line per point under a line of column names; what a row lacks is empty."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _columns(result))
        writer.writeheader()
        writer.writerows(map(_row, result.points))


def has_parquet() -> bool:
    """True where pyarrow is installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return False
    return True


def write_parquet(path: Path, result: StudyResult) -> None:
    """Write the same columns typed: figures as float64, axes as what they hold, or text where they hold several kinds.

    Raises:
        InputError: pyarrow is missing.
    """
    if not has_parquet():
        raise InputError("pyarrow is missing; install the studies extra: pip install 'tritforge[studies]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    axes = {name: _kind(result.study, name) for name in result.study.columns}
    arrow = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    fields = [pa.field(name, arrow[axes[name]]) for name in axes]
    fields += [pa.field("feasible", pa.bool_()), pa.field("reason", pa.string()), pa.field("pareto", pa.bool_())]
    fields += [pa.field(name, pa.float64()) for name in result.study.figures]
    schema = pa.schema([*fields, pa.field("inputs_sha256", pa.string())])
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for rows in _batches(result):
            for row in rows:
                row.update({name: None if row[name] is None else kind(row[name]) for name, kind in axes.items()})
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _batches(result: StudyResult) -> Iterator[list[dict[str, object]]]:
    for start in range(0, len(result.points), _BATCH):
        yield [_row(point) for point in result.points[start : start + _BATCH]]


def _columns(result: StudyResult) -> list[str]:
    return [*result.study.columns, "feasible", "reason", "pareto", *result.study.figures, "inputs_sha256"]


def _row(point: StudyPoint) -> dict[str, object]:
    return {
        **point.values,
        "feasible": point.feasible,
        "reason": point.reason,
        "pareto": point.pareto,
        **point.metrics,
        "inputs_sha256": point.sha256,
    }


def _kind(study: Study, name: str) -> type:
    """The type that holds every value of an axis."""
    values = next(group[name] for group in (study.axes, *study.zip) if name in group)
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int, float}:
        return float
    return kinds.pop() if len(kinds) == 1 else str
