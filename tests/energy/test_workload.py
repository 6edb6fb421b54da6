"""Claims: ``tritforge sim --workload`` goes through the same machines, energies and reports; models' options do not."""

import json
from pathlib import Path

import pytest

from energy.console import COMMANDS
from hw.cli import run_command
from hw.errors import InputError

COSTS = Path(__file__).parents[2] / "energy" / "tech"


def tritforge(*words):
    run_command("tritforge", "", COMMANDS, words)


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("name,m,n,k,count\nup,16,128,64,2\ndown,16,64,128,2\n", encoding="utf-8")
    return path


def test_reports_of_a_list_of_products(listed, tmp_path, capsys):
    out = tmp_path / "out"
    tritforge("sim", "--workload", str(listed), "--array", "16x16", "--rivals", "int8", "--out", str(out))
    shown = capsys.readouterr().out
    assert "2 products, 32.8k weights" in shown
    assert "passes/s" in shown
    assert "tokens/s" not in shown
    energy = json.loads((out / "energy.json").read_text())
    (phase,) = energy["machines"][0]["phases"]
    assert [op["name"] for op in phase["ops"]] == ["up", "down"]
    assert sum(op["macs"] for op in phase["ops"]) == 2 * 2 * 16 * 128 * 64
    assert "per token" not in energy["verdict"]
    page = (out / "report.html").read_text()
    assert f"tritforge sim --workload {listed}" in page
    assert any("every second operand is stored weights" in note for note in energy["notes"])


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "llama2-7b"], "model must be left out with workload"),
        (["--decode", "3"], "decode must be left out with workload"),
        (["--method", "rtn"], "method must be left out with workload"),
        (["--shapes-only"], "shapes_only must be left out with workload"),
        (["--workload-fields", "N=3"], "must have a variable N in its template"),
    ],
)
def test_options_of_models_are_refused(listed, words, part):
    with pytest.raises(InputError, match=part):
        tritforge("sim", "--workload", str(listed), *words)


def test_fields_without_a_workload_are_refused():
    with pytest.raises(InputError, match="workload_fields must be left out without workload"):
        tritforge("sim", "--workload-fields", "N=3")


def test_a_models_step_goes_out_and_comes_back(tmp_path, capsys):
    out = tmp_path / "llama.csv"
    tritforge("workload", "--model", "llama2-7b", "--phase", "decode", "--linears-only", "--out", str(out))
    assert "wrote" in capsys.readouterr().out
    again = tmp_path / "again.yaml"
    tritforge("workload", "--workload", str(out), "--format", "zigzag", "--out", str(again), "--json")
    found = json.loads(capsys.readouterr().out)
    weights = sum(one["count"] * one["n"] * one["k"] for one in found["products"])
    assert weights == 6_738_415_616 - 32_000 * 4096 - 65 * 4096  # published, but for embedding and 65 norms


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--out", "x.txt"], "out must end in .csv with format csv"),
        (["--phase", "decode", "--decode", "0"], "decode must be at least 1 for phase decode"),
        (["--model", "llama-7"], "model must be one of"),
    ],
)
def test_faults_of_the_way_out(words, part):
    with pytest.raises(InputError, match=part):
        tritforge("workload", *words)


def test_two_designs_are_compared_on_the_products(listed, tmp_path):
    out = tmp_path / "out"
    tritforge("compare", "16x16", "32x16", "--workload", str(listed), "--memory", "ddr4-2400", "--out", str(out))
    difference = json.loads((out / "difference.json").read_text())
    (phase,) = difference["phases"]
    assert phase["phase"] == "pass"
    assert phase["energy"]["per"] == "pass"
    for side, array in (("a", "16x16"), ("b", "32x16")):
        own = tmp_path / side
        words = ["--workload", str(listed), "--array", array, "--memory", "ddr4-2400", "--out", str(own)]
        tritforge("sim", *words, "--rivals", "int8")
        (alone,) = json.loads((own / "energy.json").read_text())["machines"][0]["phases"]
        assert phase["latency"][side] == pytest.approx(alone["seconds"], rel=1e-12)
        assert phase["energy"][side] == pytest.approx(alone["total_j_per_token"][1], rel=1e-9)
    assert f"--workload {listed}" in (out / "report.html").read_text()
    job = tmp_path / "job.yaml"
    job.write_text(f"schema: tritforge.job.1\narray: 32x16\nmemory: ddr4-2400\nworkload: {listed}\n")
    tritforge("compare", str(own), str(job), "--out", str(tmp_path / "same"))
    (same,) = json.loads((tmp_path / "same" / "difference.json").read_text())["phases"]
    assert same["latency"]["a"] == same["latency"]["b"]


def test_a_comparison_of_methods_has_no_products():
    with pytest.raises(InputError, match="workload must be left out beside methods, which need weights; give two"):
        tritforge("compare", "--methods", "rtn", "--workload", "x.csv")


STUDY = """schema: tritforge.whatif.1
name: layers
base: {{workload: {listed}, memory: ddr4-2400}}
rivals: [int8]
axes: {{array: [16x16, 32x16]}}
"""


