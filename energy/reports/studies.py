"""Studies that answer a question each: measured by ``python -m energy docs``, with their answers on docs/studies.md."""

import json
from collections.abc import Iterable
from pathlib import Path

from energy.reports.answer import answer, designs_text
from energy.reports.pages.study import study_picture
from energy.study.document import load_study
from energy.study.engine import run_study
from energy.study.result import StudyResult
from hw.artifact import write_text
from hw.pages import markdown_table

__all__ = ["WORKED", "measure_studies", "studies_text", "study_speed_text", "worked_row"]

# The studies with a question of their own, in the order of the page.
WORKED = (
    *("node", "shape", "dram", "zeros", "context", "methods"),
    *("batch", "equal_area", "boards", "sizes", "apart"),
)
_PICTURES = Path("docs") / "images" / "studies"


def measure_studies(path: Path, names: Iterable[str] = WORKED) -> None:
    """Run every study; write its objectives point by point and its answer, and its picture."""
    rows = []
    for name in names:
        result = run_study(load_study(name), name)
        rows.append(worked_row(result))
        write_text(_PICTURES / f"{name}.svg", study_picture(result))
    lines = ",\n".join(json.dumps(row) for row in rows)
    write_text(path, f"[\n{lines}\n]\n")


def worked_row(result: StudyResult) -> dict:
    """What is kept of a study: the figures that it compares, and why points are out."""
    study = result.study
    kept = [*study.objectives, *study.derived]
    points = [
        {
            "values": list(point.values.values()),
            "figures": [_rounded(point.metrics.get(name)) for name in kept],
            "reason": point.reason,
        }
        for point in result.points
    ]
    return {
        "name": study.name,
        "question": study.description,
        "axes": study.columns,
        "figures": kept,
        "points": points,
        "answer": answer(result),
        "designs": designs_text(result),
    }


def studies_text(path: Path) -> str:
    """Question, command, answer and picture of each."""
    return "\n\n".join(_section(row) for row in json.loads(path.read_text(encoding="utf-8")))


def _section(row: dict) -> str:
    study, points = load_study(row["name"]), row["points"]
    out = sum(1 for point in points if point["reason"])
    designs = "\n".join(f"- {one}" for one in row["designs"])
    counted = f"{len(points)} points" + (f", {out} of them out" if out else "")
    return (
        f"### {row['question']}\n\n"
        f"```sh\ntritforge whatif --study {row['name']}    # {counted}: {', '.join(study.columns)}\n```\n\n"
        f"{row['answer']}\n\n"
        f"{designs}\n\n"
        f"![{row['name']}: {study.objectives[1]} against {study.objectives[0]}](images/studies/{row['name']}.svg)"
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def study_speed_text(path: Path) -> str:
    """The commands with their times, rates, memory; and a point beside a simulation alone."""
    measured = json.loads(path.read_text(encoding="utf-8"))
    one, commands = measured["ratio"], measured["commands"]
    first = commands[0]["rows_sha256"] if commands else ""
    rows = [
        [
            f"`{command['options']}`", f"{command['points']:,}", f"{command['cpu_s']:.0f} s",
            f"{command['points'] / command['cpu_s']:.0f}", f"{command['wall_s']:.0f} s",
            f"{command['peak_bytes'] / 2**20:.0f} MiB", "equal" if command["rows_sha256"] == first else "DIFFERENT",
        ]
        for command in commands
    ]  # fmt: skip
    columns = [
        "`tritforge whatif` with",
        "points",
        "CPU time",
        "points per CPU s",
        "wall time",
        "largest process",
        "rows",
    ]
    asked = " ".join(f"--command='{command['options']}'" for command in commands)
    return (
        f"{markdown_table(columns, rows)}\n\n"
        f"`tritforge bench-study --points {commands[0]['points']} {asked} --out docs/results/study-speed.json`, "
        f"{measured['date']}, {measured['processors']} processors that others used too, so that CPU time says more "
        f"than wall time. A point of a study of {one['points']} takes {one['point_s'] * 1e3:.1f} ms of CPU time, and "
        f"{one['single_s'] * 1e3:.1f} ms where nothing is shared with another: "
        f"{one['single_s'] / one['point_s']:.1f} times as long; `make bench` measures it."
    )
