"""Rivals, holds, FPGAs and methods in a study: the figures of ``tritforge sim``, and why a point does not fit."""

import json
from pathlib import Path

import pytest
import yaml

from energy.job import Job, Rivals, simulate_machines
from energy.luts import luts_of
from energy.study.accuracy import METHODS_FILE, manifest_of, measured_methods
from energy.study.document import load_study
from energy.study.engine import run_study
from energy.study.fits import load_part
from energy.study.metrics import METRICS, SAVINGS
from hw.config import load_array
from hw.errors import InputError
from quant.shapes import load_shape

BASE = {"model": "stories260K", "array": "8x8", "prefill": 8, "decode": 2}
SMALL = {"array_fields": {"vector_lanes": 2, "weight_buffer_bytes": 16384}}
RESULTS = Path(__file__).parents[3] / "docs" / "results"


def _run(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"name": "tiny", "base": BASE} | changes))
    return run_study(load_study(str(path)), str(path))


@pytest.mark.parametrize("hold", ["lanes", "area"])
def test_a_rival_has_the_figures_that_a_job_gives_it(tmp_path, close, hold):
    """Another path: the summary of the job with the same rivals and hold."""
    (point,) = _run(
        tmp_path, rivals=["int8", "fp16"], axes={"hold": [hold]}, base=BASE | {"rival_bus": "balanced"}
    ).points
    job = Job(**BASE)
    summary, _ = simulate_machines(
        job, load_shape(job.model), None, Rivals(rivals="int8,fp16", rival_bus="balanced", hold=hold)
    )
    own = summary.machines[0]
    for rival in summary.machines[1:]:
        prefill, decode = rival.phase("prefill"), rival.phase("decode")
        expected = {
            "first_token_s": (prefill.seconds, own.phase("prefill").seconds),
            "user_s_per_token": (decode.seconds / 2, own.phase("decode").seconds / 2),
            "decode_j_per_token": (decode.total_j_per_token.typical, own.phase("decode").total_j_per_token.typical),
            "area_mm2": (rival.area.total.typical, own.area.total.typical),
        }
        for name, (other, ours) in expected.items():
            assert point.metrics[f"rival.{rival.mac}.{name}"] == close(other)
            assert point.metrics[name] == close(ours)
            assert point.metrics[f"saved.{rival.mac}.{name}"] == close(1 - ours / other)
        assert point.metrics[f"rival.{rival.mac}.lanes"] == rival.lanes


def test_what_is_saved_is_judged_and_compared(tmp_path):
    """Equal ends: a low figure is that of the low costs or of the high ones, never of both mixed."""
    result = _run(
        tmp_path,
        rivals=["int8"],
        axes={"hold": ["lanes", "power"]},
        derived={"times": {"expression": "rival.int8.decode_j_per_token / decode_j_per_token", "unit": "1"}},
        constraints=["saved.int8.area_mm2 > -0.1"],
        minimize=["rival.int8.area_mm2"],
        maximize=["saved.int8.decode_j_per_token", "times"],
    )
    lanes, power = result.points
    assert lanes.feasible
    assert lanes.metrics["times"] == pytest.approx(1 / (1 - lanes.metrics["saved.int8.decode_j_per_token"]))
    assert not power.feasible or power.metrics["saved.int8.area_mm2"] > -0.1
    ends = [
        1 - lanes.metrics[f"decode_j_per_token{end}"] / lanes.metrics[f"rival.int8.decode_j_per_token{end}"]
        for end in ("_low", "", "_high")
    ]
    saved = "saved.int8.decode_j_per_token"
    assert [lanes.metrics[saved + "_low"], lanes.metrics[saved + "_high"]] == [min(ends), max(ends)]
    assert result.study.unit(saved) == "1"
    assert {f"saved.int8.{name}" for name in SAVINGS} <= set(lanes.metrics)
    assert {f"rival.int8.{name}" for name in METRICS} <= set(lanes.metrics)


