"""The main job: model -> (quantized weights) -> trace -> cycles on three arrays -> energy -> report."""

from pathlib import Path

from pydantic import Field

from energy.costs.sources import load_source
from energy.costs.tables import OpTable, cost_names, load_costs
from energy.reports.markdown import summary_markdown
from energy.reports.page import summary_html
from energy.summary import JobSummary, summarize
from energy.weights import Measured
from hw.arithmetics import Mac
from hw.artifact import sha256_json, write_artifact, write_text
from hw.config import load_array
from quant.shapes import ModelShape
from sim.job import SimJob
from sim.reports.gantt import layer_gantt
from sim.result import SimResult, write_result

__all__ = ["BASELINES", "Job", "simulate_machines", "write_job"]

BASELINES: tuple[Mac, ...] = ("int8", "fp16")

_SCHEMA, _VERSION = "tritforge.energy", 1


class Job(SimJob):
    """A ``SimJob`` on the ternary array and on its baselines, with costs."""

    costs: str = Field("horowitz-45nm", description="cost table (tritforge list costs), gates:LIBRARY, or a .yaml file")


def simulate_machines(
    job: Job, shape: ModelShape, measured: Measured | None = None
) -> tuple[JobSummary, list[SimResult]]:
    """Simulate the ternary array and its baselines and join them with costs.

    Raises:
        InputError: an unknown name, or sizes that the model cannot run.
    """
    array, costs = load_array(job.array), load_source(job.costs)
    manifest, statistics = (measured.manifest, measured.statistics) if measured else (None, None)
    machines = [array, *(job.core_group.fed(array.baseline(mac)) for mac in BASELINES)]
    results = [  # a baseline stores its own format, whatever the manifest says
        job.simulate(shape, machine, manifest if machine.arithmetic.stores_trits else None, statistics)
        for machine in machines
    ]
    return summarize(results, costs, _published_tables(), manifest), results


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


def _published_tables() -> list[OpTable]:
    return [table for table in map(load_costs, cost_names()) if table.kind == "published"]
