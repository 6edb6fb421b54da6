"""``tritforge whatif``: every combination of a study file, and its Pareto front."""

import json
import sys
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from rich.console import Console

from energy.commands.show import BUILD, show
from energy.reports.answer import answer, designs_text
from energy.reports.pages.document import provenance
from energy.reports.pages.study import study_html, study_picture
from energy.reports.study import print_study
from energy.study.cluster import BATCH_SYSTEMS, Cluster, job_script
from energy.study.document import load_study
from energy.study.engine import run_study
from energy.study.journal import Journal
from energy.study.result import StudyResult, study_sha256, write_study
from energy.study.schema import study_schema
from energy.study.tables import has_parquet, write_csv, write_parquet
from hw.artifact import file_name, write_text
from hw.errors import InputError
from hw.progress import stage_bars

__all__ = ["add_whatif"]

_STUDY = "array_and_memory"


def add_whatif(parser: ArgumentParser) -> None:
    """Options of ``whatif``."""
    parser.add_argument(
        "--study", default=_STUDY, help=f"shipped study (tritforge list studies) or a .yaml file (default: {_STUDY})"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="results' folder (default: build/whatif/STUDY)")
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="processes that measure points (default: one per processor, and this one alone for a short study)",
    )
    parser.add_argument(
        "--dask",
        metavar="WHERE",
        help="measure on a Dask cluster: tcp://HOST:PORT of a scheduler, local:N processes, or N jobs of a batch "
        f"system ({', '.join(f'{name}:N' for name in BATCH_SYSTEMS)})",
    )
    parser.add_argument(
        "--job-script",
        action="store_true",
        help="print the script of one job that --dask would ask its batch system for, and measure nothing",
    )
    parser.add_argument(
        "--restart", action="store_true", help="discard the rows that an interrupted run left in the folder"
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of study files, for editors")
    parser.add_argument("--json", action="store_true", help="print study.json instead of a table")
    parser.set_defaults(run=_whatif)


def _whatif(options: Namespace) -> None:
    if options.schema:
        print(json.dumps(study_schema(), indent=1))
        return
    if options.job_script:
        print(job_script(options.dask or ""), end="")
        return
    if options.processes is not None and options.processes < 1:
        raise InputError(f"processes must be at least 1, not {options.processes}")
    study = load_study(options.study)
    folder = options.out or BUILD / "whatif" / file_name(study.name)
    rows = folder / "rows.partial.jsonl"
    if options.restart:
        rows.unlink(missing_ok=True)
    journal = Journal(rows, study.name)
    try:
        with _cluster(options) as cluster, stage_bars() as report:
            tick = partial(report, study.name)
            result = run_study(study, options.study, tick, options.processes, journal, cluster)
    except KeyboardInterrupt:
        print(f"finished rows are kept in {rows}; the same command goes on from there", file=sys.stderr)
        raise
    write_study(folder / "study.json", result)
    write_csv(folder / "points.csv", result)
    made = provenance(["tritforge", "whatif", "--study", options.study], {"study": study_sha256(study)})
    write_text(folder / "report.html", study_html(result, made))
    written = ["study.json", "points.csv", "report.html"]
    if picture := study_picture(result):
        write_text(folder / "front.svg", picture)
        written.append("front.svg")
    if has_parquet():
        write_parquet(folder / "points.parquet", result)
        written.append("points.parquet")
    journal.remove()
    show(options, folder / "study.json", partial(_print, result), written)


def _cluster(options: Namespace) -> AbstractContextManager[Cluster | None]:
    if options.dask is None:
        return nullcontext()
    if options.processes is not None:
        raise InputError("processes must be left out beside dask, whose workers measure")
    return Cluster(options.dask)


def _print(result: StudyResult, console: Console) -> None:
    """The tables, and last the answer."""
    print_study(result, console)
    for line in designs_text(result):
        console.print(line, highlight=False, markup=False)
    console.print(answer(result), style="bold", highlight=False, markup=False)
