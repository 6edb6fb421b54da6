"""Judged points as they are stored: what comes back is what was put, and a point takes a few bytes of memory."""

import tracemalloc
from hashlib import sha256

import pytest

from energy.study import engine
from energy.study.document import Study
from energy.study.engine import run_study
from energy.study.metrics import FIGURES
from energy.study.points import StoredPoints, StudyPoint
from energy.study.result import Measured, StudyResult, marked
from energy.study.tables import write_csv

BASE = {"model": "stories260K", "array": "8x8"}


def study(points, **fields):
    """Short axes: the values of an axis are held as they are."""
    axes = {"prefill": {"from": 1, "to": points // 10, "step": 1}, "decode": {"from": 1, "to": 10, "step": 1}}
    return Study(name="many", base=BASE, axes=axes, **fields)


def simulated(base, values, catalog):
    """A row in the place of a simulated one: the longer a prompt, the slower and the more frugal."""
    prompt = 10 * values["prefill"] + values["decode"] - 10
    figures = {name: float(prompt % 7 + 1) for name in FIGURES} | {"perplexity": None}
    figures |= {"user_s_per_token": float(prompt), "decode_j_per_token": 1 / prompt}
    if prompt % 10 == 0:
        return Measured(sha256=sha256(str(prompt).encode()).hexdigest(), reason="too long")
    return Measured(sha256=sha256(str(prompt).encode()).hexdigest(), figures=figures)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(engine, "measure", simulated)


def test_points_come_back_as_they_were_put():
    names, zeros = ["user_s_per_token", "decode_j_per_token", "perplexity"], "0" * 64
    values = [{"batch": 1}, {"batch": 2}, {"batch": 4}]
    given = [
        StudyPoint(values=values[0], metrics=dict(zip(names, (1.5, 2.0, None), strict=True)), sha256="0" * 62 + "ff"),
        StudyPoint(values=values[1], metrics={}, reason="does not fit", sha256="ab" * 32),
        StudyPoint(values=values[2], metrics=dict.fromkeys(names, 0.1), reason="late", sha256=zeros),
    ]  # fmt: skip
    stored = StoredPoints(names, 3, values.__getitem__)
    assert not any(map(stored.holds, range(3)))
    for number in (2, 0, 1):
        stored.put(number, given[number])
    assert all(map(stored.holds, range(3)))
    assert [*stored] == [*stored[:]] == [stored[0], stored[1], stored[-1]] == given
    assert stored.reasons() == {"does not fit": 1, "late": 1}
    with pytest.raises(IndexError):
        stored[3]


def test_views_of_a_result_are_those_of_its_points_as_a_list(fake):
    stored = run_study(study(60, constraints=["user_s_per_token <= 40"]), "many")
    listed = StudyResult(study=stored.study, points=[*stored.points])
    for name in ("feasible", "front", "best_first"):
        assert [*getattr(stored, name)] == [*getattr(listed, name)]
    assert len(stored.feasible) == 36
    assert [*stored.feasible[::7]] == [*listed.feasible[::7]]
    assert stored.reasons() == listed.reasons() == [("user_s_per_token <= 40", 18), ("too long", 6)]


def test_a_point_of_the_front_is_one_object_however_it_is_reached(fake):
    """Readers name the designs of an answer by identity; nobody keeps what nobody holds."""
    result = run_study(study(30), "many")
    front, again = [*result.front], [*result.best_first]
    assert {id(point) for point in front} == {id(point) for point in again}
    assert len(front) == len(result.feasible) == 27


def traced(points, **fields):
    """Bytes that a study of so many points keeps, and takes at most."""
    tracemalloc.start()
    try:
        result = run_study(study(points, **fields), "many")
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        del result


def test_a_point_keeps_a_few_bytes_and_takes_few_more(fake, tmp_path):
    """Though every seventh is of the front, and equal to the others there."""
    fields = {"minimize": ["first_token_s", "prefill_j_per_token"]}
    traced(100, **fields)  # what is imported and cached
    (kept, peak), (kept_more, peak_more) = (traced(points, **fields) for points in (3000, 9000))
    assert (kept_more - kept) / 6000 < 50
    assert (peak_more - peak) / 6000 < 200


def test_tables_are_written_without_holding_all_points(fake, tmp_path):
    result = run_study(study(5000, minimize=["first_token_s", "prefill_j_per_token"]), "many")
    tracemalloc.start()
    try:
        write_csv(tmp_path / "points.csv", result)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len((tmp_path / "points.csv").read_text().splitlines()) == 5001
    assert peak < 3_000_000  # one block of rows; 5000 points are 20 MB


def test_no_point_makes_no_front():
    assert len(marked(study(10), StoredPoints([*FIGURES], 0, {}.__getitem__)).front) == 0
