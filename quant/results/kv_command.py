"""``tritforge kv``: perplexity of a model over formats of K and V, its own weights' and finished runs'."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import check_results_file
from hw.document import validate_document
from hw.fields import add_fields, given_fields
from hw.progress import stage_bars
from quant.results.kv_job import KvJob
from quant.results.kv_table import KV_FILE, KvResults, add_kv_row, kv_markdown, read_kv_results

__all__ = ["add_kv"]


def add_kv(parser: ArgumentParser) -> None:
    """Options of ``kv``."""
    parser.add_argument("model", metavar="MODEL", help=KvJob.model_fields["model"].description)
    add_fields(parser, KvJob, leave_out=["model"])
    parser.add_argument(
        "--add", type=Path, nargs="?", const=KV_FILE, metavar="FILE",
        help=f"add each row to a results file as soon as it is measured (without FILE: {KV_FILE})",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of a table")
    parser.set_defaults(run=_kv)


def _kv(options: Namespace) -> None:
    (fields,) = given_fields(options, KvJob)
    job = validate_document(fields, KvJob, "options")
    if options.add is not None:
        check_results_file(options.add, read_kv_results)  # refused before anything is measured
    from quant.results.kv_measure import measure_kv  # imports torch

    rows = []
    with stage_bars() as progress:
        for row in measure_kv(job, progress):
            rows.append(row)
            if options.add is not None:
                add_kv_row(options.add, row)
    if options.json:
        print(json.dumps([row.model_dump(mode="json") for row in rows], indent=1))
    else:
        print(kv_markdown(KvResults(rows=tuple(rows))))
