"""The files of a finished job: one ``sim-<mac>.json`` per array, ``energy.json``, and the report for people."""

from collections.abc import Sequence
from pathlib import Path

from energy.findings import Findings
from energy.reports.markdown import summary_markdown
from energy.reports.pages.document import provenance
from energy.reports.pages.job import job_html
from energy.reports.verdict import plain, verdict
from energy.summary import JobSummary
from hw.artifact import sha256_json, write_artifact, write_text
from sim.reports.explain import explanation_json
from sim.result import SimResult, write_result

__all__ = ["write_job"]

_SCHEMA, _VERSION = "tritforge.energy", 1


def write_job(
    folder: Path, summary: JobSummary, results: list[SimResult], findings: Findings, words: Sequence[str]
) -> dict[str, Path]:
    """Write ``sim-<mac>.json``, ``energy.json``, ``report.md`` and ``report.html``; returns their paths by name.

    ``words``: the command that repeats the job.
    """
    inputs = {"shape": results[0].shape.sha256, "memory": sha256_json(results[0].memory.model_dump())}
    paths = {}
    for result in results:
        paths[f"sim-{result.array.mac}"] = path = folder / f"sim-{result.array.mac}.json"
        write_result(path, result, inputs | {"array": result.array.sha256})
    paths["energy"] = folder / "energy.json"
    inputs |= {"costs": findings.costs_sha256}
    body = summary.model_dump() | {
        "verdict": plain(verdict(summary)),
        "explanation": [explanation_json(one) for one in findings.explanations],
        "alternatives": [one.model_dump() for one in findings.alternatives],
        "assumptions": [one.model_dump() for one in findings.assumptions],
        "sensitivity": [one.model_dump() for one in findings.sensitivities],
    }
    if findings.sobol:
        body["sobol"] = [one.model_dump() for one in findings.sobol]
    write_artifact(paths["energy"], _SCHEMA, _VERSION, body, inputs)
    paths["markdown"] = folder / "report.md"
    write_text(paths["markdown"], summary_markdown(summary))
    paths["html"] = folder / "report.html"
    page = job_html(summary, results, findings, provenance(words, inputs | {"array": results[0].array.sha256}))
    write_text(paths["html"], page)
    return paths
