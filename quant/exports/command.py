"""``tritforge export``: a finished run for other runtimes."""

from argparse import ArgumentParser, Namespace

from hw.document import validate_document
from hw.fields import add_fields, given_fields
from quant.exports.job import ExportJob

__all__ = ["add_export"]


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
