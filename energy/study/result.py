"""``StudyResult``: a row per point with the hash of its inputs, its figures or the reason why it has none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import SkipValidation

from energy.study.axes import Value
from energy.study.document import Study
from energy.study.expressions import Constraint, Expression
from energy.study.front import Front
from energy.study.machine import Catalog, fields_of_machine
from energy.study.metrics import FIGURES
from energy.study.points import StoredPoints, StudyPoint, View
from energy.study.ranges import equal_to
from hw.artifact import sha256_json, write_artifact
from hw.document import Record
from hw.errors import InputError

__all__ = [
    "STUDY_SCHEMA",
    "STUDY_VERSION",
    "Judge",
    "Measured",
    "StudyPoint",
    "StudyResult",
    "marked",
    "study_sha256",
    "write_study",
]

STUDY_SCHEMA, STUDY_VERSION = "tritforge.study", 2
_MOST_POINTS = 10_000  # in study.json; a larger study has its front there and every row in the tables beside it
_BLOCK = 4096  # points that the front takes at a time


class Measured(Record):
    """What one simulated point gave, before constraints and derived metrics."""

    sha256: str  # of its inputs
    figures: dict[str, float | None] = {}  # by the names of FIGURES
    reason: str | None = None  # why there are no figures


class StudyResult(Record):
    """All combinations of a study; points are made when they are asked for."""

    study: Study
    points: Annotated[Sequence[StudyPoint], SkipValidation]  # ``StoredPoints`` of a run

    @property
    def feasible(self) -> Sequence[StudyPoint]:
        """Points that count."""
        if isinstance(self.points, StoredPoints):
            return View(self.points, self.points.feasible)
        return [point for point in self.points if point.feasible]

    @property
    def best_first(self) -> Sequence[StudyPoint]:
        """Points that count, by the first objective."""
        name = self.study.objectives[0]
        sign = 1 if name in self.study.minimize else -1
        if isinstance(self.points, StoredPoints):
            counting = self.points.feasible
            order = np.argsort(sign * self.points.figures([name], counting)[:, 0], kind="stable")
            return View(self.points, counting[order])
        return sorted(self.feasible, key=lambda point: sign * (point.metrics[name] or 0.0))

    @property
    def front(self) -> Sequence[StudyPoint]:
        """Points that no other beats in all of the objectives."""
        if isinstance(self.points, StoredPoints):
            return View(self.points, self.points.front)
        return [point for point in self.points if point.pareto]

    def reasons(self) -> list[tuple[str, int]]:
        """Why points are out, with how many each; the most frequent first. Figures of one constraint count as one."""
        if isinstance(self.points, StoredPoints):
            told = self.points.reasons()
        else:
            told = Counter(point.reason for point in self.points if point.reason)
        heads: Counter[str] = Counter()
        for reason, count in told.items():
            heads[reason.partition(" is not met")[0]] += count
        return heads.most_common()


class Judge:
    """Derives metrics and judges constraints of a study's rows."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._derived = {name: Expression(metric.expression) for name, metric in study.derived.items()}
        self._constraints = [Constraint(text) for text in study.constraints]
        self._catalog, self._wanted = Catalog(), _fields_wanted(self._derived, self._constraints)

    def point(self, values: dict[str, Value], row: Measured) -> StudyPoint:
        """The point of ``values``, whose row is ``row``."""
        figures, reason = row.figures, row.reason
        if reason is None:
            fields = fields_of_machine(self._catalog.machine(self.study.base, values)) if self._wanted else {}
            figures, reason = _judged(self.study, figures, fields, self._derived, self._constraints)
        # of values that were checked when measured: a second check would copy every dict
        return StudyPoint.model_construct(values=values, metrics=figures, reason=reason, sha256=row.sha256)


def marked(study: Study, points: StoredPoints) -> StudyResult:
    """``points``, all of them judged, with the front and what equals the best marked."""
    signs = np.array([1 if name in study.minimize else -1 for name in study.objectives])
    counting = points.feasible
    figures = points.figures(study.objectives, counting)  # (points, objectives)
    front = Front()
    for first in range(0, len(counting), _BLOCK):
        front.add((signs * figures[first : first + _BLOCK]).tolist())
    pareto, best = np.zeros(len(points), np.bool_), np.zeros(len(points), np.uint8)
    pareto[counting] = [tuple(row) in front for row in (signs * figures).tolist()]
    if len(counting):
        least = [points[int(number)] for number in counting[np.argmin(signs * figures, axis=0)]]
        for number, point in zip(counting, View(points, counting), strict=True):
            best[number] = equal_to(study, least, point)
    points.mark(study.objectives, pareto, best)
    return StudyResult(study=study, points=points)


def study_sha256(study: Study) -> str:
    """Hash of all that a study says."""
    return sha256_json(study.model_dump(mode="json"))


def write_study(path: Path, result: StudyResult) -> None:
    """Write ``study.json``: every point, or the front alone of a study of more than ten thousand."""
    whole = len(result.points) <= _MOST_POINTS
    body = {
        "study": result.study.model_dump(),
        "feasible": len(result.feasible),
        "reasons": dict(result.reasons()),
        "complete": whole,
        "points": [point.model_dump() for point in (result.points if whole else result.front)],
    }
    write_artifact(path, STUDY_SCHEMA, STUDY_VERSION, body, {"study": study_sha256(result.study)})


def _fields_wanted(derived: Mapping[str, Expression], constraints: list[Constraint]) -> bool:
    """True where an expression uses a field of the job or of its documents."""
    names = set().union(*(one.names for one in (*derived.values(), *constraints)))
    return any(name not in derived and name not in FIGURES and name.count(".") < 2 for name in names)


def _judged(
    study: Study,
    figures: dict[str, float | None],
    fields: Mapping[str, object],
    derived: Mapping[str, Expression],
    constraints: list[Constraint],
) -> tuple[dict[str, float | None], str | None]:
    """``figures`` with the derived ones, and the first reason why the row is out."""
    reasons, figures = [], dict(figures) if derived else figures
    for name, expression in derived.items():
        try:
            figures[name] = expression.value(fields | figures)
        except InputError as error:
            figures[name] = None
            reasons.append(f"{name}: {error}")
    for constraint in constraints:
        try:
            reasons.append(constraint.violation(fields | figures))
        except InputError as error:
            reasons.append(f"{constraint.text}: {error}")
    reasons += [
        f"{name} has no figure here, and is to be compared" for name in study.objectives if figures[name] is None
    ]
    return figures, next((reason for reason in reasons if reason), None)
