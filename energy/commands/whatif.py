"""``tritforge whatif``: every combination of a study file, and its Pareto front."""

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from energy.commands.show import BUILD, show
from energy.reports.study import print_study, study_html
from energy.study import load_study, run_study, write_study
from hw.artifact import file_name, write_text
from hw.progress import stage_bars

__all__ = ["add_whatif"]

_STUDY = "array_and_memory"


def add_whatif(parser: ArgumentParser) -> None:
    """Options of ``whatif``."""
    parser.add_argument(
        "--study", default=_STUDY, help=f"shipped study (tritforge list studies) or a .yaml file (default: {_STUDY})"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="results' folder (default: build/whatif/STUDY)")
    parser.add_argument("--json", action="store_true", help="print study.json instead of a table")
    parser.set_defaults(run=_whatif)


def _whatif(options: Namespace) -> None:
    study = load_study(options.study)
    with stage_bars() as report:
        result = run_study(study, options.study, partial(report, study.name))
    folder = options.out or BUILD / "whatif" / file_name(study.name)
    write_study(folder / "study.json", result)
    write_text(folder / "report.html", study_html(result))
    show(options, folder / "study.json", partial(print_study, result), ["study.json", "report.html"])
