"""The worked studies: committed figures are those of their points, run again on a corner of their axes."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from energy.__main__ import main
from energy.reports.studies import WORKED, worked_row
from energy.study.document import load_study
from energy.study.engine import run_study

ROOT = Path(__file__).parents[3]
ROWS = {row["name"]: row for row in json.loads((ROOT / "docs" / "results" / "studies.json").read_text())}


def test_at_least_ten_studies_answer_a_question_in_their_first_line():
    assert list(ROWS) == list(WORKED)
    assert len(WORKED) >= 10
    for name, row in ROWS.items():
        study = load_study(name)
        assert study.description == row["question"]
        assert row["question"].endswith("?")
        assert len(row["points"]) == study.points
        assert [list(values.values()) for values in study.combinations()] == [one["values"] for one in row["points"]]


@pytest.mark.parametrize("name", WORKED)
def test_its_first_and_last_points_are_measured_again(name):
    """Of every axis the last value, then of all the first."""
    study, row = load_study(name), ROWS[name]
    for at in (0, -1):
        changes = {
            "axes": {axis: [values[at]] for axis, values in study.axes.items()},
            "zip": [{axis: [values[at]] for axis, values in group.items()} for group in study.zip],
        }
        corner = run_study(study.model_copy(update=changes), name)
        (point,) = worked_row(corner)["points"]
        assert point == row["points"][at]


def test_every_study_has_its_picture():
    for name in WORKED:
        picture = ROOT / "docs" / "images" / "studies" / f"{name}.svg"
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")
        assert picture.stat().st_size < 40_000


def test_a_study_writes_its_picture_and_none_where_nothing_counts(tmp_path, capsys):
    path = tmp_path / "study.yaml"
    study = {"name": "tiny", "base": {"model": "stories260K", "array": "8x8", "prefill": 8, "decode": 2}}
    for limit, there in ((1000, True), (1e-9, False)):
        limited = study | {"axes": {"batch": [1, 2]}, "constraints": [f"power_w <= {limit}"]}
        path.write_text(json.dumps(limited))
        main(["whatif", "--study", str(path), "--out", str(tmp_path / str(there))])
        assert ("A: batch" in capsys.readouterr().out) is there
        assert (tmp_path / str(there) / "front.svg").exists() is there


def test_every_letter_of_an_answer_says_what_it_is():
    page = (ROOT / "docs" / "studies.md").read_text()
    for row in ROWS.values():
        assert [one[:3] for one in row["designs"]] == [f"{letter}: " for letter in "ABC"[: len(row["designs"])]]
        assert all(f"- {one}" in page for one in row["designs"])
    assert ROWS["dram"]["designs"][0].startswith("A: memory hbm3-6400 (user time per token ")
