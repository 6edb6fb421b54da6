"""``tritforge rewrite``: other weights with the same function, rotated or balanced, to be quantized."""

from argparse import ArgumentParser, Namespace

from hw.document import validate_document
from hw.fields import add_fields, given_fields
from hw.progress import stage_bars
from quant.rewrite.job import RewriteJob
from quant.rewrite.online_rotation import online_adds

__all__ = ["add_rewrite"]


def add_rewrite(parser: ArgumentParser) -> None:
    """Options of ``rewrite``."""
    parser.add_argument("model", metavar="MODEL", help=RewriteJob.model_fields["model"].description)
    add_fields(parser, RewriteJob, leave_out=["model"])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of lines")
    parser.set_defaults(run=_rewrite)


def _rewrite(options: Namespace) -> None:
    from quant.rewrite.rewrite import rewrite  # imports torch

    (fields,) = given_fields(options, RewriteJob)
    with stage_bars() as report:
        done = rewrite(validate_document(fields, RewriteJob, "options"), report)
    if options.json:
        print(done.model_dump_json(indent=1))
        return
    adds, theirs = online_adds(done.shape)
    size = f"{done.file_bytes / 1e6:.0f} MB of {done.dtype}"
    print(f"the same function: logits differ by {done.logits_differ:.1e} of their norm")
    print(f"kurtosis of the weights: {done.kurtosis_before:.2f} before, {done.kurtosis_after:.2f} after (Gaussian: 3)")
    print(
        f"rotating the inputs of o and down too, at run time, would take {adds / 1e6:.2f} M adds per token beside "
        f"the {theirs / 1e6:.1f} M of o and down ({adds / theirs:.2%}); the array has no such adders"
    )
    print(f"wrote {done.folder}/: {size}; next: make quant MODEL={done.folder}")
