"""Searches: the rows of the points that Optuna proposes, the front of the whole grid, and a storage that goes on."""

import builtins

import pytest
import yaml

pytest.importorskip("optuna")

from energy.study import engine
from energy.study.document import load_study
from energy.study.engine import run_study
from energy.study.journal import Journal
from hw.errors import InputError

STUDY = {
    "name": "tiny",
    "base": {"model": "stories260K", "array": "8x8", "prefill": 8, "decode": 2, "costs": "horowitz-45nm"},
    "axes": {"array.token_tile": [4, 8], "memory": ["ddr4-2400", "hbm2-2000"], "batch": [1, 2, 4, 8, 0]},
    "zip": [{"array.rows": [8, 16], "array.cols": [8, 4]}],
}


def _study(tmp_path, trials=96, **changes):
    search = {"sampler": "nsga2", "trials": trials, "seed": 3} | changes.pop("search", {})
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes | {"search": search}))
    return load_study(str(path))


def _keys(points):
    return [tuple(point.values.values()) for point in points]


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3", "tpe"])
def test_a_search_finds_the_front_of_the_grid(tmp_path, sampler):
    """40 points, of which 8 cannot be: the best of every objective, and rows as the grid has them."""
    study = _study(tmp_path, search={"sampler": sampler})
    grid = run_study(study.model_copy(update={"search": None}), "grid")
    rows = {tuple(point.values.values()): point for point in grid.points}
    found = run_study(study, "search")
    assert len(set(_keys(found.points))) == len(found.points) <= 40
    for point in found.points:
        same = rows[tuple(point.values.values())]
        assert (point.metrics, point.reason, point.sha256) == (same.metrics, same.reason, same.sha256)
    for name in study.objectives:
        assert min(p.metrics[name] for p in found.front) == min(p.metrics[name] for p in grid.front)
    assert not any(point.feasible for point in found.points if point.values["batch"] == 0)


def test_equal_seeds_propose_equal_points(tmp_path):
    first, second = (_keys(run_study(_study(tmp_path, 40), "s").points) for _ in range(2))
    other = _keys(run_study(_study(tmp_path, 40, search={"seed": 4}), "s").points)
    assert first == second != other


def test_a_storage_goes_on_with_the_trials_that_are_left(tmp_path):
    storage = {"storage": str(tmp_path / "trials" / "tiny.journal")}
    told = []
    first = run_study(_study(tmp_path, 20, search=storage), "s", lambda *count: told.append(count))
    assert told[-1] == (20, 20)
    more = run_study(_study(tmp_path, 50, search=storage), "s", lambda *count: told.append(count))
    assert told[-2:] == [(20, 50), (50, 50)]
    assert _keys(more.points)[: len(first.points)] == _keys(first.points)
    with pytest.raises(InputError, match="must hold trials of this study, not of another"):
        run_study(_study(tmp_path, 50, search=storage, minimize=["lanes", "power_w"]), "s")


def test_a_storage_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a journal\nat all\n")
    with pytest.raises(InputError, match="must be a file of Optuna's journal") as caught:
        run_study(_study(tmp_path, search={"storage": str(path)}), "s")
    assert "\n" not in str(caught.value)


def test_rows_of_an_interrupted_search_are_not_measured_again(tmp_path, monkeypatch):
    study, measured, real = _study(tmp_path, 64), [], engine.measure

    def measure(base, values, catalog):
        measured.append(tuple(values.values()))
        if len(measured) == 20:
            raise KeyboardInterrupt
        return real(base, values, catalog)

    monkeypatch.setattr(engine, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, "s", journal=Journal(tmp_path / "rows", "tiny"))
    before = set(measured[:19])
    measured.clear()
    again = run_study(study, "s", journal=Journal(tmp_path / "rows", "tiny"))
    assert not before & set(measured)
    monkeypatch.setattr(engine, "measure", real)
    assert _keys(run_study(study, "s").points) == _keys(again.points)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"sampler": "random"}, "search.sampler"),
        ({"trials": 0}, "search.trials"),
        ({"seeds": 1}, "unknown field 'search.seeds'"),
    ],
)
def test_a_search_that_cannot_be_is_refused(tmp_path, search, message):
    with pytest.raises(InputError, match=message):
        _study(tmp_path, search=search)


def test_a_billion_points_may_be_searched(tmp_path):
    axes = {name: {"from": 1, "to": 1000, "step": 1} for name in ("prefill", "decode", "batch")}
    assert _study(tmp_path, axes=axes).points == 2 * 1000**3


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.partition(".")[0] == "optuna":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match="optuna is missing; install the search extra"):
        run_study(_study(tmp_path), "s")
