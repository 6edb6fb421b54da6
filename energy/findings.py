"""``Findings``: what a job's report says beyond its summary: why, the alternatives, and on what the figures rest."""

from functools import partial
from typing import NamedTuple

from energy.alternatives import Alternative, find_alternatives
from energy.assumptions import Assumption, assumptions_of
from energy.costs.sources import load_source
from energy.job import Job, Rivals
from energy.sensitivity import Sensitivity, sensitivities
from energy.sobol import SobolAnswer
from energy.summary import JobSummary
from energy.weights import Measured
from quant.shapes import ModelShape
from sim.reports.explain import PhaseExplanation, explain
from sim.result import SimResult
from sim.simulator import simulate_on
from sim.workload.products import Workload

__all__ = ["Findings", "find"]


class Findings(NamedTuple):
    """What was found about one job."""

    explanations: list[PhaseExplanation]  # of the ternary machine, phase by phase
    alternatives: list[Alternative]
    assumptions: list[Assumption]
    sensitivities: list[Sensitivity]  # of the first machine's energy, and of what it saves against each rival
    costs_sha256: str  # of the cost source, which may be a file of the job
    sobol: list[SobolAnswer] = []  # of the same, where they were asked for


def find(
    job: Job,
    shape: ModelShape | Workload,
    measured: Measured | None,
    rivals: Rivals,
    summary: JobSummary,
    results: list[SimResult],
    words: list[str],
) -> Findings:
    """Simulate what explains ``summary``; ``words``: options of the job, for the commands of the alternatives."""
    costs = load_source(job.costs)
    return Findings(
        _explained(job, shape, measured, results[0]),
        find_alternatives(job, shape, measured, rivals, summary, words),
        assumptions_of(summary, results[0], costs),
        sensitivities(summary),
        costs.sha256(),
    )


def _explained(
    job: Job, shape: ModelShape | Workload, measured: Measured | None, result: SimResult
) -> list[PhaseExplanation]:
    """Why ``result`` takes as long as it does: the job's own work on other machines."""
    manifest, statistics = (measured.manifest, measured.statistics) if measured else (None, None)
    trace = job.trace(shape, result.array, manifest, statistics)
    return explain(result, partial(simulate_on, trace))
