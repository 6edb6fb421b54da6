"""``tritforge results`` and ``bench-quant``: the table of committed results; time and memory of quantization."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hw.document import validate_document
from hw.errors import InputError
from hw.fields import add_fields, given_fields
from hw.progress import StageReport, stage_bars
from quant.job import QuantJob
from quant.manifest import read_manifest
from quant.procedures.cost import read_cost
from quant.results.bench_job import BenchJob
from quant.results.bench_report import BENCH_FILE, BenchReport, add_reports, bench_markdown, read_report, read_reports
from quant.results.minutes_table import (
    MINUTES_FILE,
    MinutesRow,
    add_minutes_row,
    minutes_markdown,
    minutes_row,
    read_minutes_rows,
)
from quant.results.shared_table import (
    SHARED_FILE,
    SharedRow,
    add_shared_row,
    read_shared_rows,
    shared_markdown,
    shared_row,
)
from quant.results.table import RESULTS_FILE, add_row, read_results, results_markdown, row_of
from quant.results.whole_report import WholeReport

__all__ = ["add_bench", "add_results"]

Shown = TypeVar("Shown", MinutesRow, SharedRow)


def add_results(parser: ArgumentParser) -> None:
    """Options of ``results``."""
    parser.add_argument(
        "--add", type=Path, metavar="FOLDER", help="add a finished run to the table: its folder, with manifest.json"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="X",
        help="wall time of the command that made it, by default what the run says of itself",
    )
    parser.add_argument("--machine", default="", metavar="WORDS", help="what it ran on, in words")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="FOLDER",
        help="the same job shared by --devices, beside --add, a run on one GPU with --shards: bits and times of both",
    )
    kept = ("options", "seed", "devices")
    add_fields(
        parser, QuantJob, "what it was given", leave_out=[name for name in QuantJob.model_fields if name not in kept]
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_results)


def add_bench(parser: ArgumentParser) -> None:
    """Options of ``bench``."""
    add_fields(parser, BenchJob)
    parser.add_argument(
        "--add", type=Path, nargs="+", metavar="FILE", help=f"add such reports to {BENCH_FILE} and run nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of tables")
    parser.set_defaults(run=_bench)


def _results(options: Namespace) -> None:
    (given,) = given_fields(options, QuantJob)
    if options.beside is not None:
        if options.add is None or "devices" not in given:
            raise InputError("beside must be left out without add, the same job on one GPU, and devices")
        count = len(str(given["devices"]).split(","))
        add_shared_row(SHARED_FILE, shared_row(options.add, options.beside, count, options.machine))
        _show(read_shared_rows(SHARED_FILE), shared_markdown, options.json)
        return
    if options.add is not None:
        manifest, cost = read_manifest(options.add / "manifest.json"), read_cost(options.add)
        if manifest.budget:
            add_minutes_row(MINUTES_FILE, minutes_row(manifest, cost, options.machine))
            _show(read_minutes_rows(MINUTES_FILE), minutes_markdown, options.json)
            return
        seconds = cost.seconds if options.seconds is None and cost and not cost.finished_blocks else options.seconds
        row = row_of(manifest, given.get("options", {}), int(given.get("seed", 0)), seconds, options.machine)
        add_row(RESULTS_FILE, row)
    results = read_results(RESULTS_FILE)
    print(results.model_dump_json(indent=1) if options.json else results_markdown(results))


def _show(rows: list[Shown], table: Callable[[list[Shown]], str], as_json: bool) -> None:
    print(json.dumps([row.model_dump() for row in rows], indent=1) if as_json else table(rows))


def _bench(options: Namespace) -> None:
    if options.add:
        add_reports(BENCH_FILE, [read_report(path) for path in options.add])
        reports = read_reports(BENCH_FILE)
    else:
        (fields,) = given_fields(options, BenchJob)
        job = validate_document(fields, BenchJob, "options")
        with stage_bars() as progress:
            reports = [_run(job, progress)]
    if options.json:
        dumped = [report.model_dump() for report in reports]
        print(json.dumps(dumped if options.add else dumped[0], indent=1))
    else:
        print(bench_markdown(reports))


def _run(job: BenchJob, progress: StageReport) -> BenchReport | WholeReport:
    if job.files is None:
        from quant.results.bench import run_bench  # imports torch

        return run_bench(job, progress)
    from quant.results.whole_run import run_whole  # imports torch

    return run_whole(job, progress)
