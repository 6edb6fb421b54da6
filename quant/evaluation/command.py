"""``tritforge evaluate``: a model or a finished run on tasks and texts, as results are published."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import check_results_file
from hw.document import validate_document
from hw.fields import add_fields, given_fields
from hw.pages import screen
from hw.progress import stage_bars
from quant.evaluation.job import EvaluateJob
from quant.evaluation.rows import FLOAT_WEIGHTS, add_rows, read_rows, rows_table

__all__ = ["add_evaluate"]


def add_evaluate(parser: ArgumentParser) -> None:
    """Options of ``evaluate``."""
    parser.add_argument("source", metavar="SOURCE", help=EvaluateJob.model_fields["source"].description)
    add_fields(parser, EvaluateJob, leave_out=["source"])
    parser.add_argument(
        "--add", type=Path, metavar="FILE", help="add each row to a file of rows as soon as it is measured"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of a table")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: Namespace) -> None:
    (fields,) = given_fields(options, EvaluateJob)
    job = validate_document(fields, EvaluateJob, "options")
    from quant.evaluation.measure import evaluate  # imports torch

    if options.add is not None:
        check_results_file(options.add, read_rows)  # refused before anything is measured
    rows = []
    with stage_bars() as progress:
        for row in evaluate(job, progress):
            rows.append(row)
            if options.add is not None:
                add_rows(options.add, [row])
    if options.json:
        print(json.dumps([row.model_dump(mode="json") for row in rows], indent=1))
        return
    first = rows[0]
    weights = "its own weights" if first.weights == FLOAT_WEIGHTS else first.weights
    screen().print(rows_table(rows, f"{first.model}, {weights}, {first.activations} activations"))
