"""``tritforge export``: a finished run for other runtimes."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import check_results_file
from hw.document import validate_document
from hw.fields import add_fields, given_fields
from hw.progress import stage_bars
from quant.exports.agreement_table import (
    AGREEMENT_FILE,
    Agreements,
    add_agreement,
    agreement_markdown,
    read_agreements,
)
from quant.exports.job import FORMATS, ExportJob
from quant.text import evaluation_text

__all__ = ["add_check_export", "add_export"]


def add_export(parser: ArgumentParser) -> None:
    """Options of ``export``."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=ExportJob.model_fields["checkpoint"].description)
    add_fields(parser, ExportJob, leave_out=["checkpoint"])
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.set_defaults(run=_export)


def _export(options: Namespace) -> None:
    from quant.exports.export import export  # imports torch

    (fields,) = given_fields(options, ExportJob)
    done = export(validate_document(fields, ExportJob, "options"))
    if options.json:
        print(done.model_dump_json(indent=1))
        return
    print(done.accuracy)
    print(f"wrote {done.folder}/: {done.file}, {done.file_bytes / 1e6:.1f} MB")
    linears = f"{done.linear_bytes / 1e6:.1f} MB"
    print(f"decoder linears in it: {linears}; in the run's own packed file {done.true_bits:.3f} bits per weight")


def add_check_export(parser: ArgumentParser) -> None:
    """Options of ``check-export``."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of a finished run")
    parser.add_argument("--format", choices=FORMATS, required=True, help="what to export it as")
    parser.add_argument("--model", help="the model that was quantized; by default where the run found it")
    parser.add_argument("--text", type=Path, metavar="FILE", help="text of the prompts; by default the stdlib's topics")
    parser.add_argument("--add", action="store_true", help=f"add the row to {AGREEMENT_FILE}")
    parser.add_argument("--json", action="store_true", help="print the row as JSON instead of a table")
    parser.set_defaults(run=_check_export)


def _check_export(options: Namespace) -> None:
    from quant.exports.agreement import measure_agreement  # imports torch

    text = evaluation_text(options.text)
    if options.add:
        check_results_file(AGREEMENT_FILE, read_agreements)  # refused before anything is measured
    with stage_bars() as report:
        row = measure_agreement(options.checkpoint, options.format, options.model, text, report)
    if options.add:
        add_agreement(AGREEMENT_FILE, row)
    print(row.model_dump_json(indent=1) if options.json else agreement_markdown(Agreements(rows=[row])))
