"""``tritforge compare``: methods of quantization side by side: accuracy, bits, energy, latency."""

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from energy.commands.show import BUILD, show
from energy.compare import compare_manifests, compare_methods, comparison_inputs, write_comparison
from energy.job import Job
from energy.reports.comparison import print_comparison
from energy.reports.pages.document import provenance
from energy.reports.pages.methods import comparison_html
from hw.artifact import write_text
from hw.document import validate_document
from hw.fields import add_fields, add_job_file, given_fields, options_of, options_origin
from hw.progress import stage_bars
from quant.job import QuantJob
from quant.registry import method_names
from sim.execution import Execution

__all__ = ["add_compare"]


def add_compare(parser: ArgumentParser) -> None:
    """Options of ``compare``."""
    parser.add_argument(
        "--methods", default="rtn,pt-bitnet", help="methods, separated by commas, or all (default: rtn,pt-bitnet)"
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        action="append",
        metavar="FILE",
        help="manifest.json of a finished run, made here or elsewhere, instead of --methods; repeat for more",
    )
    add_job_file(parser, "the job and of its quantization")
    add_fields(parser, Job, "model and machine", leave_out=Execution.model_fields)
    add_fields(parser, Execution, "how the machine runs it")
    add_fields(parser, QuantJob, "quantization", leave_out=["model", "method"])
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the results (default: build/compare/MODEL)"
    )
    parser.add_argument("--json", action="store_true", help="print comparison.json instead of a table")
    parser.set_defaults(run=_compare)


def _compare(options: Namespace) -> None:
    origin = options_origin(options)
    fields, quant_fields = given_fields(options, Job, QuantJob)
    job = validate_document(fields, Job, origin)
    methods = method_names() if options.methods == "all" else options.methods.split(",")
    quant_fields |= {"model": job.model}
    jobs = [validate_document(quant_fields | {"method": method}, QuantJob, origin) for method in methods]
    if manifests := options.manifest:
        comparison = compare_manifests(job, manifests)
    else:
        with stage_bars() as report:
            comparison, manifests = compare_methods(job, jobs, report)
    folder = options.out or BUILD / "compare" / comparison.model
    write_comparison(folder / "comparison.json", comparison, manifests)
    repeat = ["tritforge", "compare", "--model", job.model, *_words(job, jobs[0], methods, options.manifest or [])]
    made = provenance(repeat, comparison_inputs(manifests))
    write_text(folder / "report.html", comparison_html(comparison, made))
    names = ["comparison.json", "report.html"]
    show(options, folder / "comparison.json", partial(print_comparison, comparison), names)


def _words(job: Job, quant_job: QuantJob, methods: list[str], manifests: list[Path]) -> list[str]:
    """Options that say the same comparison again."""
    words = options_of(job, ["model"])
    if manifests:
        return [*words, *(word for path in manifests for word in ("--manifest", str(path)))]
    return ["--methods", ",".join(methods), *words, *options_of(quant_job, ["model", "method"])]
