"""Claims: ``tritforge sim --workload`` goes through the same machines, energies and reports; models' options do not."""

import json

import pytest

from energy.console import COMMANDS
from hw.cli import run_command
from hw.errors import InputError


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
