"""``make X NAME=value`` is ``tritforge X NAME=value``: every word arrives as it was typed, other options are refused.

A folder of stamps stands for the set-up environment, and a script that prints its words for the console.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONSOLE = f"#!{sys.executable}\nimport json, sys\nprint('' if sys.argv[1] == 'extras' else json.dumps(sys.argv[1:]))\n"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def make(tmp_path):
    """A function that runs make on the stand-in: output, error stream, exit status."""
    stamps, script = tmp_path / "venv", tmp_path / "venv" / "bin" / "tritforge"
    script.parent.mkdir(parents=True)
    script.write_text(CONSOLE)
    script.chmod(0o755)
    (script.parent / "python").symlink_to(sys.executable)
    for stamp in (".base", ".core", ".quant", ".hw", ".boards", ".studies", ".notebook", ".runtimes", ".test"):
        (stamps / stamp).touch()
        os.utime(stamps / stamp, (2**32, 2**32))

    def run(*words):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        command = ["make", "-s", f"VENV={stamps}", *words]
        return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    "value", ["plain", "it's", "two words", "a=b c=d", "$HOME", "$(shell touch no)", 'q"q', "a;b", "#1", "*"]
)
def test_a_value_arrives_as_it_was_typed(make, value):
    done = make("sim", f"OUT={value}", "KV_BITS=8")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["sim", "KV_BITS=8", f"OUT={value}"]
    assert not (ROOT / "no").exists()  # nothing of the value was run


def test_an_empty_value_is_not_given_and_ARGS_stands_last(make):
    done = make("sim", "MODEL=", "ARGS=--ops --out x", "BATCH=2")
    assert json.loads(done.stdout) == ["sim", "BATCH=2", "--ops", "--out", "x"]


@pytest.mark.parametrize("target", ["help", "test", "test-fast", "lint", "docs", "clean"])
def test_a_target_without_options_refuses_them(make, target):
    done = make(target, "MODEL=llama2-7b")
    assert done.returncode == 2
    assert f"MODEL is no option of make {target}" in done.stderr


def test_every_command_of_the_console_is_a_target(make):
    from energy.console import COMMANDS

    ran = {
        name: [json.loads(line)[0] for line in make(name).stdout.splitlines()] for name in COMMANDS.keys() - {"extras"}
    }
    assert ran.pop("bench") == ["bench", "bench-study"]  # of simulations, then of studies
    assert ran == {name: [name] for name in ran}


def test_bench_as_json_is_one_document(make):
    done = make("bench", "ARGS=--json").stdout
    assert json.loads(done) == ["bench", "--json"]
