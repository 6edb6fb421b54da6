"""A point's machine: zeros of its trits, and prefill and decode apart, as the simulator runs them by themselves."""

import pytest
import yaml

from energy.area import area_of
from energy.costs.sources import load_source
from energy.job import Job
from energy.model import energy_of
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


@pytest.mark.parametrize("beside", [{"rivals": ["int8"]}, {"fits": "kv260"}])
def test_two_machines_have_no_rivals_and_no_part(tmp_path, beside):
    (point,) = _run(tmp_path, axes={"decode_array": ["16x16"]}, **beside)
    assert point.reason == "decode_array, decode_memory and decode_cores must be left out beside rivals and fits"
