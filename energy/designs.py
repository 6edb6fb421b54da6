"""Designs to be compared: an array by name or file, a job file, or the finished results of a run."""

import re
from pathlib import Path
from typing import NamedTuple

from energy.costs.sources import CostSource, load_source
from energy.job import Job
from hw.artifact import read_artifact
from hw.document import load_mapping, validate_document
from hw.errors import InputError, did_you_mean
from quant.shapes import load_shape
from sim.result import SimResult, read_result
from sim.workload.job import WorkloadJob, refuse_beside_workload

__all__ = ["Design", "load_design"]

_JOB_SCHEMA, _SIM_SCHEMA, _ENERGY_SCHEMA, _ENERGY_VERSION = "tritforge.job.1", "tritforge.sim", "tritforge.energy", 1
_SCHEMA_LINE = re.compile(r"^schema:\s*(\S+)", re.MULTILINE)
_ROWS = re.compile(r'(?:^|[{,\s"])rows"?\s*:', re.MULTILINE)
_REMEDY = "simulate again: tritforge sim --out FOLDER"


class Design(NamedTuple):
    """One machine with its work, simulated, and the costs that price it."""

    name: str
    result: SimResult
    costs: CostSource
    simulated: bool  # just now, so that options of the job had a say
    words: str  # as it was given


def load_design(word: str, fields: dict[str, object], origin: str) -> Design:
    """``word``: an array by name or a YAML file of one, a job file, ``sim-*.json``, ``energy.json`` or its folder.

    ``fields``: of the job, and the workload in the model's place, as they were given beside it; they go first. Results
    hold their own job, and take no more than other costs. Where an ``energy.json`` holds several machines, the first is
    the design.

    Raises:
        InputError: a file that cannot be read or is something else, an unknown name, sizes that cannot run.
    """
    path = Path(word)
    if path.is_dir():
        path = path / "energy.json"
    if path.suffix == ".json":
        return _finished(word, path, fields)
    if path.suffix in (".yaml", ".yml") and path.is_file() and not _is_array(path):
        filed = load_mapping(path, _JOB_SCHEMA)
        _check_fields(path, filed)
        return _simulated(path.stem, filed | fields, word, f"{path} and {origin}")
    if "array" in fields:
        raise InputError(f"array must be the design itself, {word!r}, not an option beside it ({fields['array']!r})")
    return _simulated(path.stem if path.suffix else word, fields | {"array": word}, word, origin)


def _simulated(name: str, fields: dict[str, object], word: str, origin: str) -> Design:
    listed = {field: value for field, value in fields.items() if field in WorkloadJob.model_fields}
    fields = {field: value for field, value in fields.items() if field not in listed}
    if workload := validate_document(listed, WorkloadJob, origin).load():
        refuse_beside_workload(fields, {})
    job = validate_document(fields, Job, origin)
    array = job.with_cells(job.load_array())
    result = job.simulate(workload or load_shape(job.model), array)
    return Design(name, result, load_source(job.costs), True, word)


def _finished(word: str, path: Path, fields: dict[str, object]) -> Design:
    costs = str(fields["costs"]) if "costs" in fields else None
    if path.name == "energy.json":
        document = read_artifact(path, _ENERGY_SCHEMA, _ENERGY_VERSION, _REMEDY)
        try:
            own, mac = str(document["costs"]), str(document["machines"][0]["mac"])
        except (KeyError, IndexError, TypeError):
            raise InputError(f"{path}: must hold costs and machines; {_REMEDY}") from None
        costs, path = costs or own, path.with_name(f"sim-{mac}.json")
    result = read_result(path)
    name = path.parent.name if path.stem == f"sim-{result.array.mac}" and path.parent.name else path.stem
    suffix = "" if result.array.arithmetic.stores_trits else f", {result.array.mac}"
    return Design(f"{name}{suffix}", result, load_source(costs or Job().costs), False, word)


def _is_array(path: Path) -> bool:
    """Whether a YAML file is of an array: by its schema, or by its rows where it has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False  # the reader of jobs says what is wrong
    schema = _SCHEMA_LINE.search(text)
    if schema:
        return schema[1].startswith("tritforge.array.")
    return bool(_ROWS.search(text))


def _check_fields(path: Path, filed: dict[str, object]) -> None:
    known = [*Job.model_fields, *WorkloadJob.model_fields]
    for name in filed:
        if name not in known:
            raise InputError(
                f"{path}: field {name!r} must be one of {', '.join(known)}{did_you_mean(str(name), known)}; a job with "
                "weights or rivals is compared by its results: tritforge sim --job FILE --out FOLDER"
            )
