"""``python -m energy``: the main job (sim), what-if studies (whatif), and the cost tables (costs)."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from energy.compare import compare_manifests, compare_methods, write_comparison
from energy.costs.tables import cost_names, load_costs
from energy.job import Job, simulate_machines, write_job
from energy.reports.comparison import comparison_html, print_comparison
from energy.reports.docs import PAGES, draw_picture, measure, render_file
from energy.reports.rows import si
from energy.reports.screen import print_summary
from energy.reports.study import print_study, study_html
from energy.study import load_study, run_study, write_study
from energy.weights import measure_weights
from hw.artifact import write_text
from hw.cli import CommandParser, run
from hw.config import load_array
from hw.document import validate_document
from hw.progress import stage_bars
from quant.pipeline import QuantJob
from quant.registry import AUTO, check_method, method_names
from quant.source import resolve

_BUILD = Path("build")


def _parser() -> CommandParser:
    parser = CommandParser(prog="python -m energy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    sim = commands.add_parser("sim", help="simulate a model on a ternary array and its baselines")
    for name, field in Job.model_fields.items():
        sim.add_argument(f"--{name.replace('_', '-')}", default=field.default, help=f"default: {field.default}")
    sim.add_argument(
        "--method",
        default=AUTO,
        help="quantization of a model with weights (default: native for a checkpoint that is ternary already, else "
        "pt-bitnet)",
    )
    sim.add_argument("--text", help="text for the perplexities (default: a slice of the stdlib's pydoc_data.topics)")
    sim.add_argument("--calib", help="calibration text (default: another slice of the same)")
    sim.add_argument("--device", default="cpu", help="torch device of quantization (default: cpu)")
    sim.add_argument("--shapes-only", action="store_true", help="do not quantize, even if the model has weights")
    sim.add_argument("--out", type=Path, help="folder of the results (default: build/sim/<model>-<array>)")
    sim.add_argument("--json", action="store_true", help="print energy.json instead of tables")
    sim.set_defaults(action=_sim)

    whatif = commands.add_parser("whatif", help="simulate every combination of a study file")
    whatif.add_argument("--study", type=Path, required=True, help="for example studies/array_and_memory.yaml")
    whatif.add_argument("--out", type=Path, help="folder of the results (default: build/whatif/<study>)")
    whatif.add_argument("--json", action="store_true", help="print study.json instead of a table")
    whatif.set_defaults(action=_whatif)

    compare = commands.add_parser("compare", help="quantization methods side by side: accuracy, bits, energy, latency")
    for name, field in Job.model_fields.items():
        compare.add_argument(f"--{name.replace('_', '-')}", default=field.default, help=f"default: {field.default}")
    compare.add_argument("--methods", default="rtn,pt-bitnet", help="comma-separated, or all (default: rtn,pt-bitnet)")
    compare.add_argument(
        "--manifest",
        type=Path,
        action="append",
        help="manifest.json of a finished run, made here or elsewhere, instead of --methods; repeat",
    )
    compare.add_argument(
        "--text", help="text for the perplexities (default: a slice of the stdlib's pydoc_data.topics)"
    )
    compare.add_argument("--calib", help="calibration text (default: another slice of the same)")
    compare.add_argument(
        "--windows", type=int, help="evaluated windows (default: all of a file, 8 of the built-in text)"
    )
    compare.add_argument("--length", type=int, help="tokens per window (default: 2048 for files, 512 built in)")
    compare.add_argument(
        "--calibration-windows", type=int, help="default: up to 128 of a file, 16 of the built-in text"
    )
    compare.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    compare.add_argument("--out", type=Path, help="folder of the results (default: build/compare/<model>)")
    compare.add_argument("--json", action="store_true", help="print comparison.json instead of a table")
    compare.set_defaults(action=_compare)

    costs = commands.add_parser("costs", help="print the cost tables and their sources")
    costs.add_argument("--json", action="store_true")
    costs.set_defaults(action=_costs)

    docs = commands.add_parser("docs", help="simulate the README's jobs again; rewrite its tables and picture")
    docs.set_defaults(action=_docs)
    return parser


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    options = _parser().parse_args(arguments)
    options.action(options)


def _sim(options: Namespace) -> None:
    fields = {name: getattr(options, name) for name in Job.model_fields}
    job = validate_document(fields, Job, "options")
    check_method(options.method)
    source = resolve(job.model)
    measured = None
    if source.has_weights and not options.shapes_only:
        fields = {name: getattr(options, name) for name in ("model", "method", "text", "calib", "device")}
        with stage_bars() as report:
            measured = measure_weights(load_array(job.array), validate_document(fields, QuantJob, "options"), report)
    summary, results = simulate_machines(job, source.shape, measured)
    folder = options.out or _BUILD / "sim" / f"{source.name.replace('/', '--')}-{results[0].machine.replace(' ', '')}"
    paths = write_job(folder, summary, results)
    _show(options, paths["energy"], partial(print_summary, summary), [path.name for path in paths.values()])


def _compare(options: Namespace) -> None:
    job = validate_document({name: getattr(options, name) for name in Job.model_fields}, Job, "options")
    methods = method_names() if options.methods == "all" else options.methods.split(",")
    names = ("model", "text", "calib", "windows", "length", "calibration_windows", "device")
    fields = {name: getattr(options, name) for name in names}
    jobs = [validate_document(fields | {"method": method}, QuantJob, "options") for method in methods]
    if manifests := options.manifest:
        comparison = compare_manifests(job, manifests)
    else:
        with stage_bars() as report:
            comparison, manifests = compare_methods(job, jobs, report)
    folder = options.out or _BUILD / "compare" / comparison.model
    write_comparison(folder / "comparison.json", comparison, manifests)
    write_text(folder / "report.html", comparison_html(comparison))
    names = ["comparison.json", "report.html"]
    _show(options, folder / "comparison.json", partial(print_comparison, comparison), names)


def _whatif(options: Namespace) -> None:
    study = load_study(options.study)
    with stage_bars() as report:
        result = run_study(study, str(options.study), partial(report, study.name))
    folder = options.out or _BUILD / "whatif" / study.name
    write_study(folder / "study.json", result)
    write_text(folder / "report.html", study_html(result))
    _show(options, folder / "study.json", partial(print_study, result), ["study.json", "report.html"])


def _show(options: Namespace, artifact: Path, show: Callable[[Console], None], written: list[str]) -> None:
    """Print the JSON artifact where that was asked for, else tables and what was written."""
    if options.json:
        print(artifact.read_text(encoding="utf-8"), end="")
        return
    console = Console()
    show(console)
    console.print(f"wrote {artifact.parent}/: {', '.join(written)}", style="green", highlight=False)


def _costs(options: Namespace) -> None:
    tables = [load_costs(name) for name in cost_names()]
    if options.json:
        json.dump({table.name: _plain(table) for table in tables}, sys.stdout, indent=1)
        print()
        return
    for table in tables:
        shown = Table(title=f"{table.name} ({table.kind}): {table.source}", box=None, title_justify="left")
        for column in ("operator", "energy", "kind"):
            shown.add_column(column)
        for name, operator in table.ops_pj.items():
            shown.add_row(name, si(operator.value * 1e-12, "J"), operator.kind)
        Console().print(shown)


def _docs(options: Namespace) -> None:
    measure()
    for page in PAGES:
        write_text(page, render_file(page))
    draw_picture(Path("docs") / "images" / "llama2-7b.svg")


def _plain(model: BaseModel) -> object:
    return model.model_dump(mode="json")


if __name__ == "__main__":
    run(main)
