"""``tritforge sim``: a model on a ternary array and its baselines, with energies; the main job."""

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from rich.console import Console

from energy.commands.show import BUILD, show
from energy.findings import Findings, find
from energy.job import Job, Rivals, simulate_machines
from energy.reports.files import write_job
from energy.reports.screen import print_sobol, print_summary
from energy.sobol import check_samples, sobol_indices
from energy.summary import JobSummary
from energy.weights import Measured, measure_weights
from hw.artifact import file_name
from hw.document import validate_document
from hw.fields import add_fields, add_job_file, given_fields, options_of, options_origin
from hw.progress import stage_bars
from quant.job import QuantJob
from quant.registry import check_method
from quant.shapes import ModelShape
from quant.source import resolve
from sim.execution import Execution
from sim.workload.job import WorkloadJob, refuse_beside_workload
from sim.workload.products import Workload

__all__ = ["add_sim"]

_ASK_FOR_DIGITS = {"attention", "key_digits", "value_digits", "rotate"}


def add_sim(parser: ArgumentParser) -> None:
    """Options of ``sim``."""
    add_job_file(parser, "the job and of its quantization")
    add_fields(parser, Job, "model and machine", leave_out=Execution.model_fields)
    add_fields(parser, Execution, "how the machine runs it")
    add_fields(parser, Rivals, "what it is compared with")
    add_fields(parser, WorkloadJob, "products instead of a model")
    add_fields(parser, QuantJob, "quantization of a model with weights", leave_out=["model"])
    parser.add_argument(
        "--shapes-only",
        action="store_true",
        help="do not quantize, even if the model has weights, nor K and V unless --attention array says so",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the results (default: build/sim/MODEL-ARRAY)"
    )
    parser.add_argument(
        "--sobol",
        type=int,
        metavar="N",
        help="also Sobol indices of energy and savings over the ranges of costs, from N x (parts + 2) samples; a power "
        "of 2 such as 1024",
    )
    parser.add_argument("--json", action="store_true", help="print energy.json instead of tables")
    parser.set_defaults(run=_sim)


def _sim(options: Namespace) -> None:
    fields, rival_fields, workload_fields, quant_fields = given_fields(options, Job, Rivals, WorkloadJob, QuantJob)
    rivals = validate_document(rival_fields, Rivals, options_origin(options))
    if options.sobol is not None:
        check_samples(options.sobol)
    listed = validate_document(workload_fields, WorkloadJob, options_origin(options))
    workload = listed.load()
    if workload is not None:
        refuse_beside_workload(fields, quant_fields | ({"shapes_only": True} if options.shapes_only else {}))
        job = validate_document(fields, Job, options_origin(options))
        words = [*options_of(listed), *options_of(job), *options_of(rivals, ["hold"])]
        _simulate(options, job, workload, None, rivals, words)
        return
    if options.shapes_only and not fields.keys() & _ASK_FOR_DIGITS:
        fields |= {"attention": "vector"}
    job = validate_document(fields, Job, options_origin(options))
    quant_job = validate_document(quant_fields | {"model": job.model}, QuantJob, options_origin(options))
    check_method(quant_job.method)
    source = resolve(job.model)
    measured = None
    if source.has_weights and not options.shapes_only:
        with stage_bars() as report:
            measured = measure_weights(job.load_array(), quant_job, report)
    words = _words(job, rivals, quant_job if measured else None, options.shapes_only)
    _simulate(options, job, source.shape, measured, rivals, words, source.name)


def _simulate(
    options: Namespace,
    job: Job,
    shape: ModelShape | Workload,
    measured: Measured | None,
    rivals: Rivals,
    words: list[str],
    name: str | None = None,
) -> None:
    """Simulate, explain, write and print; ``words``: options that say the same job again, ``name``: of its folder."""
    summary, results = simulate_machines(job, shape, measured, rivals)
    findings = find(job, shape, measured, rivals, summary, results, words)
    if options.sobol is not None:
        findings = findings._replace(sobol=sobol_indices(summary, options.sobol))
    folder = options.out or BUILD / "sim" / file_name(f"{name or shape.name}-{results[0].machine.replace(' ', '')}")
    repeat = ["tritforge", "sim", *words, *options_of(Rivals(hold=rivals.hold))]
    paths = write_job(folder, summary, results, findings, repeat)
    show(options, paths["energy"], partial(_print, summary, findings), [path.name for path in paths.values()])


def _print(summary: JobSummary, findings: Findings, console: Console) -> None:
    print_summary(summary, console)
    print_sobol(findings.sobol, console)


def _words(job: Job, rivals: Rivals, quant_job: QuantJob | None, shapes_only: bool) -> list[str]:
    """Options that say the same job again, but for what is held equal."""
    words = ["--model", job.model, *options_of(job, ["model"]), *options_of(rivals, ["hold"])]
    words += ["--shapes-only"] if shapes_only else []
    return [*words, *(options_of(quant_job, ["model"]) if quant_job else [])]
