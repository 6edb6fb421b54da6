"""Studies run: a row per combination, its figures those of its own run, infeasible ones with their reason."""

import csv
import json
import os
import signal
from multiprocessing import active_children

import pytest
import yaml

from energy.__main__ import main
from energy.costs.sources import load_source
from energy.model import energy_of
from energy.study.document import load_study
from energy.study.engine import processes_for, run_study
from energy.study.journal import Journal
from energy.study.metrics import FIGURES
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

FPGA = ("tables", "flip_flops", "dsps", "block_rams")


def _write(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes))
    return str(path)


def _run(tmp_path, **changes):
    path = _write(tmp_path, **changes)
    return run_study(load_study(path), path)


def test_every_combination_is_simulated_once(tmp_path):
    result = _run(tmp_path)
    assert len(result.points) == 4
    assert len({tuple(point.values.items()) for point in result.points}) == 4
    assert len({point.sha256 for point in result.points}) == 4
    assert any(point.pareto for point in result.points)


def test_more_bandwidth_never_decodes_slower(tmp_path):
    points = _run(tmp_path).points
    for slow in points:
        for fast in points:
            same = slow.values["array.token_tile"] == fast.values["array.token_tile"]
            if same and (slow.values["memory"], fast.values["memory"]) == ("ddr4-2400", "hbm2-2000"):
                assert fast.metrics["user_s_per_token"] <= slow.metrics["user_s_per_token"]


def test_every_metric_of_a_point_is_that_of_its_own_run(tmp_path, close):
    """Three cores: accumulators for each, buffers once; host, array and job fields of the point reach the run."""
    axes = {"cores": [1, 3], "host.latency_s": [1e-6, 2e-3], "array.token_tile": [5], "kv_bits": [8]}
    base = STUDY["base"] | {"costs": "horowitz-45nm", "batch": 2}
    base |= {"placement": {"lm_head": "host"}, "host": {"macs_per_s": 1e9}}
    result = _run(tmp_path, axes=axes, base=base)
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
        source = load_source("horowitz-45nm")
        energy = energy_of(run, source)
        prefill, decode = run.phases
        first, later = prefill.cycles / array.clock_hz, decode.cycles / array.clock_hz
        expected = {
            "first_token_s": first,
            "user_s_per_token": later / 2,  # two steps, each gives every user a token
            "request_s": first + later,
            "prefill_tokens_per_s": 16 / first,
            "decode_tokens_per_s": 4 / later,  # of both users
            "memory_bytes": point.metrics["memory_bytes"],
            "perplexity": None,
            "kv_loss": None,
            "lanes": 64 * cores,
            "buffer_bytes": array.weight_buffer_bytes
            + array.activation_buffer_bytes
            + cores * 5 * 8 * array.accumulator_bits / 8,
        }
        expected |= {name + end: None for name in FPGA for end in ("_low", "", "_high")}
        alone = [
            energy_of(run.model_copy(update={"phases": [phase.model_copy(update={"ops": [op]})]}), source).phases[0]
            for phase in run.phases
            for op in phase.ops
            if op.cycles
        ]
        peak = max(alone, key=lambda one: one.total.typical / one.seconds)
        area = {end: point.metrics[f"area_mm2_{end}".removesuffix("_typical")] for end in ("low", "typical", "high")}
        for end, suffix in (("low", "_low"), ("typical", ""), ("high", "_high")):
            other = {"low": "high", "typical": "typical", "high": "low"}[end]
            prefill_j, decode_j = (getattr(energy.phase(name).total, end) for name in ("prefill", "decode"))
            expected |= {
                f"prefill_j_per_token{suffix}": prefill_j / 16,
                f"decode_j_per_token{suffix}": decode_j / 4,
                f"j_per_request{suffix}": (prefill_j + decode_j) / 2,
                f"edp_j_s{suffix}": (prefill_j + decode_j) / 2 * (first + later),
                f"power_w{suffix}": (prefill_j + decode_j) / (first + later),
                f"peak_power_w{suffix}": getattr(peak.total, end) / peak.seconds,
                f"decode_tokens_per_s_per_w{suffix}": 4 / getattr(energy.phase("decode").total, other),
                f"area_mm2{suffix}": point.metrics[f"area_mm2{suffix}"],
                f"decode_tokens_per_s_per_mm2{suffix}": 4 / later / area[other],
            }
        assert set(point.metrics) == set(FIGURES) == set(expected)
        assert point.metrics == {name: value if value is None else close(value) for name, value in expected.items()}
        assert 0 < point.metrics["area_mm2_low"] < point.metrics["area_mm2"] < point.metrics["area_mm2_high"]


