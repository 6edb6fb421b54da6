"""Judged points of a study in few bytes each: rows of fixed size in a file without a name, a point made when asked for.

A row is the hash of a point's inputs and its figures as float64 (not a number: it has none). What stays in memory is
the number of a reason and two flags per point, and the distinct reasons.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import overload
from weakref import WeakValueDictionary

import numpy as np

from energy.study.axes import Value
from hw.document import Record

__all__ = ["StoredPoints", "StudyPoint", "View"]

_BLOCK = 1024  # rows that are read together
_IN, _ABSENT = -1, -2  # in the place of a reason's number: the point counts; it is still to be put


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


class View(Sequence[StudyPoint]):
    """Some of the stored points, in an order of their own."""

    def __init__(self, points: "StoredPoints", indices: np.ndarray) -> None:
        self._points, self._indices = points, indices

    def __len__(self) -> int:
        """How many."""
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> StudyPoint: ...
    @overload
    def __getitem__(self, index: slice) -> "View": ...
    def __getitem__(self, index: int | slice) -> "StudyPoint | View":
        """A point, or some."""
        if isinstance(index, slice):
            return View(self._points, self._indices[index])
        return self._points[int(self._indices[index])]

    def __iter__(self) -> Iterator[StudyPoint]:
        """Each made when it is reached."""
        return (self._points[int(index)] for index in self._indices)


class StoredPoints(Sequence[StudyPoint]):
    """Points by their number, put in any order.

    ``names``: of figures; ``values_of``: values by axis of the point of a number.
    """

    def __init__(self, names: Sequence[str], count: int, values_of: Callable[[int], dict[str, Value]]) -> None:
        self._names, self._values_of = list(names), values_of
        self._row = np.dtype(
            [("sha256", np.uint8, (32,)), ("measured", np.bool_), ("figures", np.float64, (len(self._names),))]
        )
        self._file = TemporaryFile()  # noqa: SIM115  closed with the last reference to it
        self._reasons: dict[str, int] = {}  # with their numbers
        self._told: list[str] = []
        self._why = np.full(count, _ABSENT, np.int32)
        self._pareto = np.zeros(count, np.bool_)
        self._best = np.zeros(count, np.uint8)  # a bit per objective
        self._objectives: list[str] = []
        # Points of the front that somebody holds: readers tell them apart by identity.
        self._held: WeakValueDictionary[int, StudyPoint] = WeakValueDictionary()

    def put(self, number: int, point: StudyPoint) -> None:
        """Store a judged point under its number; its values are those of ``values_of``."""
        row = np.zeros((), self._row)
        row["sha256"] = np.frombuffer(bytes.fromhex(point.sha256), np.uint8)
        row["measured"] = bool(point.metrics)
        figures = (point.metrics.get(name) for name in self._names)
        row["figures"] = [np.nan if value is None else value for value in figures]
        os.pwrite(self._file.fileno(), row.tobytes(), number * self._row.itemsize)
        if point.reason is None:
            self._why[number] = _IN
            return
        if point.reason not in self._reasons:
            self._reasons[point.reason] = len(self._told)
            self._told.append(point.reason)
        self._why[number] = self._reasons[point.reason]

    def holds(self, number: int) -> bool:
        """Whether the point of ``number`` was put."""
        return bool(self._why[number] != _ABSENT)

    @property
    def feasible(self) -> np.ndarray:
        """Numbers of the points that count."""
        return np.flatnonzero(self._why == _IN)

    @property
    def front(self) -> np.ndarray:
        """Numbers of the points that no other beats."""
        return np.flatnonzero(self._pareto)

    def reasons(self) -> Counter[str]:
        """Why points are out, with how many each."""
        numbers, counts = np.unique(self._why[self._why >= 0], return_counts=True)
        return Counter({self._told[number]: int(count) for number, count in zip(numbers, counts, strict=True)})

    def figures(self, names: Sequence[str], numbers: np.ndarray) -> np.ndarray:
        """Figures of some points, not a number where there are none: float64 ``(numbers, names)``."""
        found = np.empty((len(numbers), len(names)))
        columns = [self._names.index(name) for name in names]
        for first in range(0, len(self), _BLOCK):
            here = slice(*np.searchsorted(numbers, (first, first + _BLOCK)))
            if here.start < here.stop:
                found[here] = self._rows(first)["figures"][numbers[here] - first][:, columns]
        return found

    def mark(self, objectives: Sequence[str], pareto: np.ndarray, best: np.ndarray) -> None:
        """Say which points are on the front, and of each the bits of the objectives in which it equals the best."""
        self._objectives, self._pareto, self._best = list(objectives), pareto, best
        self._held.clear()

    def __len__(self) -> int:
        """How many there are, or will be."""
        return len(self._why)

    @overload
    def __getitem__(self, index: int) -> StudyPoint: ...
    @overload
    def __getitem__(self, index: slice) -> View: ...
    def __getitem__(self, index: int | slice) -> StudyPoint | View:
        """A point, or some."""
        if isinstance(index, slice):
            return View(self, np.arange(len(self))[index])
        number = range(len(self))[index]
        return self._point(number, self._rows(number, 1)[0])

    def __iter__(self) -> Iterator[StudyPoint]:
        """Each made when it is reached."""
        for first in range(0, len(self), _BLOCK):
            for offset, row in enumerate(self._rows(first)):
                yield self._point(first + offset, row)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same points."""
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _rows(self, first: int, count: int = _BLOCK) -> np.ndarray:
        count = min(count, len(self) - first)
        size = self._row.itemsize
        return np.frombuffer(os.pread(self._file.fileno(), count * size, first * size), self._row)

    def _point(self, number: int, row: np.ndarray) -> StudyPoint:
        if held := self._held.get(number):
            return held
        metrics: dict[str, float | None] = {}
        if row["measured"]:
            figures = zip(self._names, row["figures"].tolist(), strict=True)
            metrics = {name: value if value == value else None for name, value in figures}
        why, best = int(self._why[number]), int(self._best[number])
        point = StudyPoint.model_construct(
            values=self._values_of(number),
            metrics=metrics,
            reason=None if why == _IN else self._told[why],
            pareto=bool(self._pareto[number]),
            equal_to_best=[name for bit, name in enumerate(self._objectives) if best >> bit & 1],
            sha256=row["sha256"].tobytes().hex(),
        )
        if point.pareto:
            self._held[number] = point
        return point