def test_a_study_tries_machines_on_the_products(listed, tmp_path, capsys):
    study, out = tmp_path / "layers.yaml", tmp_path / "out"
    study.write_text(STUDY.format(listed=listed))
    tritforge("whatif", "--study", str(study), "--out", str(out), "--processes", "1")
    assert "tokens/s" not in capsys.readouterr().out
    points = json.loads((out / "study.json").read_text())["points"]
    assert [point["reason"] for point in points] == [None, None]
    for point in points:
        own, array = tmp_path / point["values"]["array"], point["values"]["array"]
        words = ["--workload", str(listed), "--array", array, "--memory", "ddr4-2400", "--out", str(own)]
        tritforge("sim", *words, "--rivals", "int8")
        ternary, int8 = json.loads((own / "energy.json").read_text())["machines"]
        (phase,), (rival,) = ternary["phases"], int8["phases"]
        figures = point["metrics"]
        assert figures["request_s"] == pytest.approx(phase["seconds"], rel=1e-12)
        assert figures["j_per_request"] == pytest.approx(phase["total_j_per_token"][1], rel=1e-9)
        assert figures["saved.int8.request_s"] == pytest.approx(1 - phase["seconds"] / rival["seconds"], rel=1e-9)
        assert figures["first_token_s"] is figures["decode_j_per_token"] is figures["rival.int8.first_token_s"] is None


def test_workloads_are_an_axis_and_equal_lists_are_one_input(listed, tmp_path):
    copy = tmp_path / "mine" / "mine.csv"
    copy.parent.mkdir()
    copy.write_text(listed.read_text().replace("64,2", "64,4"))
    study, out = tmp_path / "lists.yaml", tmp_path / "out"
    study.write_text(
        f"schema: tritforge.whatif.1\nname: lists\nbase: {{array: 16x16, memory: ddr4-2400}}\n"
        f"axes: {{workload: [{listed}, {copy}, {tmp_path / 'none.csv'}]}}\n"
    )
    tritforge("whatif", "--study", str(study), "--out", str(out), "--processes", "1")
    one, more, none = json.loads((out / "study.json").read_text())["points"]
    assert one["metrics"]["request_s"] < more["metrics"]["request_s"]
    assert one["sha256"] != more["sha256"]
    assert none["reason"].endswith("none.csv: cannot be read (No such file or directory)")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("base: {{workload: {listed}, prefill: 4}}", "prefill must be left out with workload"),
        ("base: {{workload: {listed}, method: rtn}}", "method must be left out with workload"),
        ("base: {{workload: {listed}, workload_fields: {{N: 3}}}}", "must have a variable N in its template"),
    ],
)
def test_a_study_of_products_has_no_fields_of_models(listed, tmp_path, line, reason):
    study, out = tmp_path / "layers.yaml", tmp_path / "out"
    study.write_text(f"schema: tritforge.whatif.1\nname: l\n{line.format(listed=listed)}\naxes: {{array: [16x16]}}\n")
    tritforge("whatif", "--study", str(study), "--out", str(out), "--processes", "1")
    (point,) = json.loads((out / "study.json").read_text())["points"]
    assert reason in point["reason"]


def test_run_steps_through_the_products(listed, capsys, tmp_path):
    table = tmp_path / "sim.json"
    tritforge("run", "--workload", str(listed), "--array", "16x16", "--ops", "--out", str(table))
    shown = capsys.readouterr().out
    assert "a pass" in shown
    assert "passes/s" in shown
    assert [op["name"] for op in json.loads(table.read_text())["phases"][0]["ops"]] == ["up", "down"]
    for words, part in (
        (["--batch", "2"], "batch"),
        (["--trace", "t.json"], "trace"),
        (["--manifest", "m"], "manifest"),
    ):
        with pytest.raises(InputError, match=f"{part} must be left out with workload"):
            tritforge("run", "--workload", str(listed), *words)


def test_costs_of_a_file_price_a_run_and_its_hash_is_kept(listed, tmp_path):
    """The table's own name is not one that ships, so nothing may look it up by it."""
    source = (COSTS / "horowitz-45nm.yaml").read_text(encoding="utf-8")
    paths = [tmp_path / "mine.yaml", tmp_path / "other.yaml"]
    paths[0].write_text(source.replace("name: horowitz-45nm", "name: mine"), encoding="utf-8")
    paths[1].write_text(source.replace("name: horowitz-45nm", "name: mine").replace("value: 0.03", "value: 0.06"))
    hashes = []
    for number, path in enumerate(paths):
        out = tmp_path / f"out{number}"
        words = ["--array", "16x16", "--rivals", "int8", "--costs", str(path), "--out", str(out)]
        tritforge("sim", "--workload", str(listed), *words)
        energy = json.loads((out / "energy.json").read_text())
        assert energy["costs"] == "mine"
        hashes.append(energy["inputs"]["costs"])
    assert hashes[0] != hashes[1]
