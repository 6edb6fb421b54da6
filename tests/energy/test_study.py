"""Studies: every combination simulated, faulty files refused before the first."""

import json

import pytest
import yaml

from energy.__main__ import main
from energy.costs.sources import load_source
from energy.model import energy_of
from energy.study import load_study, run_study, write_study
from hw.config import load_array
from hw.errors import InputError
from quant.shapes import load_shape
from sim.cores import CoreGroup
from sim.execution import Execution
from sim.host import Host
from sim.memory import load_memory
from sim.simulator import simulate
from sim.trace.ops import Formats

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


def test_every_metric_of_a_point_is_that_of_its_own_run(tmp_path, close):
    """Three cores: accumulators for each, buffers once; host, array and job fields of the point reach the run."""
    axes = {"cores": [1, 3], "host.latency_s": [1e-6, 2e-3], "array.token_tile": [5], "kv_bits": [8]}
    base = STUDY["base"] | {"batch": 2, "placement": {"lm_head": "host"}, "host": {"macs_per_s": 1e9}}
    result = run_study(load_study(_write(tmp_path, axes=axes, base=base)), "study.yaml")
    assert [point.values for point in result.points] == [
        {"cores": cores, "host.latency_s": latency, "array.token_tile": 5, "kv_bits": 8}
        for cores in (1, 3)
        for latency in (1e-6, 2e-3)
    ]
    for point in result.points:
        cores, latency = point.values["cores"], point.values["host.latency_s"]
        array = load_array("8x8").model_copy(update={"token_tile": 5})
        host = Host(macs_per_s=1e9, latency_s=latency)
        run = simulate(
            load_shape("stories260K"), array, load_memory("lpddr5-6400"), 8, 2, 2, formats=Formats(kv_bits=8),
            execution=Execution(placement={"lm_head": "host"}, host=host), cores=CoreGroup(count=cores),
        )  # fmt: skip
        energy = energy_of(run, load_source("horowitz-45nm"))
        prefill, decode = run.phases
        accumulators = cores * 5 * 8 * array.accumulator_bits / 8
        assert point.metrics == {
            "decode_s_per_token": close(decode.cycles / array.clock_hz / (2 * 2)),
            "decode_j_per_token": close(energy.phase("decode").total.typical / 4),
            "prefill_s": close(prefill.cycles / array.clock_hz),
            "prefill_j_per_token": close(energy.phase("prefill").total.typical / 16),
            "lanes": 64 * cores,
            "buffer_bytes": array.weight_buffer_bytes + array.activation_buffer_bytes + accumulators,
        }


def test_progress_counts_every_point(tmp_path):
    told = []
    run_study(load_study(_write(tmp_path)), "study.yaml", tick=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_ten_thousand_points_are_the_most(tmp_path):
    values = list(range(1, 101))
    assert load_study(_write(tmp_path, axes={"prefill": values, "decode": values})).points == 10_000
    with pytest.raises(InputError, match="axes must span at most 10000 points, not 10100"):
        load_study(_write(tmp_path, axes={"prefill": [*values, 101], "decode": values}))


def test_points_that_no_machine_can_have_are_named(tmp_path):
    for axes, message in (
        ({"decode": [1, 0]}, r"point decode=0: decode must be at least 1 in a study, not 0"),
        ({"cores": [1, 1024], "array.weight_buffer_bytes": [31 * 1024]}, "two tiles for each of 1024 cores"),
        ({"costs": ["horowitz-45nm", "free"]}, "costs must be one of"),
        ({"memory": ["ram"]}, "memory must be one of"),
    ):
        path = _write(tmp_path, axes=axes)
        with pytest.raises(InputError, match=message):
            run_study(load_study(path), path, tick=lambda done, total: pytest.fail("simulated"))


def test_a_study_is_a_file_of_a_named_schema(tmp_path):
    write_study(tmp_path / "study.json", run_study(load_study(_write(tmp_path)), "study.yaml"))
    document = json.loads((tmp_path / "study.json").read_text())
    assert (document["schema"], document["version"], len(document["points"])) == ("tritforge.study", 1, 4)
