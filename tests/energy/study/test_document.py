"""Study files: what is faulty is named in one line before anything runs; points are counted without being made."""

import json

import pytest
import yaml

from energy.__main__ import main
from energy.study.document import load_study, study_names
from energy.study.engine import run_study
from energy.study.metrics import FIGURES
from hw.errors import InputError

STUDY = {
    "name": "tiny",
    "base": {"model": "stories260K", "array": "8x8", "prefill": 8, "decode": 2},
    "axes": {"array.token_tile": [4, 8], "memory": ["ddr4-2400", "hbm2-2000"], "costs": ["horowitz-45nm"]},
}


def _write(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))
    return str(path)


def test_shipped_studies_are_valid():
    assert load_study("array_and_memory").points == 4 * 2 * 3
    for name in study_names():
        load_study(name).check_documents(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"colour": ["red"]}}, "axis 'colour' must be one of model, array, memory, costs, .*, placement[.]OP"),
        ({"axes": {"array.row": [8]}}, "axis 'array.row' must be .*; did you mean 'array.rows'"),
        ({"axes": {"array.token_tile": []}}, r"field 'axes.array.token_tile' must have at least 1 value, not \[\]$"),
        ({"axes": {}}, "axes or zip must name at least 1 field"),
        ({"axes": {"batch": {"from": 4, "to": 1, "step": 1}}}, "field 'axes.batch' must have 'from' at most as large"),
        ({"zip": [{"batch": [1, 2], "cores": [1]}]}, "linked axes must have equally many values, not 2 of b"),
        ({"zip": [{}]}, "linked axes must have equally many values, not none"),
        ({"zip": [{"memory": ["ddr4-2400"]}]}, "axis 'memory' must be given once, not 2 times"),
        ({"minimize": ["beauty", "lanes"]}, "metric 'beauty' must be one of first_token_s"),
        ({"minimize": ["decode_s_per_token", "lanes"]}, "say user_s_per_token, which a user waits, or maximize"),
        ({"minimize": ["lanes"]}, "minimize and maximize must name 2 or 3 different metrics together"),
        ({"minimize": ["lanes"], "maximize": ["lanes"]}, "must name 2 or 3 different metrics"),
        (
            {"constraints": ["power_w <= 2", "power_w > 2"]},
            "'power_w > 2' and 'power_w <= 2' must be met by some value",
        ),
        ({"constraints": ["power <= 2"]}, "constraint 'power <= 2' must be of metrics and fields, not 'power'"),
        ({"constraints": ["power_w"]}, "constraint 'power_w' must be two expressions"),
        ({"derived": {"x": {"expression": "power_w"}}}, "'derived.x' must have a unit, such as tokens/J, or 1 where"),
        ({"derived": {"x": {"expression": "power_w", "unit": ""}}}, "'derived.x' must have a unit, such as tokens/J"),
        ({"derived": {"x": "power_w"}}, "'derived.x' must have an expression and a unit, not 'power_w'"),
        ({"axes": {"array.clock_hz": [1e9, float("nan")]}}, r"'axes.array.clock_hz' must hold finite numbers, names"),
        ({"axes": {"batch": [[1], 2]}}, r"'axes.batch' must hold finite numbers, .*, not \[\[1\], 2\]$"),
        ({"derived": {"x": {"expression": "watts", "unit": "W"}}}, "derived metric 'x' must be of metrics and fields"),
        ({"derived": {"x": {"expression": "x + 1", "unit": "W"}}}, "derived metric 'x' must be of metrics .*, not 'x'"),
        ({"derived": {"power_w": {"expression": "1", "unit": "W"}}}, "derived metric 'power_w' must be a new name"),
        ({"axis": {}}, "unknown field 'axis'"),
        ({"base": {"model": "llama2-7b", "bacth": 1}}, "unknown field 'base.bacth' = 1; known fields: .*'batch'"),
    ],
)
def test_faulty_studies_name_file_and_field(tmp_path, changes, message):
    path = _write(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as caught:
        load_study(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"costs": ["horowitz-45nm", "free"]}}, "costs must be one of"),
        ({"axes": {"memory": ["ram"]}}, "memory must be one of"),
        ({"axes": {"memory": [4]}}, "axis 'memory' must hold names, not 4"),
        ({"zip": [{"model": ["gpt-9"], "batch": [2]}]}, "model must be one of"),
        ({"base": {"array": "thin"}}, "array must be"),
    ],
)
def test_a_misspelled_name_is_no_infeasible_point(tmp_path, changes, message):
    path = _write(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        run_study(load_study(path), path, tick=lambda done, total: pytest.fail("simulated"))


def test_a_unit_of_1_is_none_as_yaml_reads_it(tmp_path):
    study = load_study(_write(tmp_path, derived={"x": {"expression": "power_w / power_w", "unit": 1}}))
    assert study.unit("x") == "1"


def test_a_billion_points_are_refused_by_their_number(tmp_path):
    axes = {name: {"from": 1, "to": 1000, "step": 1} for name in ("prefill", "decode", "batch")}
    with pytest.raises(InputError, match="axes must span at most 1000000 points, not 1000000000; take a coarser step"):
        load_study(_write(tmp_path, axes=axes))


def test_more_than_ten_thousand_points_are_allowed(tmp_path):
    values = {"from": 1, "to": 1000, "step": 1}
    assert load_study(_write(tmp_path, axes={"prefill": values, "decode": values})).points == 1_000_000


def test_linked_axes_change_together_and_costs_change_fastest(tmp_path):
    axes = {"costs": ["horowitz-45nm", "bitnet-7nm"], "batch": [1, 2]}
    linked = [{"array.rows": [8, 16], "array.cols": [4, 2]}]
    rows = [tuple(values.values()) for values in load_study(_write(tmp_path, axes=axes, zip=linked)).combinations()]
    assert rows == [
        (costs, batch, *size)
        for batch in (1, 2)
        for size in ((8, 4), (16, 2))
        for costs in ("horowitz-45nm", "bitnet-7nm")
    ]


def test_the_schema_names_axes_metrics_and_fields(capsys):
    main(["whatif", "--schema"])
    schema = json.loads(capsys.readouterr().out)
    assert {"base", "axes", "zip", "constraints", "derived", "minimize", "maximize", "schema"} < set(
        schema["properties"]
    )
    names, _ = schema["properties"]["axes"]["propertyNames"]["anyOf"]
    axes = {"model", "prefill_chunk", "host.latency_s", "array.rows", "memory.channels", "model.layers"}
    assert axes < set(names["enum"])
    assert set(schema["properties"]["minimize"]["items"]["anyOf"][0]["enum"]) == set(FIGURES)
    forms = schema["properties"]["axes"]["additionalProperties"]["anyOf"]
    assert [form["required"][-1] for form in forms[1:]] == ["step", "factor", "log_points"]
