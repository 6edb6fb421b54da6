"""Studies: every combination simulated, faulty files refused before the first."""

import json

import pytest
import yaml

from energy.__main__ import main
from energy.study import load_study, run_study
from hw.errors import InputError

STUDY = {
    "name": "tiny",
    "base": {"model": "stories260K", "array": "8x8", "prefill": 8, "decode": 2},
    "axes": {"array.token_tile": [4, 8], "memory": ["ddr4-2400", "hbm2-2000"], "costs": ["horowitz-45nm"]},
}


def _write(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes))
    return str(path)


def test_every_combination_is_simulated_once(tmp_path):
    result = run_study(load_study(_write(tmp_path)), "study.yaml")
    assert len(result.points) == 4
    assert len({tuple(point.values.items()) for point in result.points}) == 4
    assert any(point.pareto for point in result.points)


def test_more_bandwidth_never_decodes_slower(tmp_path):
    points = run_study(load_study(_write(tmp_path)), "study.yaml").points
    for slow in points:
        for fast in points:
            same = slow.values["array.token_tile"] == fast.values["array.token_tile"]
            if same and (slow.values["memory"], fast.values["memory"]) == ("ddr4-2400", "hbm2-2000"):
                assert fast.metrics["decode_s_per_token"] <= slow.metrics["decode_s_per_token"]


def test_command_writes_json_and_page(tmp_path, capsys):
    main(["whatif", "--study", _write(tmp_path), "--out", str(tmp_path / "out"), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["points"]) == 4
    assert "Pareto front" in (tmp_path / "out" / "report.html").read_text()


def test_the_shipped_study_is_valid():
    assert load_study("array_and_memory").points == 4 * 2 * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"colour": ["red"]}}, "axis 'colour' must be one of model, array"),
        ({"axes": {"array.token_tile": []}}, "at least 1 item"),
        ({"axes": {}}, "at least 1 item"),
        ({"minimize": ["beauty", "lanes"]}, "metric 'beauty' must be one of decode_s_per_token"),
        ({"axis": {}}, "unknown field 'axis'"),
        ({"base": {"model": "llama2-7b", "bacth": 1}}, "unknown field 'base.bacth'"),
    ],
)
def test_faulty_studies_name_file_and_field(tmp_path, changes, message):
    path = _write(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as caught:
        load_study(path)
    assert path in str(caught.value)


def test_an_impossible_point_is_named_before_anything_runs(tmp_path):
    path = _write(tmp_path, axes={"array.token_tile": [8, 0]})
    with pytest.raises(InputError, match=r"point array.token_tile=0.*token_tile"):
        run_study(load_study(path), path, tick=lambda done, total: pytest.fail("simulated"))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read"):
        load_study(str(tmp_path / "nowhere.yaml"))
