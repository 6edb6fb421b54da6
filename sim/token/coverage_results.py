"""Functional coverage of the whole-token machine as measured: groups of bins, and instructions in the emptiest."""

from pathlib import Path

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.pages import markdown_table

__all__ = ["COVERAGE_RESULTS", "CoverageGroup", "CoverageRun", "add_coverage_run", "coverage_markdown"]

COVERAGE_RESULTS = Path("docs") / "results" / "machine-coverage.json"
_SCHEMA, _VERSION = "tritforge.machine-coverage", 1


class CoverageGroup(Record):
    """Bins of one subject."""

    name: str
    bins: int
    fewest: int  # instructions in the bin that has the fewest


class CoverageRun(Record):
    """Random programs on the Verilated machine, every instruction's cycles equal to the simulator's."""

    name: str  # packing of weights, or the memory
    programs: int
    instructions: int
    groups: tuple[CoverageGroup, ...]


class CoverageResults(Record):
    """Runs, by name."""

    runs: tuple[CoverageRun, ...] = ()


def add_coverage_run(path: Path, run: CoverageRun) -> None:
    """Add a run, in the place of one of the same name.

    Raises:
        InputError: what is there is damaged, or of another schema.
    """
    others = [one for one in _read(path).runs if one.name != run.name] if path.is_file() else []
    body = CoverageResults(runs=tuple(sorted([*others, run], key=lambda one: one.name)))
    write_artifact(path, _SCHEMA, _VERSION, body.model_dump(mode="json"), {})


def coverage_markdown(path: Path) -> str:
    """A row per group, a column per run: instructions in the bin that has the fewest."""
    runs = _read(path).runs
    groups: dict[str, int] = {}
    for run in runs:
        groups |= {group.name: group.bins for group in run.groups}
    cells = [{group.name: f"{group.fewest:,}" for group in run.groups} for run in runs]
    header = ("group", "bins", *(run.name for run in runs))
    rows = [
        ("programs", "", *(f"{run.programs:,}" for run in runs)),
        ("instructions, their cycles equal", "", *(f"{run.instructions:,}" for run in runs)),
        *((name, str(bins), *(one.get(name, "") for one in cells)) for name, bins in groups.items()),
    ]
    return markdown_table(header, rows)


def _read(path: Path) -> CoverageResults:
    return read_record(
        path, _SCHEMA, _VERSION, CoverageResults, "measure again: python -m tests.sim.token.coverage --add"
    )
