"""Rows as a file: Parquet or Arrow with their types, or CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hw.artifact import atomic_path
from hw.errors import InputError

__all__ = ["SUFFIXES", "check_table_path", "write_rows"]

SUFFIXES = (".parquet", ".arrow", ".csv")


def check_table_path(path: Path) -> None:
    """Refuse what ``write_rows`` would, before the work.

    Raises:
        InputError: another suffix, or pyarrow is missing.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"out must end in {', '.join(SUFFIXES)}, not {str(path)!r}")
    if path.suffix != ".csv":
        _pyarrow()


def write_rows(path: Path, rows: Sequence[dict]) -> None:
    """Write rows in the format that the suffix names; columns are those of all rows, in the order of their coming.

    In Parquet and Arrow (an IPC file, which memory-maps) integers stay int64, other figures float64, names text, and
    arrays lists of their own type; what a row lacks is null, and empty in CSV.

    Raises:
        InputError: another suffix, pyarrow is missing, or arrays, which CSV cannot hold.
    """
    check_table_path(path)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".csv":
        if arrays := [name for name in columns if any(isinstance(row.get(name), np.ndarray) for row in rows)]:
            raise InputError(
                f"out must end in .parquet or .arrow, not .csv, which cannot hold the arrays of {arrays[0]!r}"
            )
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        return
    pa = _pyarrow()
    table = pa.table({name: _column(pa, [row.get(name) for row in rows]) for name in columns})
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(table, temporary)
        else:
            with pa.ipc.new_file(str(temporary), table.schema) as writer:
                writer.write_table(table)


def _column(pa, values: list):
    """A typed column: int64 where all are integers, float64 where any is a fraction, text where kinds are mixed."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {np.ndarray}:
        element = pa.from_numpy_dtype(next(value.dtype for value in values if value is not None))
        return pa.array(values, pa.list_(element))
    if kinds == {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if len(kinds) > 1:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array(values)


def _pyarrow():
    try:
        import pyarrow
    except ImportError:
        raise InputError(
            "pyarrow is missing; install the studies extra: pip install 'tritforge[studies]', or let out end in .csv"
        ) from None
    return pyarrow
