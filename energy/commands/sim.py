"""``tritforge sim``: a model on a ternary array and its baselines, with energies; the main job."""

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from energy.commands.show import BUILD, show
from energy.findings import find
from energy.job import Job, Rivals, simulate_machines
from energy.reports.files import write_job
from energy.reports.screen import print_summary
from energy.weights import measure_weights
from hw.artifact import file_name
from hw.document import validate_document
from hw.fields import add_fields, add_job_file, given_fields, options_of, options_origin
from hw.progress import stage_bars
from quant.job import QuantJob
from quant.registry import check_method
from quant.source import resolve
from sim.execution import Execution

__all__ = ["add_sim"]

_ASK_FOR_DIGITS = {"attention", "key_digits", "value_digits", "rotate"}


def add_sim(parser: ArgumentParser) -> None:
    """Options of ``sim``."""
    add_job_file(parser, "the job and of its quantization")
    add_fields(parser, Job, "model and machine", leave_out=Execution.model_fields)
    add_fields(parser, Execution, "how the machine runs it")
    add_fields(parser, Rivals, "what it is compared with")
    add_fields(parser, QuantJob, "quantization of a model with weights", leave_out=["model"])
    parser.add_argument(
        "--shapes-only",
        action="store_true",
        help="do not quantize, even if the model has weights, nor K and V unless --attention array says so",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the results (default: build/sim/MODEL-ARRAY)"
    )
    parser.add_argument("--json", action="store_true", help="print energy.json instead of tables")
    parser.set_defaults(run=_sim)


def _sim(options: Namespace) -> None:
    fields, rival_fields, quant_fields = given_fields(options, Job, Rivals, QuantJob)
    if options.shapes_only and not fields.keys() & _ASK_FOR_DIGITS:
        fields |= {"attention": "vector"}
    rivals = validate_document(rival_fields, Rivals, options_origin(options))
    job = validate_document(fields, Job, options_origin(options))
    quant_job = validate_document(quant_fields | {"model": job.model}, QuantJob, options_origin(options))
    check_method(quant_job.method)
    source = resolve(job.model)
    measured = None
    if source.has_weights and not options.shapes_only:
        with stage_bars() as report:
            measured = measure_weights(job.load_array(), quant_job, report)
    summary, results = simulate_machines(job, source.shape, measured, rivals)
    words = _words(job, rivals, quant_job if measured else None, options.shapes_only)
    findings = find(job, source.shape, measured, rivals, summary, results, words)
    folder = options.out or BUILD / "sim" / file_name(f"{source.name}-{results[0].machine.replace(' ', '')}")
    repeat = ["tritforge", "sim", *words, *options_of(Rivals(hold=rivals.hold))]
    paths = write_job(folder, summary, results, findings, repeat)
    show(options, paths["energy"], partial(print_summary, summary), [path.name for path in paths.values()])


def _words(job: Job, rivals: Rivals, quant_job: QuantJob | None, shapes_only: bool) -> list[str]:
    """Options that say the same job again, but for what is held equal."""
    words = ["--model", job.model, *options_of(job, ["model"]), *options_of(rivals, ["hold"])]
    words += ["--shapes-only"] if shapes_only else []
    return [*words, *(options_of(quant_job, ["model"]) if quant_job else [])]
