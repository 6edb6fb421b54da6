"""The worked studies: committed figures are those of their points, run again on a corner of their axes."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from energy.__main__ import main
from energy.reports.answer import designs_text
from energy.reports.pages.document import provenance
from energy.reports.pages.study import study_html, study_picture
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


SHAPES = {"name": "tiny", "base": {"model": "stories260K", "array": "8x8", "prefill": 8, "decode": 2}}


def texts_of(study, tmp_path):
    """Texts of the picture of ``study``, and its result."""
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study))
    result = run_study(load_study(str(path.rename(path.with_suffix(".yaml")))), "test")
    return [
        one.text for one in ElementTree.fromstring(study_picture(result)).iter() if one.tag.endswith("text")
    ], result


def test_a_picture_names_points_by_their_values_and_draws_the_rivals_of_its_designs(tmp_path):
    texts, _ = texts_of(SHAPES | {"axes": {"batch": [1, 4]}, "rivals": ["int8"]}, tmp_path)
    assert {"A: 1", "B: 4", "A in INT8", "B in INT8"} <= set(texts)


def test_the_page_lists_the_base_without_brackets(tmp_path):
    base = SHAPES["base"] | {"array_fields": {"vector_lanes": 4}}
    _, result = texts_of(SHAPES | {"base": base, "axes": {"batch": [1, 4]}, "rivals": ["int8", "fp16"]}, tmp_path)
    page = study_html(result, provenance(["tritforge"], {}))
    assert "<span>rivals int8, fp16</span>" in page
    assert "<span>array_fields vector_lanes 4</span>" in page
    assert "squares: the same in rivals’ arithmetic" in page


def test_many_axes_are_not_written_beside_points(tmp_path):
    axes = {"batch": [1, 4], "cores": [1], "prefill": [8], "decode": [2]}
    texts, _ = texts_of(SHAPES | {"axes": axes}, tmp_path)
    assert {"A", "B"} <= set(texts)


def test_figures_of_an_answer_have_their_units(tmp_path):
    derived = {"int8_token": {"expression": "rival.int8.user_s_per_token / user_s_per_token", "unit": "times"}}
    study = SHAPES | {"axes": {"batch": [1, 4]}, "rivals": ["int8"], "derived": derived}
    study |= {"minimize": ["user_s_per_token"], "maximize": ["decode_tokens_per_s", "saved.int8.decode_j_per_token"]}
    _, result = texts_of(study, tmp_path)
    text = designs_text(result)[0]
    times = result.front[0].metrics["int8_token"]
    assert re.search(r"decode speed [\d.e+]+.tokens/s, decode energy per token saved against INT8 -?[\d.]+", text)
    assert f"int8 token {times:.3g} times" in text


def test_a_picture_has_paper_of_its_own_as_large_as_itself():
    """A page may be light where the system is dark: the letters follow the system, and so must what they stand on."""
    root = ElementTree.parse(ROOT / "docs" / "images" / "studies" / "node.svg").getroot()
    style, paper, figure = root
    assert (style.tag.rpartition("}")[2], paper.get("class"), paper.get("width")) == ("style", "paper", "100%")
    assert int(root.get("width")) > int(figure.get("width"))