def test_a_rival_without_room_is_a_row_with_the_reason(tmp_path):
    costs = {"costs": ["fpga:ecp5", "gates:asap7"]}
    without, there = _run(tmp_path, rivals=["int8"], hold="area", axes=costs).points
    assert without.reason.startswith("hold area: costs 'fpga:ecp5' must name a cell library")
    assert there.feasible


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rivals": ["ternary"]}, "rivals must be of int8, fp16, w4a8, w2a8, w4a16, each once, not 'ternary'"),
        ({"rivals": ["int8", "int8"]}, "each once, not 'int8'"),
        ({"hold": "price"}, "hold"),
        ({"hold": "area", "base": BASE | {"hold": "power"}}, "hold must be given once, in base or beside it"),
        ({"fits": "ulx3s"}, "fits must be one of ulx3s-12f.*did you mean"),
        ({"base": BASE | {"method": "gptqq"}}, "method must be one of rtn.*did you mean 'gptq'"),
        ({"constraints": ["rival.int8.power_w <= 1"]}, "must be of metrics and fields, not 'rival.int8.power_w'"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        _run(tmp_path, axes={"batch": [1]}, **changes)


def test_a_machine_that_a_part_does_not_hold_is_a_row_with_the_counts(tmp_path):
    axes = {"array.activation_buffer_bytes": [16384, 1 << 20], "fits": ["ulx3s-85f", "LFE5U-25F"]}
    points = {tuple(point.values.values()): point for point in _run(tmp_path, axes=axes, base=BASE | SMALL).points}
    there = points[16384, "ulx3s-85f"]
    assert there.feasible
    area = luts_of(
        load_array("8x8").model_copy(update={"activation_buffer_bytes": 16384, **SMALL["array_fields"]}), "ecp5"
    )
    for what in ("tables", "flip_flops", "dsps", "block_rams"):
        assert there.metrics[what] == area.total(what).typical <= load_part("ulx3s-85f").has[what]
    reason = points[1 << 20, "ulx3s-85f"].reason
    assert reason.startswith("fits ulx3s-85f: needs ")
    assert "of 208 block rams" in reason
    assert "of 56 block rams" in points[1 << 20, "LFE5U-25F"].reason
    assert points[1 << 20, "LFE5U-25F"].metrics == {}


def test_boards_have_the_parts_that_are_on_them():
    assert load_part("kv260").has == load_part("XCK26").has
    assert load_part("ulx3s-85f").has["dsps"] == 156
    assert load_part("pynq-z2").has == {"tables": 53_200, "flip_flops": 106_400, "block_rams": 140}


def test_methods_take_the_cycles_of_weights_that_they_made(tmp_path, close):
    """The comparison simulated manifests of quantized weights."""
    compared = json.loads((RESULTS / "compare-smollm2-135m.json").read_text())
    fields = {name: compared[name] for name in ("model", "array", "memory", "costs", "prefill", "decode", "batch")}
    rows = {row["method"]: row for row in compared["rows"]}
    methods = ["pt-bitnet", "gptq-2bit", "pt2-llm", "ptqtp"]
    for point in _run(tmp_path, base=fields, axes={"method": methods}).points:
        row = rows[point.values["method"]]
        assert point.metrics["first_token_s"] == close(row["prefill_s"])
        assert point.metrics["decode_tokens_per_s"] == close(row["decode_tokens_per_s"])


def test_perplexities_are_the_least_of_the_committed_results(tmp_path):
    measured = json.loads((RESULTS / "quantization.json").read_text())["rows"]
    shipped = json.loads(METHODS_FILE.read_text())["perplexity"]
    for model, methods in shipped.items():
        for method, value in methods.items():
            assert value == min(
                row["perplexity"]["a8"] for row in measured if (row["model"], row["method"]) == (model, method)
            )
    assert set(measured_methods()) <= set(shipped["smollm2-135m"])
    axes = {"model": ["smollm2-135m", "stories260K"], "method": ["ptqtp"]}
    known, unknown = _run(tmp_path, axes=axes, minimize=["perplexity", "memory_bytes"]).points
    assert known.metrics["perplexity"] == shipped["smollm2-135m"]["ptqtp"]
    assert unknown.reason == "perplexity has no figure here, and is to be compared"


def test_losses_of_k_and_v_are_those_of_the_committed_results(tmp_path):
    """Of unquantized weights, by the digits of the point, of the model or of the one that stands for it."""
    rows = json.loads((RESULTS / "kv.json").read_text())["rows"]
    rows = {(row["model"], row["kv"]): row["change"] for row in rows if row["weights"] == "float"}
    zipped = [
        {
            "accuracy_of": ["smollm2-135m", "smollm2-135m", "smollm2-135m", "qwen2.5-coder-0.5b", None],
            "key_digits": [4, 3, None, 4, 4],
            "value_digits": [3, 3, None, 3, 3],
            "rotate": [True, False, None, True, True],
            "attention": ["array", "array", "vector", "array", "array"],
        }
    ]
    base = {"model": "stories260K", "array": "16x16", "prefill": 8, "decode": 2, "kv_bits": 8}
    base |= {"array_fields": {"digits": True, "lane_loading": True, "planes": 4}}
    points = _run(tmp_path, base=base, zip=zipped, axes={}, minimize=["user_s_per_token", "decode_j_per_token"]).points
    assert [point.reason for point in points] == [None] * 5
    expected = [
        rows["smollm2-135m", "digits:4/3,rotate"],
        rows["smollm2-135m", "digits:3"],
        rows["smollm2-135m", "int8"],
        rows["qwen2.5-coder-0.5b", "digits:4/3,rotate"],
    ]
    assert [point.metrics["kv_loss"] for point in points[:4]] == pytest.approx([100 * one for one in expected])
    assert points[4].metrics["kv_loss"] is None  # stories260K was not measured


def test_a_model_that_was_not_measured_stands_for_none(tmp_path):
    with pytest.raises(InputError, match=r"accuracy_of must be one of .*smollm2-135m.*, not 'llama2-7b'"):
        _run(tmp_path, base=BASE | {"accuracy_of": "llama2-7b"}, axes={"batch": [1]})


def test_scales_and_offsets_of_a_method_by_hand():
    """stories260K: 64 columns are one group, 172 are two; a scale is 16 bits, and so is an offset."""
    shape = load_shape("stories260K")
    manifest = manifest_of("gptq-2bit", shape)
    down = next(entry for entry in manifest.linears if entry.kind == "down_proj")
    assert (down.n, down.k, down.planes) == (64, 172, 2)
    assert (down.scale_bits, down.offset_bits) == (2 * 64 * 2 * 16, 64 * 2 * 16)
    assert len(manifest.linears) == 7 * shape.layers
