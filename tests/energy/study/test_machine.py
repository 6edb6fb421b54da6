"""A point's machine: zeros of its trits, and prefill and decode apart, as the simulator runs them by themselves."""

import pytest
import yaml

from energy.area import area_of
from energy.costs.sources import load_source
from energy.job import Job
from energy.model import energy_of
from energy.study.accuracy import manifest_of
from energy.study.document import load_study
from energy.study.engine import run_study
from hw.config import load_array
from quant.shapes import LINEAR_KINDS, load_shape
from sim.trace.statistics import assumed_statistics

BASE = {"model": "stories260K", "array": "8x8", "prefill": 8, "decode": 2}


def _run(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"name": "tiny", "base": BASE} | changes))
    return run_study(load_study(str(path)), str(path)).points


def test_zeros_are_those_of_the_trace(tmp_path, close):
    """A zero trit adds nothing: less energy, as many cycles."""
    job, costs = Job(**BASE), load_source("gates:asap7")
    points = _run(tmp_path, axes={"zero_fraction": [0.1, 0.8, 1.2]})
    for point in points[:2]:
        z = point.values["zero_fraction"]
        statistics = {
            order: dict.fromkeys(LINEAR_KINDS, assumed_statistics(order, z, "as asked"))
            for order in ("prefill", "decode")
        }
        run = job.simulate(load_shape(job.model), costs.clocked(load_array("8x8")), None, statistics)
        assert point.metrics["decode_j_per_token"] == close(energy_of(run, costs).phase("decode").total.typical / 2)
    few, many, wrong = points
    assert many.metrics["prefill_j_per_token"] < few.metrics["prefill_j_per_token"]
    assert many.metrics["first_token_s"] == few.metrics["first_token_s"]
    assert wrong.reason == "job: field 'zero_fraction' should be less than 1, not 1.2"


def test_decode_on_a_machine_of_its_own_is_that_of_the_job(tmp_path, close):
    axes = {"decode_array": ["16x16"], "decode_memory": ["hbm2-2000"], "kv_link_bytes_per_s": [1e6, 1e9]}
    costs = load_source("gates:asap7")
    for point in _run(tmp_path, axes=axes, base=BASE | {"attention": "vector"}):
        job = Job(**BASE | {"attention": "vector"} | point.values)
        array = costs.clocked(load_array("8x8"))
        run = job.simulate(load_shape(job.model), array)
        prefill, decode = run.phases
        energy = energy_of(run, costs)
        assert point.metrics["first_token_s"] == close(prefill.cycles / array.clock_hz)
        assert point.metrics["user_s_per_token"] == close(decode.cycles / 2 / load_array("16x16").clock_hz)
        assert point.metrics["j_per_request"] == close(sum(phase.total.typical for phase in energy.phases))
        assert point.metrics["lanes"] == 64 + 256
        both = sum(area_of(one, costs).total.typical for one in (array, run.decode_machine.array))
        assert point.metrics["area_mm2"] == close(both)


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"fits": "kv260"}, "decode_array, decode_memory and decode_cores must be left out beside fits"),
        (
            {"rivals": ["int8"], "hold": "area"},
            "hold must be lanes beside decode_array, decode_memory and decode_cores, not area: rivals have as many "
            "lanes on both machines",
        ),
    ],
)
def test_two_machines_have_no_part_and_rivals_of_equal_lanes(tmp_path, beside, reason):
    (point,) = _run(tmp_path, axes={"decode_array": ["16x16"]}, **beside)
    assert point.reason == reason


def test_a_rival_of_two_machines_has_two_of_its_own(tmp_path, close):
    """Its prefill is that of prefill's array alone, its decode that of decode's, both in INT8, and K and V cross."""
    both, alone = (
        _run(tmp_path, axes={"decode_array": [array], "kv_bits": [8]}, rivals=["int8"])[0].metrics
        for array in ("16x16", "8x8")
    )
    job = Job(**BASE | {"decode_array": "16x16", "kv_bits": 8}).as_rival()
    run = job.simulate(load_shape(job.model), load_array("8x8").baseline("int8"))
    prefill, decode = run.phases
    array = load_source("gates:asap7").clocked(load_array("8x8"))
    assert both["rival.int8.first_token_s"] == close(prefill.cycles / array.clock_hz)
    assert both["rival.int8.user_s_per_token"] == close(decode.cycles / 2 / array.clock_hz)
    assert both["rival.int8.lanes"] == both["lanes"] == 64 + 256
    assert both["rival.int8.user_s_per_token"] != alone["rival.int8.user_s_per_token"]
    assert both["saved.int8.j_per_request"] == close(1 - both["j_per_request"] / both["rival.int8.j_per_request"])


def test_a_method_says_nothing_of_a_rival(tmp_path):
    """An int8 array stores its own weights, whatever planes of trits the method has."""
    rival = {"axes": {"array.mac": ["int8"]}}
    (named,) = _run(tmp_path, base=BASE | {"method": "gptq-2bit"}, **rival)
    (plain,) = _run(tmp_path, **rival)
    kept = {name: value for name, value in named.metrics.items() if name != "perplexity"}
    assert kept == {name: value for name, value in plain.metrics.items() if name != "perplexity"}


def test_bits_of_a_method_are_two_per_trit_and_sixteen_per_group_by_hand():
    shape = load_shape("llama2-7b")
    for entry in manifest_of("gptq-2bit", shape).linears:
        weights, groups = entry.n * entry.k, entry.n * -(-entry.k // 128)
        assert (entry.code_bits, entry.scale_bits, entry.offset_bits) == (4 * weights, 32 * groups, 16 * groups)
    assert {entry.offset_bits for entry in manifest_of("ptqtp", shape).linears} == {0}
    for entry in manifest_of("rtn", shape).linears:
        assert (entry.code_bits, entry.planes) == (2 * entry.n * entry.k, 1)
