"""The main job's page: question, verdict, four figures, why, alternatives, accuracy, tables, assumptions, origin."""

from markupsafe import Markup

from energy.findings import Findings
from energy.reports.pages.document import Provenance, legend, render
from energy.reports.pages.job_figures import (
    doublings,
    energy_figure,
    latency_figure,
    roofline_figure,
    sensitivity_figure,
    shown_causes,
    shown_parts,
)
from energy.reports.pages.job_tables import alternatives_table, assumptions_table, job_tables
from energy.reports.pages.limits import limits
from energy.reports.rows import gating_line
from energy.reports.verdict import collapse, machine_label, question, verdict
from energy.summary import JobSummary
from sim.reports.explain import explanation_lines
from sim.reports.gantt import layer_gantt
from sim.result import SimResult

__all__ = ["job_html"]

_ANSWERS = 4  # whose sensitivity is drawn: the energy, and what is saved against the first rivals


def job_html(summary: JobSummary, results: list[SimResult], findings: Findings, made: Provenance) -> str:
    """The page; ``results`` follow ``summary.machines``."""
    phases = [phase.name for phase in summary.ternary.phases]
    numbers = {one.key: number for number, one in enumerate(findings.assumptions, start=1)}
    return render(
        "job",
        title=f"{summary.model} on {summary.ternary.name}",
        question=question(summary),
        rivals=[machine_label(machine.mac) for machine in summary.machines[1:]],
        verdict=verdict(summary),
        collapsed=collapse(summary.quality),
        latencies=[latency_figure(summary, name) for name in phases],
        energies=[energy_figure(summary, name) for name in phases],
        causes=legend(shown_causes(summary)),
        parts=legend(shown_parts(summary)),
        why=[(explanation_lines(one), doublings(one)) for one in findings.explanations],
        roofline=roofline_figure(results),
        gantts=[Markup(layer_gantt(results[0], phase)) for phase in results[0].phases],
        alternatives=alternatives_table(findings.alternatives, summary.ternary.phases[0].name),
        quality=summary.quality,
        tables=job_tables(summary),
        gating=[gating_line(one) for one in summary.clock_gating],
        assumptions_table=assumptions_table(findings.assumptions),
        sensitivities=[sensitivity_figure(one) for one in findings.sensitivities[:_ANSWERS]],
        numbers=numbers,
        notes=summary.notes,
        limits=limits(shown_parts(summary)),
        provenance=made,
    )
