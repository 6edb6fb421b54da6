"""The main job: model -> (quantized weights) -> trace -> cycles on three arrays -> energy -> report."""

from pydantic import Field

from energy.costs.sources import load_source
from energy.costs.tables import OpTable, cost_names, load_costs
from energy.summary import JobSummary, summarize
from energy.weights import Measured
from hw.arithmetics import Mac
from hw.config import load_array
from quant.shapes import ModelShape
from sim.job import SimJob
from sim.result import SimResult

__all__ = ["BASELINES", "Job", "simulate_machines"]

BASELINES: tuple[Mac, ...] = ("int8", "fp16")


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


def _published_tables() -> list[OpTable]:
    return [table for table in map(load_costs, cost_names()) if table.kind == "published"]
