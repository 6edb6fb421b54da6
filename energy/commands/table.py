"""``tritforge table``: what a command left on disk as one table, for pandas, polars, DuckDB or a spreadsheet."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
from rich.table import Table

from energy.frames.files import check_table_path, write_rows
from energy.frames.rows import KINDS, read_rows
from hw.pages import screen

__all__ = ["add_table"]

_SHOWN = 12  # rows on the screen


def add_table(parser: ArgumentParser) -> None:
    """Options of ``table``."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="folder that sim, whatif or quant wrote, or sim.json, energy.json, study.json or recording.json",
    )
    parser.add_argument(
        "--rows",
        choices=KINDS,
        help="one per kind of op, per phase with its energies, per point of a study, or per token and recorded input "
        "(default: what the source holds, ops of a job)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write: .parquet, .arrow or .csv")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.set_defaults(run=_table)


def _table(options: Namespace) -> None:
    if options.out:
        check_table_path(options.out)
    rows = read_rows(options.source, options.rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if options.out:
        write_rows(options.out, rows)
    if options.json:
        print(json.dumps(rows, default=np.ndarray.tolist))
        return
    if options.out:
        written = f"wrote {options.out}: {len(rows)} rows, {len(columns)} columns"
        screen().print(written, style="green", highlight=False, soft_wrap=True)
        return
    shown = Table(title=f"{len(rows)} rows of {len(columns)} columns, --out FILE.parquet writes them", box=None)
    for name in columns[:_SHOWN]:
        shown.add_column(name)
    for row in rows[:_SHOWN]:
        shown.add_row(*(_cell(row.get(name)) for name in columns[:_SHOWN]))
    screen().print(shown)


def _cell(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} ({value.size})"
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
