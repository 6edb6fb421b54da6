"""``tritforge vocabulary``: embedding and head in ternary digits, trained, stored and measured by themselves."""

import json
import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import check_file
from hw.document import validate_document
from hw.fields import add_fields, given_fields
from hw.progress import stage_bars
from quant.vocabulary.job import TableJob
from quant.vocabulary.results import TABLES_FILE, TableResults, add_table_row, read_table_results, tables_markdown

__all__ = ["add_vocabulary"]


def add_vocabulary(parser: ArgumentParser) -> None:
    """Options of ``vocabulary``."""
    parser.add_argument("model", metavar="MODEL", help=TableJob.model_fields["model"].description)
    add_fields(parser, TableJob, leave_out=["model"])
    parser.add_argument(
        "--add", type=Path, nargs="?", const=TABLES_FILE, metavar="FILE",
        help=f"add the row to a results file (without FILE: {TABLES_FILE})",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="log losses of steps to stderr")
    parser.add_argument("--json", action="store_true", help="print the row as JSON instead of a table")
    parser.set_defaults(run=_vocabulary)


def _vocabulary(options: Namespace) -> None:
    (fields,) = given_fields(options, TableJob)
    job = validate_document(fields, TableJob, "options")
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.add is not None:
        check_file(options.add)
        if options.add.is_file():
            read_table_results(options.add)  # refused before anything is trained
    from quant.vocabulary.train import make_tables  # imports torch

    with stage_bars() as progress:
        row, folder = make_tables(job, progress)
    if options.add is not None:
        add_table_row(options.add, row)
    if options.json:
        print(json.dumps(row.model_dump(mode="json"), indent=1))
    else:
        print(tables_markdown(TableResults(rows=(row,))))
        print(f"wrote {folder}/: tables.safetensors, training.json")
