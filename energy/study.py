"""What-if studies: a YAML names a base job and axes; every combination is simulated, the Pareto front is marked."""

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from energy.costs.sources import load_source
from energy.job import Job
from energy.model import energy_of
from hw.artifact import sha256_json, write_artifact
from hw.config import ArrayConfig, load_array
from hw.document import Record, load_named, names_in, validate_document
from hw.errors import InputError
from quant.shapes import load_shape
from sim.execution import Execution
from sim.host import Host
from sim.memory import load_memory
from sim.result import SimResult

__all__ = [
    "METRICS",
    "Study",
    "StudyPoint",
    "StudyResult",
    "load_study",
    "pareto_front",
    "run_study",
    "study_names",
    "write_study",
]

STUDY_FOLDER = Path(__file__).parent / "studies"

_SCHEMA, _VERSION = "tritforge.study", 1
_MAX_POINTS = 10_000

# What a study can minimize; each is "smaller is better".
METRICS = {
    "decode_s_per_token": "s",
    "decode_j_per_token": "J",
    "prefill_s": "s",
    "prefill_j_per_token": "J",
    "lanes": "lanes",
    "buffer_bytes": "B",
}

_ARRAY_FIELDS = tuple(name for name in ArrayConfig.model_fields if name not in ("name", "description"))
_AXES = (
    *sorted(Job.model_fields, key=Execution.model_fields.__contains__),  # the machine before how it runs
    *(f"host.{name}" for name in Host.model_fields),
    *(f"array.{name}" for name in _ARRAY_FIELDS),
)

Value = bool | int | float | str | None


class Study(Record):
    """A study file. ``axes`` maps a job field, or ``array.<field>``, to the values to try."""

    file_schema: ClassVar[str | None] = "tritforge.whatif.1"

    name: str
    description: str = ""
    base: Job
    axes: Annotated[dict[str, Annotated[list[Value], Field(min_length=1)]], Field(min_length=1)]
    minimize: Annotated[list[str], Field(min_length=2, max_length=3)] = ["decode_s_per_token", "decode_j_per_token"]

    @property
    def points(self) -> int:
        """Combinations that it simulates."""
        return prod(map(len, self.axes.values()))

    @field_validator("axes")
    @classmethod
    def _known_axes(cls, axes: dict[str, list[Value]]) -> dict[str, list[Value]]:
        for name in axes:
            if name not in _AXES:
                raise ValueError(f"axis {name!r} must be one of {', '.join(_AXES)}")
        if (points := prod(map(len, axes.values()))) > _MAX_POINTS:
            raise ValueError(f"axes must span at most {_MAX_POINTS} points, not {points}")
        return axes

    @field_validator("minimize")
    @classmethod
    def _known_metrics(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in METRICS:
                raise ValueError(f"metric {name!r} must be one of {', '.join(METRICS)}")
        return names


class StudyPoint(Record):
    """One combination and its metrics."""

    values: dict[str, Value]
    metrics: dict[str, float]
    pareto: bool


class StudyResult(Record):
    """All combinations of a study."""

    study: Study
    points: list[StudyPoint]


def study_names() -> list[str]:
    """Names of the studies that ship with the project."""
    return names_in(STUDY_FOLDER)


def load_study(name: str) -> Study:
    """A shipped study by name, or a ``.yaml`` file.

    Raises:
        InputError: unknown name (the known ones are listed), missing file, unknown field, axis or metric.
    """
    return load_named(name, STUDY_FOLDER, Study, "study")


def run_study(study: Study, origin: str, tick: Callable[[int, int], None] = lambda done, total: None) -> StudyResult:
    """Simulate every combination; ``tick(done, total)`` is called after each.

    All combinations are validated before the first is simulated.

    Raises:
        InputError: a combination that cannot work, named by its values.
    """
    combinations = list(_combinations(study))
    machines = [_machine(study, values, origin) for values in combinations]
    measured = []
    for done, (job, array) in enumerate(machines, start=1):
        measured.append(_metrics(job, array))
        tick(done, len(machines))
    front = pareto_front([[metrics[name] for name in study.minimize] for metrics in measured])
    points = [
        StudyPoint(values=values, metrics=metrics, pareto=mark)
        for values, metrics, mark in zip(combinations, measured, front, strict=True)
    ]
    return StudyResult(study=study, points=points)


def pareto_front(rows: list[list[float]]) -> list[bool]:
    """True for each row that no other row beats: none is at most as large everywhere and smaller somewhere."""

    def beats(a: list[float], b: list[float]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return [not any(beats(other, row) for other in rows) for row in rows]


def write_study(path: Path, result: StudyResult) -> None:
    """Write ``study.json``."""
    write_artifact(
        path, _SCHEMA, _VERSION, result.model_dump(), {"study": sha256_json(result.study.model_dump(mode="json"))}
    )


def _combinations(study: Study) -> Iterator[dict[str, Value]]:
    for values in product(*study.axes.values()):
        yield dict(zip(study.axes, values, strict=True))


def _machine(study: Study, values: dict[str, Value], origin: str) -> tuple[Job, ArrayConfig]:
    """The job and the array of one combination, validated."""
    where = f"{origin}: point {', '.join(f'{name}={value}' for name, value in values.items())}"
    host = _fields_of("host.", values)
    fields = {name: value for name, value in values.items() if "." not in name}
    base = study.base.model_dump()
    job = validate_document(base | {"host": base["host"] | host} | fields, Job, where)
    array = load_array(job.array)
    if changed := _fields_of("array.", values):
        array = validate_document(array.model_dump() | changed, ArrayConfig, where)
    load_shape(job.model), load_memory(job.memory), load_source(job.costs)
    job.core_group.check(array)
    if job.decode == 0:
        raise InputError(f"{where}: decode must be at least 1 in a study, not 0")
    return job, array


def _fields_of(prefix: str, values: dict[str, Value]) -> dict[str, Value]:
    """Axes under ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _metrics(job: Job, array: ArrayConfig) -> dict[str, float]:
    return _figures(job.simulate(load_shape(job.model), array), job)


def _figures(result: SimResult, job: Job) -> dict[str, float]:
    energy = energy_of(result, load_source(job.costs))
    prefill, decode = energy.phase("prefill"), energy.phase("decode")
    array = result.array
    return {
        "decode_s_per_token": decode.seconds / decode.tokens,
        "decode_j_per_token": decode.joules_per_token,
        "prefill_s": prefill.seconds,
        "prefill_j_per_token": prefill.joules_per_token,
        "lanes": result.lanes,
        "buffer_bytes": array.weight_buffer_bytes
        + array.activation_buffer_bytes
        + job.cores * array.accumulator_buffer_bits / 8,
    }
