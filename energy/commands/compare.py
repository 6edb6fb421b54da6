"""``tritforge compare``: methods of quantization side by side, or two designs term by term."""

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from energy.commands.show import BUILD, show
from energy.compare import compare_manifests, compare_methods, comparison_inputs, write_comparison
from energy.designs import load_design
from energy.difference import difference_of, write_difference
from energy.job import Job
from energy.reports.comparison import print_comparison
from energy.reports.difference import print_difference
from energy.reports.pages.difference import difference_html, waterfall_of
from energy.reports.pages.document import provenance, standalone
from energy.reports.pages.methods import comparison_html
from energy.reports.scaling.figures import draw_scaling
from energy.reports.scaling.table import print_scaling
from energy.scaling.job import ScalingJob, method_choices
from energy.scaling.points import ScalingPoint, read_points, write_points
from energy.scaling.sweep import points_of_manifests, sweep
from hw.artifact import file_name, sha256_json, write_text
from hw.document import validate_document
from hw.errors import InputError
from hw.fields import add_fields, add_job_file, given_fields, options_of, options_origin
from hw.progress import stage_bars
from quant.job import QuantJob
from quant.registry import method_names
from sim.execution import Execution
from sim.workload.job import WorkloadJob

__all__ = ["add_compare"]

_METHODS = "rtn,pt-bitnet"


def add_compare(parser: ArgumentParser) -> None:
    """Options of ``compare``."""
    parser.add_argument(
        "designs",
        nargs="*",
        metavar="DESIGN",
        help="two designs instead of methods, whose difference is explained term by term: arrays by name or file, "
        "job files, folders of finished runs, or their sim-*.json",
    )
    parser.add_argument(
        "--methods",
        help="methods, separated by commas, each with options of its own after colons (digits:digits=2), or all "
        "(default: rtn,pt-bitnet)",
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
    add_fields(parser, WorkloadJob, "products instead of a model, on two designs")
    add_fields(parser, QuantJob, "quantization", leave_out=["model", "method"])
    add_fields(parser, ScalingJob, "a sweep over models, methods and tasks", leave_out=["prose"])
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the results (default: build/compare/MODEL)"
    )
    parser.add_argument("--json", action="store_true", help="print comparison.json instead of a table")
    parser.set_defaults(run=_compare)


def _compare(options: Namespace) -> None:
    if options.designs:
        _compare_designs(options)
    elif getattr(options, "models", None) or getattr(options, "points", None):
        _compare_sizes(options)
    else:
        _compare_methods(options)


def _compare_designs(options: Namespace) -> None:
    if len(options.designs) != 2:
        raise InputError(f"designs must be two, not {len(options.designs)}: {', '.join(options.designs)}")
    fields, quant_fields, listed = given_fields(options, Job, QuantJob, WorkloadJob)
    spare = [name for name in quant_fields if name not in Job.model_fields]
    spare += [name for name in ("methods", "manifest") if getattr(options, name)]
    if spare:
        raise InputError(f"{spare[0]} must be left out beside two designs, which are compared as they are")
    designs = [load_design(word, fields | listed, options_origin(options)) for word in options.designs]
    unused = [name for name in fields | listed if name != "costs"]
    if unused and not any(design.simulated for design in designs):
        raise InputError(f"{unused[0]} must be left out beside finished results, which hold their own jobs")
    difference = difference_of(*designs)
    names = [file_name(Path(word).stem) for word in options.designs]
    folder = options.out or BUILD / "compare" / f"{names[0]}-vs-{names[1]}"
    inputs = {
        f"{letter}, {d.name}": sha256_json(d.result.model_dump(mode="json"))
        for letter, d in zip("AB", designs, strict=True)
    }
    write_difference(folder / "difference.json", difference, inputs)
    made = provenance(
        ["tritforge", "compare", *options.designs, *options_of(Job(**fields)), *options_of(WorkloadJob(**listed))],
        inputs,
    )
    write_text(folder / "report.html", difference_html(difference, made))
    written = ["difference.json", "report.html"]
    for one in difference.phases:
        for quantity in (one.latency, one.energy):
            written.append(f"{one.phase}-{quantity.name}.svg")
            write_text(folder / written[-1], standalone(waterfall_of(difference, one.phase, quantity)))
    show(options, folder / "difference.json", partial(print_difference, difference), written)


def _compare_methods(options: Namespace) -> None:
    origin = options_origin(options)
    fields, quant_fields, listed, swept = given_fields(options, Job, QuantJob, WorkloadJob, ScalingJob)
    for name in listed:
        raise InputError(
            f"{name} must be left out beside methods, which need weights; give two designs to compare on it"
        )
    for name in (name for name in swept if name not in QuantJob.model_fields):
        raise InputError(f"{name} must be left out without models; give --models {fields.get('model', 'A,B')}")
    job = validate_document(fields, Job, origin)
    methods = _methods(options)
    jobs = _quant_jobs(methods, quant_fields | {"model": job.model}, origin)
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


def _compare_sizes(options: Namespace) -> None:
    origin = options_origin(options)
    fields, quant_fields, listed, swept = given_fields(options, Job, QuantJob, WorkloadJob, ScalingJob)
    for name in [*listed, *(["model"] if getattr(options, "model", None) else [])]:
        raise InputError(f"{name} must be left out in a sweep; give its models between commas: --models A,B")
    prose = quant_fields.pop("prose", None)
    scaling = validate_document(swept | ({} if prose is None else {"prose": prose}), ScalingJob, origin)
    job, folder = validate_document(fields, Job, origin), options.out or BUILD / "compare" / "scaling"
    methods, path = _methods(options), folder / "scaling.json"
    jobs = [one for model in scaling.models for one in _quant_jobs(methods, quant_fields | {"model": model}, origin)]
    points: list[ScalingPoint] = [one for known in scaling.points for one in read_points(known)]
    write_points(path, points)
    with stage_bars() as report:
        found = (
            points_of_manifests(job, scaling, options.manifest)
            if options.manifest
            else sweep(job, scaling, jobs, folder, report)
        )
        for point in found:
            points.append(point)
            write_points(path, points)
    names = ["scaling.json", *draw_scaling(folder, points)]
    show(options, path, partial(print_scaling, points), names)


def _methods(options: Namespace) -> list[str]:
    """Methods as they were given, each with its options."""
    return method_names() if options.methods == "all" else (options.methods or _METHODS).split(",")


def _quant_jobs(methods: list[str], fields: dict[str, object], origin: str) -> list[QuantJob]:
    """A job per method, whose own options come after those of all."""
    shared = fields.get("options", {})
    jobs = []
    for one in method_choices(",".join(methods)):
        options = {**shared, **one.options} if isinstance(shared, dict) else shared  # which is refused
        jobs.append(validate_document(fields | {"method": one.method, "options": options}, QuantJob, origin))
    return jobs


def _words(job: Job, quant_job: QuantJob, methods: list[str], manifests: list[Path]) -> list[str]:
    """Options that say the same comparison again."""
    words = options_of(job, ["model"])
    if manifests:
        return [*words, *(word for path in manifests for word in ("--manifest", str(path)))]
    return ["--methods", ",".join(methods), *words, *options_of(quant_job, ["model", "method"])]
