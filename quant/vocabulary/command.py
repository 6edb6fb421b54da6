"""``tritforge vocabulary``: embedding and head in ternary digits, or of fewer entries, trained, stored and measured."""

import json
import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from hw.artifact import check_results_file
from hw.document import validate_document
from hw.errors import InputError
from hw.fields import add_fields, given_fields
from hw.progress import stage_bars
from quant.vocabulary.cut.results import CUT_FILE, CutResults, add_cut_row, cut_markdown, read_cut_results
from quant.vocabulary.job import CutJob, TableJob
from quant.vocabulary.results import TABLES_FILE, TableResults, add_table_row, read_table_results, tables_markdown

__all__ = ["add_vocabulary"]

_CUT_ALONE = tuple(name for name in CutJob.model_fields if name not in TableJob.model_fields)
_DIGITS_ALONE = tuple(name for name in TableJob.model_fields if name not in CutJob.model_fields)
_OWN_FILE = Path()  # of --add without FILE


def add_vocabulary(parser: ArgumentParser) -> None:
    """Options of ``vocabulary``."""
    parser.add_argument("model", metavar="MODEL", help=TableJob.model_fields["model"].description)
    add_fields(parser, TableJob, "tables in ternary digits, and training", leave_out=["model"])
    shared = [name for name in CutJob.model_fields if name not in _CUT_ALONE]
    add_fields(parser, CutJob, "a cut vocabulary, with the same training", leave_out=shared)
    parser.add_argument(
        "--add", type=Path, nargs="?", const=_OWN_FILE, metavar="FILE",
        help=f"add the row to a results file (without FILE: {TABLES_FILE}, of a cut {CUT_FILE})",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="log losses of steps to stderr")
    parser.add_argument("--json", action="store_true", help="print the row as JSON instead of a table")
    parser.set_defaults(run=_vocabulary)


def _vocabulary(options: Namespace) -> None:
    digits, cut = given_fields(options, TableJob, CutJob)
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if not cut.keys() & set(_CUT_ALONE):
        _digits(options, validate_document(digits, TableJob, "options"))
        return
    for name in _DIGITS_ALONE:
        if name in digits:
            raise InputError(
                f"--{name} is of tables in digits, not of a cut vocabulary (--entries); cut first, then give the new "
                "folder as MODEL"
            )
    _cut(options, validate_document(cut, CutJob, "options"))


def _digits(options: Namespace, job: TableJob) -> None:
    add = _results_file(options.add, TABLES_FILE, read_table_results)
    from quant.vocabulary.train import make_tables  # imports torch

    with stage_bars() as progress:
        row, folder = make_tables(job, progress)
    if add is not None:
        add_table_row(add, row)
    if options.json:
        print(json.dumps(row.model_dump(mode="json"), indent=1))
    else:
        print(tables_markdown(TableResults(rows=(row,))))
        print(f"wrote {folder}/: tables.safetensors, training.json")


def _cut(options: Namespace, job: CutJob) -> None:
    add = _results_file(options.add, CUT_FILE, read_cut_results)
    from quant.vocabulary.cut.cut import cut_vocabulary  # imports torch

    with stage_bars() as progress:
        row = cut_vocabulary(job, progress)
    if add is not None:
        add_cut_row(add, row)
    if options.json:
        print(json.dumps(row.model_dump(mode="json"), indent=1))
    else:
        print(cut_markdown(CutResults(rows=(row,))))
        print(f"wrote {job.out}/: a Hugging Face directory; give it as MODEL to any command")


def _results_file(asked: Path | None, own: Path, read: Callable[[Path], object]) -> Path | None:
    """Where ``--add`` adds, refused before anything is trained."""
    add = own if asked == _OWN_FILE else asked
    if add is not None:
        check_results_file(add, read)
    return add