def test_memory_needed_is_weights_and_cache(tmp_path):
    """Two bits per weight; lm_head at 8 and embedding at 16 bits; K and V of all tokens at 16; nothing else."""
    point, longer = _run(tmp_path, axes={"prefill": [8, 9]}).points
    shape = load_shape("stories260K")
    cache = 2 * shape.layers * shape.kv_heads * shape.head_dim * 16 / 8
    assert longer.metrics["memory_bytes"] - point.metrics["memory_bytes"] == cache
    fixed = shape.linear_parameters * 2 + shape.embedding_parameters * (8 + 16)
    assert point.metrics["memory_bytes"] >= fixed / 8 + 10 * cache
    assert point.metrics["memory_bytes"] < 1.2 * (fixed / 8 + 10 * cache)  # scales of rows


def test_fields_of_memory_model_and_placement_reach_the_run(tmp_path):
    axes = {"memory.channels": [1, 8], "model.layers": [1, 4], "placement.lm_head": ["vector", "host"]}
    metrics = {tuple(point.values.values()): point.metrics for point in _run(tmp_path, axes=axes).points}
    assert metrics[8, 4, "vector"]["user_s_per_token"] < metrics[1, 4, "vector"]["user_s_per_token"]
    assert metrics[1, 1, "vector"]["memory_bytes"] < metrics[1, 4, "vector"]["memory_bytes"]
    assert metrics[1, 4, "vector"]["user_s_per_token"] != metrics[1, 4, "host"]["user_s_per_token"]


def test_an_infeasible_point_is_a_row_with_its_reason(tmp_path):
    axes = {"cores": [1, 1024], "array.weight_buffer_bytes": [31 * 1024], "array.token_tile": [8, 0], "decode": [1, 0]}
    result = _run(tmp_path, axes=axes)
    reasons = {(p.values["cores"], p.values["array.token_tile"], p.values["decode"]): p.reason for p in result.points}
    assert len(reasons) == 8
    assert reasons[1, 8, 1] is None
    assert reasons[1, 8, 0] == "decode must be at least 1 in a study, not 0"
    assert reasons[1, 0, 1].startswith("array '8x8': field 'token_tile' should be greater than or equal to 1, not 0")
    assert "two tiles for each of 1024 cores" in reasons[1024, 8, 1]
    assert [point.values for point in result.points if point.pareto] == [result.points[0].values]
    assert all(point.metrics == {} for point in result.points if point.reason)


def test_a_context_beyond_the_model_is_a_row_too(tmp_path):
    short, long = _run(tmp_path, axes={"prefill": [8, 100_000]}).points
    assert short.feasible
    assert "100002" in long.reason or "100000" in long.reason


def test_constraints_keep_the_figures_and_leave_the_front(tmp_path):
    free = _run(tmp_path)
    power = sorted(point.metrics["power_w"] for point in free.points)
    limit = (power[0] + power[1]) / 2
    result = _run(tmp_path, constraints=[f"power_w <= {limit!r}", "batch * prefill == 8"])
    assert [point.metrics for point in result.points] == [point.metrics for point in free.points]
    (best,) = result.feasible
    assert best.metrics["power_w"] == power[0]
    assert best.pareto
    assert result.reasons() == [(f"power_w <= {limit!r}", 3)]
    assert all(not point.pareto for point in result.points if not point.feasible)


