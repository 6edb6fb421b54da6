"""``tritforge host``: a prompt is text of the model that the program was made of; refusals are one line."""

import subprocess
import sys

import pytest

from tests.hw.gateware.whole.test_machine import image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("program")
    image()[0].write(path, source="absent.bin")
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model x", "--model must come with --prompt, whose tokenizer it names"),
        ("--prompt x", "--prompt must come with --whole DIR, the program that reads it"),
        ("--whole {folder} --prompt x --ids 1", "--ids must be left out with --prompt"),
        ("--whole {folder} --prompt x", "absent.bin: "),
        ("--whole {folder}/no --prompt x", "{folder}/no/config.json: must name the model of the program"),
    ],
)
def test_bad_options_are_one_line(folder, arguments, message):
    words = ["--port", "/dev/absent", *arguments.format(folder=folder).split()]
    done = subprocess.run([sys.executable, "-m", "quant", "host", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {message.format(folder=folder)}")
