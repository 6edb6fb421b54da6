"""``Study``: the YAML that names a base job, axes, constraints, derived metrics and what is to be small or large."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from energy.sizing import Hold
from energy.study.axes import MAX_POINTS, Axis, Value
from energy.study.expressions import Constraint, Expression, contradiction
from energy.study.front import MAX_OBJECTIVES
from energy.study.machine import AXES, NAMED, NOT_SIMULATED, PLACEMENT, Catalog, is_axis
from energy.study.metrics import FIGURES, METRICS, metric_of, rival_figures
from energy.study.search import Search
from energy.study.setting import StudyJob
from hw.arithmetics import Mac
from hw.document import Record, load_named, names_in
from hw.errors import InputError, did_you_mean

__all__ = ["Derived", "Study", "load_study", "study_names"]

STUDY_FOLDER = Path(__file__).parents[1] / "studies"

_BESIDE = ("rivals", "hold", "fits")  # fields of the job that a study may name beside ``base``
_OF_MODELS, _OF_WORKLOADS = ("user_s_per_token", "decode_j_per_token"), ("request_s", "j_per_request")  # to minimize
_RENAMED = {  # of the studies before figures of users and of machines had names of their own
    "decode_s_per_token": "user_s_per_token, which a user waits, or maximize decode_tokens_per_s",
    "prefill_s": "first_token_s",
}


class Derived(Record):
    """A metric made of others."""

    expression: str = Field(description="numbers, metrics, axes and + - * / // % ** ( ), min max abs sqrt log2 log10")
    unit: Annotated[str, Field(min_length=1)] = Field(
        description="unit in which it is shown, such as tokens/J; 1: none"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_unit(cls, given: object) -> object:
        if not isinstance(given, dict) or "expression" not in given:
            raise ValueError("must have an expression and a unit")
        if not given.get("unit"):
            raise ValueError("must have a unit, such as tokens/J, or 1 where it has none")
        return given | {"unit": "1"} if given["unit"] == 1 else given


def _about(name: str) -> str:
    return StudyJob.model_fields[name].description or ""


class Study(Record):
    """A study file; ``rivals``, ``hold`` and ``fits`` may stand in ``base`` as well."""

    file_schema: ClassVar[str | None] = "tritforge.whatif.1"

    name: str = Field(description="names the folder of the results")
    description: str = Field("", description="the question that the study answers")
    base: StudyJob = Field(description="fields of every job; axes replace them")
    rivals: list[Mac] = Field([], description=_about("rivals"))
    hold: Hold | None = Field(None, description=f"{_about('hold')}; by default lanes")
    fits: str | None = Field(None, description=_about("fits"))
    axes: dict[str, Axis] = Field(
        {}, description="field -> values to try: a list, or from and to with step, factor or log_points"
    )
    zip: list[dict[str, Axis]] = Field(
        [], description="linked axes: each entry maps fields to equally many values, which change together"
    )
    constraints: list[str] = Field(
        [], description="comparisons such as power_w <= 2; a point that does not meet one keeps its row, and the reason"
    )
    derived: dict[str, Derived] = Field({}, description="metrics of your own: name -> expression and unit")
    search: Search | None = Field(
        None, description="in place of every combination: sampler nsga2, nsga3 or tpe, trials, seed, storage"
    )
    minimize: list[str] = Field(
        [],
        description="metrics, small is good; by default user_s_per_token and decode_j_per_token, or request_s "
        "and j_per_request of a workload",
    )
    maximize: list[str] = Field([], description="metrics, large is good")

    @model_validator(mode="before")
    @classmethod
    def _one_base(cls, given: object) -> object:
        """What is compared with and set against is a field of the job."""
        if not isinstance(given, dict) or not isinstance(base := given.get("base"), dict):
            return given
        beside = {name: given[name] for name in _BESIDE if given.get(name)}
        for name in beside:
            if base.get(name) not in (None, [], beside[name]):
                raise ValueError(
                    f"{name} must be given once, in base or beside it, not as {base[name]!r} and {beside[name]!r}"
                )
        return given | {"base": base | beside}

    @model_validator(mode="before")
    @classmethod
    def _default_objectives(cls, given: object) -> object:
        if isinstance(given, dict) and not given.get("minimize") and not given.get("maximize"):
            base, axes = (given.get(name) for name in ("base", "axes"))
            listed = any(isinstance(one, dict) and "workload" in one for one in (base, axes))
            return given | {"minimize": [*(_OF_WORKLOADS if listed else _OF_MODELS)]}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        self._check_axes()
        self._check_derived()
        parsed = [self._known(Constraint(text), f"constraint {text!r}") for text in self.constraints]
        if clash := contradiction(parsed):
            first, second = (one.text for one in clash)
            raise ValueError(f"constraints {first!r} and {second!r} must be met by some value, not exclude each other")
        for name in self.objectives:
            if name not in (known := self.figures):
                meant = f"; say {_RENAMED[name]}" if name in _RENAMED else did_you_mean(name, known)
                raise ValueError(f"metric {name!r} must be one of {', '.join((*METRICS, *self.derived))}{meant}")
        if not 2 <= len(set(self.objectives)) == len(self.objectives) <= MAX_OBJECTIVES:
            raise ValueError(f"minimize and maximize must name 2 or {MAX_OBJECTIVES} different metrics together")
        return self

    @property
    def columns(self) -> list[str]:
        """Fields that axes set."""
        return [*self.axes, *(name for group in self.zip for name in group)]

    @property
    def figures(self) -> list[str]:
        """Names of all figures of a row."""
        return [*FIGURES, *rival_figures(self.base.rivals), *self.derived]

    @property
    def objectives(self) -> list[str]:
        """Metrics that the front compares."""
        return [*self.minimize, *self.maximize]

    @property
    def points(self) -> int:
        """Combinations that it simulates."""
        return math.prod((*map(len, self.axes.values()), *(len(next(iter(group.values()))) for group in self.zip)))

    def unit(self, name: str) -> str:
        """Unit of a metric or of a derived one."""
        return self.derived[name].unit if name in self.derived else metric_of(name).unit

    def combinations(self) -> Iterator[dict[str, Value]]:
        """Values by axis of every point; costs, holds and parts change fastest: points that differ in them run once."""
        for parts in product(*self.steps().values()):
            values = {name: value for part in parts for name, value in part.items()}
            yield {name: values[name] for name in self.columns}

    def numbered(self) -> Callable[[int], dict[str, Value]]:
        """The function that gives the values by axis of the point of a number, as ``combinations`` counts them."""
        steps, columns = [*self.steps().values()], self.columns

        def combination(number: int) -> dict[str, Value]:
            values: dict[str, Value] = {}
            for step in reversed(steps):
                number, index = divmod(number, len(step))
                values |= step[index]
            return {name: values[name] for name in columns}

        return combination

    def steps(self) -> dict[str, list[dict[str, Value]]]:
        """What may be chosen independently, by its axis or its linked axes: the fields that each choice sets."""
        steps = {name: [{name: value} for value in values] for name, values in self.axes.items()}
        for group in self.zip:
            values = zip(*group.values(), strict=True)
            steps["+".join(group)] = [dict(zip(group, one, strict=True)) for one in values]
        return dict(sorted(steps.items(), key=lambda step: NOT_SIMULATED.issuperset(step[1][0])))

    @property
    def alike(self) -> int:
        """Points in a row that one simulation serves."""
        return math.prod(len(step) for step in self.steps().values() if NOT_SIMULATED.issuperset(step[0]))

    def check_documents(self, origin: str) -> None:
        """Load everything that the study names, so that a misspelled name is no infeasible point.

        Raises:
            InputError: an unknown name or a faulty file, by its axis.
        """
        catalog = Catalog()
        named = {name: values for group in ({k: [v] for k, v in self.base.model_dump().items()}, self.axes, *self.zip)
                 for name, values in group.items() if name in NAMED}  # fmt: skip
        for name, values in named.items():
            for value in values:
                if not isinstance(value, str):
                    raise InputError(f"{origin}: axis {name!r} must hold names, not {value!r}")
            try:
                catalog.check_names(name, values)
            except InputError as error:
                raise InputError(f"{origin}: {error}") from None

    def _check_axes(self) -> None:
        if not self.axes and not self.zip:
            raise ValueError("axes or zip must name at least 1 field")
        columns = self.columns
        for name in columns:
            if not is_axis(name):
                raise ValueError(
                    f"axis {name!r} must be one of {', '.join(AXES)}, {PLACEMENT}OP{did_you_mean(name, AXES)}"
                )
            if columns.count(name) > 1:
                raise ValueError(f"axis {name!r} must be given once, not {columns.count(name)} times")
        for group in self.zip:
            counts = {name: len(values) for name, values in group.items()}
            if len(set(counts.values())) != 1:
                shown = ", ".join(f"{count} of {name}" for name, count in counts.items()) or "none"
                raise ValueError(f"linked axes must have equally many values, not {shown}")
        if (points := self.points) > MAX_POINTS and self.search is None:
            raise ValueError(
                f"axes must span at most {MAX_POINTS} points, not {points}; take a coarser step, or search among them"
            )

    def _check_derived(self) -> None:
        taken = {*FIGURES, *rival_figures(self.base.rivals), *AXES}
        for name, metric in self.derived.items():
            if not name.isidentifier() or name in taken:
                raise ValueError(f"derived metric {name!r} must be a new name of letters, digits and _")
            known = [*taken, *list(self.derived)[: list(self.derived).index(name)]]
            _check_names(Expression(metric.expression).names, known, f"derived metric {name!r}")

    def _known(self, constraint: Constraint, where: str) -> Constraint:
        _check_names(constraint.names, [*self.figures, *AXES], where)
        return constraint


def study_names() -> list[str]:
    """Names of the studies that ship with the project."""
    return names_in(STUDY_FOLDER)


def load_study(name: str) -> Study:
    """A shipped study by name, or a ``.yaml`` file.

    Raises:
        InputError: unknown name (the known ones are listed), missing file, unknown field, axis or metric.
    """
    return load_named(name, STUDY_FOLDER, Study, "study")


def _check_names(names: set[str], known: list[str], where: str) -> None:
    for name in sorted(names):
        if name not in known:
            meant = did_you_mean(name, known) or f"; metrics are {', '.join(METRICS)}"
            raise ValueError(f"{where} must be of metrics and fields, not {name!r}{meant}")
