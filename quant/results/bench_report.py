"""What a benchmark of quantization found: stages, memory, and how much of the whole was run; the documentation's table.

Nothing here needs torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from hw.artifact import write_text
from hw.document import Record, load_json
from hw.pages import markdown_table
from quant.results.whole_report import WholeReport, whole_markdown
from quant.shapes import load_shape

__all__ = ["BENCH_FILE", "BenchReport", "StageCost", "add_reports", "bench_markdown", "read_report", "read_reports"]

BENCH_FILE = Path("docs") / "results" / "quant-bench.json"


_PLURALS = {"block": "blocks", "step": "steps", "batch": "batches", "model": "models"}


class StageCost(Record):
    """One stage: what ran, and how often a whole job runs it.

    ``first``: seconds of its first block or step, with compilation and warming up; ``later``: mean seconds of the ones
    after it, the first where there is only one.
    """

    stage: str
    unit: str  # "block", "step", "batch" of generated text, or "model"
    run: int
    whole: int
    first: float
    later: float

    @property
    def measured_seconds(self) -> float:
        """Seconds of what ran."""
        return self.first + (self.run - 1) * self.later

    @property
    def whole_seconds(self) -> float:
        """Seconds of a whole job: measured where all of it ran, else extrapolated."""
        return self.first + (self.whole - 1) * self.later


class BenchReport(Record):
    """One benchmark on random weights and tokens. Peak bytes on the device are by phase, absent on a CPU."""

    model: str
    method: str
    options: dict[str, float | int | str | bool | None]  # those given
    windows: int
    length: int
    blocks_run: int
    blocks: int
    stages: list[StageCost]
    wall_seconds: float  # of what ran
    device_bytes: dict[str, int]
    host_bytes: int  # peak resident memory of the process, with the bfloat16 weights of ``blocks_built``
    blocks_built: int
    device: str

    @property
    def extrapolated(self) -> bool:
        """Whether any stage ran only in part."""
        return any(stage.run < stage.whole for stage in self.stages)

    @property
    def whole_host_bytes(self) -> int:
        """Peak of the process with the weights of every block."""
        shape = load_shape(self.model)
        return self.host_bytes + (self.blocks - self.blocks_built) * 2 * shape.linear_parameters // shape.layers

    @property
    def whole_seconds(self) -> float:
        """Seconds of the whole job; time between stages counts in proportion to the blocks."""
        between = self.wall_seconds - sum(stage.measured_seconds for stage in self.stages)
        return sum(stage.whole_seconds for stage in self.stages) + between * self.blocks / self.blocks_run


class _Reports(Record):
    reports: list[BenchReport]
    whole: list[WholeReport] = []


def read_report(path: Path) -> BenchReport | WholeReport:
    """One report as ``python -m quant bench --json`` prints it.

    Raises:
        InputError: missing or damaged file.
    """
    whole = Path(path).is_file() and '"weights_seconds"' in Path(path).read_text(encoding="utf-8", errors="replace")
    return load_json(path, WholeReport if whole else BenchReport)


def read_reports(path: Path) -> list[BenchReport | WholeReport]:
    """The committed reports.

    Raises:
        InputError: missing or damaged file.
    """
    found = load_json(path, _Reports)
    return [*found.whole, *found.reports]


def add_reports(path: Path, new: Sequence[BenchReport | WholeReport]) -> None:
    """Append reports, each in the place of an earlier one of the same kind, model, method, options and blocks."""

    def identity(one: BenchReport | WholeReport) -> tuple:
        blocks = one.blocks if isinstance(one, WholeReport) else None
        return one.model, one.method, one.options, one.windows, one.length, blocks

    kept = read_reports(path) if Path(path).is_file() else []
    replaced = [identity(one) for one in new]
    reports = [one for one in kept if identity(one) not in replaced] + list(new)
    whole, parts = _by_kind(reports)
    write_text(path, json.dumps(_Reports(reports=parts, whole=whole).model_dump(), indent=1) + "\n")


def bench_markdown(reports: Sequence[BenchReport | WholeReport]) -> str:
    """Whole jobs from files, what ran in part, and the stages of that: a table each, where there is any."""
    whole, parts = _by_kind(reports)
    return "\n\n".join(([whole_markdown(whole)] if whole else []) + ([_in_part(parts)] if parts else []))


def _by_kind(reports: Sequence[BenchReport | WholeReport]) -> tuple[list[WholeReport], list[BenchReport]]:
    whole = [one for one in reports if isinstance(one, WholeReport)]
    return whole, [one for one in reports if isinstance(one, BenchReport)]


def _in_part(reports: Sequence[BenchReport]) -> str:
    """A table of jobs, and one of their stages."""
    header = (
        *("model", "method", "options", "calibration", "blocks run", "time of what ran", "time of the whole job"),
        *("GPU peak", "host peak", "machine"),
    )
    jobs = markdown_table(header, [_job_cells(one) for one in reports])
    stages = markdown_table(
        ("model", "method", "stage", "ran", "first", "each later one", "whole job"),
        [_stage_cells(one, cost) for one in reports for cost in one.stages],
    )
    return f"{jobs}\n\n{stages}"


def _job_cells(report: BenchReport) -> tuple[str, ...]:
    kind = "extrapolated" if report.extrapolated else "measured"
    peak = max(report.device_bytes.values(), default=0)
    phase = next((name for name, value in report.device_bytes.items() if value == peak), "")
    host = f"{report.host_bytes / 2**30:.1f} GiB"
    if report.blocks_built < report.blocks:
        whole = report.whole_host_bytes / 2**30
        host = f"{host} with {report.blocks_built} of {report.blocks} blocks' weights, {whole:.1f} GiB with all"
    return (
        report.model,
        f"`{report.method}`",
        ", ".join(f"{name} {value}" for name, value in report.options.items()) or "defaults",
        f"{report.windows} x {report.length}",
        f"{report.blocks_run} of {report.blocks}",
        _minutes(report.wall_seconds),
        f"{_minutes(report.whole_seconds)}, {kind}",
        f"{peak / 1e9:.1f} GB ({phase})" if peak else "-",
        host,
        report.device,
    )


def _stage_cells(report: BenchReport, cost: StageCost) -> tuple[str, ...]:
    kind = "extrapolated" if cost.run < cost.whole else "measured"
    return (
        report.model,
        f"`{report.method}`",
        cost.stage,
        f"{cost.run} of {cost.whole} {_PLURALS[cost.unit]}",
        f"{cost.first:.2f} s",
        f"{cost.later:.2f} s",
        f"{_minutes(cost.whole_seconds)}, {kind}",
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