def test_derived_metrics_are_arithmetic_and_a_division_by_zero_is_a_reason(tmp_path, close):
    derived = {
        "heat": {"expression": "power_w / (array.token_tile - 4)", "unit": "W"},
        "twice": {"expression": "2 * heat", "unit": "W"},
    }
    points = _run(tmp_path, derived=derived, minimize=["heat", "lanes"]).points
    for point in points:
        if point.values["array.token_tile"] == 4:
            assert point.reason == "heat: power_w / (array.token_tile - 4): divides by zero"
            assert point.metrics["heat"] is None
        else:
            assert point.metrics["heat"] == close(point.metrics["power_w"] / 4)
            assert point.metrics["twice"] == close(point.metrics["power_w"] / 2)
    assert [point.feasible for point in points] == [False, False, True, True]


def test_maximize_prefers_the_large(tmp_path):
    slow, fast = _run(
        tmp_path, axes={"memory": ["ddr4-2400", "hbm2-2000"]}, minimize=["lanes"], maximize=["decode_tokens_per_s"]
    ).points
    assert fast.metrics["decode_tokens_per_s"] > slow.metrics["decode_tokens_per_s"]
    assert (slow.pareto, fast.pareto) == (False, True)


def test_progress_counts_every_point(tmp_path):
    told = []
    run_study(load_study(_write(tmp_path)), "study.yaml", tick=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_points_that_differ_in_costs_alone_are_simulated_once(tmp_path, monkeypatch):
    import energy.study.machine as machine

    runs = []
    real = machine.simulate_trace
    monkeypatch.setattr(machine, "simulate_trace", lambda *given: runs.append(1) or real(*given))
    axes = {"costs": ["horowitz-45nm", "bitnet-7nm"], "batch": [1, 2, 3]}
    result = _run(tmp_path, axes=axes)
    assert len(runs) == 3
    assert len({point.metrics["decode_j_per_token"] for point in result.points}) == 6


@pytest.mark.parametrize(("points", "processes"), [(255, 1), (256, 3)])
def test_a_study_that_is_long_enough_takes_every_processor(tmp_path, monkeypatch, points, processes):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0: {1, 4, 7}}[process], raising=False)
    monkeypatch.setattr("hw.process.threads._cgroup_cpus", lambda: None)  # whatever share this machine gives
    study = load_study(_write(tmp_path, axes={"batch": {"from": 1, "to": points, "step": 1}}))
    assert processes_for(study) == processes


@pytest.mark.slow
def test_processes_give_the_rows_that_one_gives(tmp_path):
    path = _write(tmp_path, axes={"batch": {"from": 1, "to": 40, "step": 1}, "array.token_tile": [8, 0]})
    study = load_study(path)
    assert run_study(study, path, processes=2) == run_study(study, path, processes=1)


@pytest.mark.slow
def test_a_process_that_is_killed_is_said_and_costs_no_finished_row(tmp_path):
    path = _write(tmp_path, axes={"batch": {"from": 1, "to": 400, "step": 1}})
    study, rows = load_study(path), tmp_path / "rows.jsonl"

    def kill(done, total):
        if done == 32:
            os.kill(active_children()[0].pid, signal.SIGKILL)

    with pytest.raises(
        InputError, match=r"one of 2 processes of the study was ended from outside, .*; run the command"
    ):
        run_study(study, path, kill, processes=2, journal=Journal(rows, study.name))
    assert 32 <= len(Journal(rows, study.name).rows) < 400
    resumed = run_study(study, path, processes=2, journal=Journal(rows, study.name))
    assert len(resumed.points) == 400


def test_an_interrupted_study_goes_on_with_the_rows_that_it_has(tmp_path, monkeypatch):
    import energy.study.engine as engine

    path = _write(tmp_path)
    study, rows = load_study(path), tmp_path / "out" / "rows.partial.jsonl"

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, path, interrupt, journal=Journal(rows, study.name))
    with rows.open("a") as stream:
        stream.write('{"sha256": "cut o')  # a machine that lost power in mid-write
    measured = []
    real = engine.measure
    monkeypatch.setattr(engine, "measure", lambda *given: measured.append(1) or real(*given))
    journal = Journal(rows, study.name)
    assert len(journal.rows) == 2
    resumed = run_study(study, path, journal=journal)
    assert len(measured) == 2
    assert len(Journal(rows, study.name).rows) == 4
    assert resumed == run_study(study, path)
    journal.remove()
    assert not rows.exists()


