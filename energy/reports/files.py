"""The files of a finished job: one ``sim-<mac>.json`` per array, ``energy.json``, and the report for people."""

from pathlib import Path

from energy.costs.sources import load_source
from energy.reports.markdown import summary_markdown
from energy.reports.page import summary_html
from energy.summary import JobSummary
from hw.artifact import sha256_json, write_artifact, write_text
from sim.reports.gantt import layer_gantt
from sim.result import SimResult, write_result

__all__ = ["write_job"]

_SCHEMA, _VERSION = "tritforge.energy", 1


def write_job(folder: Path, summary: JobSummary, results: list[SimResult]) -> dict[str, Path]:
    """Write ``sim-<mac>.json``, ``energy.json``, ``report.md`` and ``report.html``; returns their paths by name."""
    inputs = {"shape": results[0].shape.sha256, "memory": sha256_json(results[0].memory.model_dump())}
    paths = {}
    for result in results:
        paths[f"sim-{result.array.mac}"] = path = folder / f"sim-{result.array.mac}.json"
        write_result(path, result, inputs | {"array": result.array.sha256})
    paths["energy"] = folder / "energy.json"
    costs = load_source(summary.costs).sha256()
    write_artifact(paths["energy"], _SCHEMA, _VERSION, summary.model_dump(), inputs | {"costs": costs})
    paths["markdown"] = folder / "report.md"
    write_text(paths["markdown"], summary_markdown(summary))
    paths["html"] = folder / "report.html"
    charts = [layer_gantt(results[0], phase) for phase in results[0].phases]
    write_text(paths["html"], summary_html(summary, charts))
    return paths
