"""``StudyResult``: a row per point with the hash of its inputs, its figures or the reason why it has none."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from energy.study.axes import Value
from energy.study.document import Study
from energy.study.expressions import Constraint, Expression
from energy.study.front import pareto_front
from energy.study.machine import Catalog, fields_of_machine
from energy.study.metrics import FIGURES
from energy.study.ranges import equal_to_best
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
    "finished",
    "study_sha256",
    "write_study",
]

STUDY_SCHEMA, STUDY_VERSION = "tritforge.study", 2
_MOST_POINTS = 10_000  # in study.json; a larger study has its front there and every row in the tables beside it


class Measured(Record):
    """What one simulated point gave, before constraints and derived metrics."""

    sha256: str  # of its inputs
    figures: dict[str, float | None] = {}  # by the names of FIGURES
    reason: str | None = None  # why there are no figures


class StudyPoint(Record):
    """One combination: its figures, or why it is out, or both where only a constraint is not met."""

    values: dict[str, Value]
    metrics: dict[str, float | None]  # empty where nothing could be simulated
    reason: str | None = None  # why it does not count; None: it does
    pareto: bool = False
    equal_to_best: list[str] = []  # objectives in which it cannot be told apart from the best, as ranges go
    sha256: str  # of its inputs

    @property
    def feasible(self) -> bool:
        """True for a point that can be built, runs, and meets every constraint."""
        return self.reason is None


class StudyResult(Record):
    """All combinations of a study."""

    study: Study
    points: list[StudyPoint]

    @property
    def feasible(self) -> list[StudyPoint]:
        """Points that count."""
        return [point for point in self.points if point.feasible]

    @property
    def front(self) -> list[StudyPoint]:
        """Points that no other beats in all of the objectives."""
        return [point for point in self.points if point.pareto]

    def reasons(self) -> list[tuple[str, int]]:
        """Why points are out, with how many each; the most frequent first. Figures of one constraint count as one."""
        heads = Counter(point.reason.partition(" is not met")[0] for point in self.points if point.reason)
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


def finished(study: Study, measured: Iterable[tuple[dict[str, Value], Measured]]) -> StudyResult:
    """Points with their rows, in this order: derived, judged, the front marked."""
    judge = Judge(study)
    return StudyResult(study=study, points=_marked(study, [judge.point(values, row) for values, row in measured]))


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


def _marked(study: Study, points: list[StudyPoint]) -> list[StudyPoint]:
    signs = {name: 1 if name in study.minimize else -1 for name in study.objectives}
    rows = [
        [sign * point.metrics[name] for name, sign in signs.items()] if point.feasible else []  # type: ignore[operator]
        for point in points
    ]
    feasible = [point for point, row in zip(points, rows, strict=True) if row]
    marks = zip(pareto_front([row for row in rows if row]), equal_to_best(study, feasible), strict=True)
    return [_with_marks(point, *next(marks)) if row else point for point, row in zip(points, rows, strict=True)]


def _with_marks(point: StudyPoint, pareto: bool, best: list[str]) -> StudyPoint:
    return point.model_copy(update={"pareto": pareto, "equal_to_best": best})