def test_rows_of_other_inputs_are_measured_again(tmp_path):
    study, rows = load_study(_write(tmp_path)), tmp_path / "rows.jsonl"
    run_study(study, "study.yaml", journal=Journal(rows, study.name))
    other = load_study(_write(tmp_path, base=STUDY["base"] | {"decode": 3}))
    assert run_study(other, "study.yaml", journal=Journal(rows, study.name)) == run_study(other, "study.yaml")


@pytest.mark.parametrize(
    ("content", "what"), [("", "something else"), ("{}\n", "something else"), (None, "of 'other'")]
)
def test_rows_of_another_study_are_refused_and_kept(tmp_path, capsys, content, what):
    out = tmp_path / "out"
    rows = out / "rows.partial.jsonl"
    out.mkdir()
    if content is None:
        study = load_study(_write(tmp_path, name="other"))
        run_study(study, "study.yaml", journal=Journal(rows, "other"))
    else:
        rows.write_text(content)
    command = ["whatif", "--study", _write(tmp_path), "--out", str(out)]
    with pytest.raises(InputError, match=rf"rows\.partial\.jsonl: must hold rows of study 'tiny', not {what}; choose"):
        main(command)
    assert rows.exists()
    main([*command, "--restart"])
    assert not rows.exists()


def test_command_writes_json_tables_and_page(tmp_path, capsys):
    out = tmp_path / "out"
    axes = STUDY["axes"] | {"decode": [2, 0]}
    main(["whatif", "--study", _write(tmp_path, axes=axes), "--out", str(out), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert (printed["schema"], printed["version"]) == ("tritforge.study", 2)
    assert (len(printed["points"]), printed["feasible"], printed["complete"]) == (8, 4, True)
    assert printed["reasons"] == {"decode must be at least 1 in a study, not 0": 4}
    page = (out / "report.html").read_text()
    assert "Pareto front" in page
    assert "Why points are out" in page
    with (out / "points.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["inputs_sha256"] for row in rows] == [point["sha256"] for point in printed["points"]]
    for row, point in zip(rows, printed["points"], strict=True):
        assert row["memory"] == point["values"]["memory"]
        assert row["feasible"] == str(point["reason"] is None)
        assert row["power_w_high"] == (repr(point["metrics"]["power_w_high"]) if point["metrics"] else "")


def test_parquet_holds_the_rows_of_csv_typed(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out"
    axes = {"array.token_tile": [4, 8], "memory": ["ddr4-2400"], "decode": [2, 0], "prefill_chunk": [None, 4]}
    main(["whatif", "--study", _write(tmp_path, axes=axes), "--out", str(out)])
    table = parquet.read_table(out / "points.parquet")
    with (out / "points.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert table.column_names == list(rows[0])
    assert [str(table.schema.field(name).type) for name in ("array.token_tile", "memory", "pareto", "power_w")] == [
        "int64", "string", "bool", "double",
    ]  # fmt: skip
    for typed, text in zip(table.to_pylist(), rows, strict=True):
        assert {name: "" if value is None else str(value) for name, value in typed.items()} == text


def test_the_screen_says_why_points_are_out(tmp_path, capsys):
    axes = {"decode": [2, 0]}
    main(["whatif", "--study", _write(tmp_path, axes=axes, constraints=["lanes <= 1"]), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "0 of 2 points feasible" in printed
    assert "1 out: lanes <= 1" in printed
    assert "1 out: decode must be at least 1 in a study, not 0" in printed


def test_processes_are_at_least_one(tmp_path):
    with pytest.raises(InputError, match="processes must be at least 1, not 0"):
        main(["whatif", "--study", _write(tmp_path), "--processes", "0"])
