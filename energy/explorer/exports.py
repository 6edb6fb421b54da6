"""A state as a study around it, and as the static report of a job."""

import shlex

import yaml

from energy.explorer.answers import answer_of
from energy.explorer.controls import controls
from energy.explorer.state import RIVALS, State, fields_of, job_of, rivals_of
from energy.findings import find
from energy.reports.pages.document import provenance
from energy.reports.pages.job import job_html
from energy.study.document import Study
from hw.artifact import sha256_json
from hw.document import validate_document
from hw.fields import options_of
from quant.shapes import load_shape

__all__ = ["command_of", "report_html", "study_yaml"]


def command_of(state: State) -> list[str]:
    """The command that writes the report of ``state``."""
    return ["tritforge", "sim", *_words(state), "--hold", state.hold]


def study_yaml(state: State) -> str:
    """A study of every array and memory of the page with this state's other values, against its rivals."""
    fields = fields_of(state)
    axes = {name: list(controls()[name].stops) for name in ("array", "memory")}
    document = {
        "schema": Study.file_schema,
        "name": "explorer",
        "description": f"Which array and which memory for {state.model}, {state.prompt} prompt tokens, "
        f"batches of {state.batch}? Around {state.array} with {state.memory}",
        "base": fields | {"rival_bus": "balanced"},
        "rivals": RIVALS.split(","),
        "hold": state.hold,
        "axes": axes,
        "minimize": ["user_s_per_token", "decode_j_per_token"],
    }
    validate_document({name: one for name, one in document.items() if name != "schema"}, Study, "explorer")
    start = f"# {shlex.join(command_of(state))}\n# tritforge whatif --study explorer.yaml\n"
    return start + yaml.safe_dump(document, sort_keys=False, width=120, default_flow_style=None)


def report_html(state: State) -> str:
    """The report that the command writes.

    Raises:
        InputError: a machine that cannot be.
    """
    answer = answer_of(state)
    summary, results, rivals = answer.summary, answer.results, rivals_of(state)
    findings = find(job_of(state), load_shape(state.model), None, rivals, summary, results, _words(state))
    first = results[0]
    inputs = {
        "shape": first.shape.sha256,
        "memory": sha256_json(first.memory.model_dump()),
        "array": first.array.sha256,
    }
    return job_html(summary, results, findings, provenance(command_of(state), inputs))


def _words(state: State) -> list[str]:
    """Options but for what is held equal."""
    job, rivals = job_of(state), rivals_of(state)
    words = ["--model", job.model, *options_of(job, ["model"]), *options_of(rivals, ["hold"])]
    return [*words, *(["--attention", "auto"] if job.attention == "auto" else []), "--shapes-only"]
