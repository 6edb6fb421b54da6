"""``host --whole``: its own checks come before the port is opened; what it prints over a pseudo-terminal."""

import json
import os
import subprocess
import sys
import threading
import tty

import pytest

from hw.host.whole.results import read_runs, runs_markdown
from hw.program.interpreter import Interpreter
from hw.verilog_config import write_config
from tests.hw.gateware.whole.test_machine import image
from tests.hw.host.whole.python_board import PythonBoard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("program")
    program, _ = image()
    program.write(path)
    return program, path


def host(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "hw", "host", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", "-1"], "--tokens must be 0 or more, not -1"),
        (["--tokens", "0", "--check"], "--check must come with 1 --tokens or more, not 0"),
        (["--timeout", "nan"], "--timeout must be above 0 seconds, not nan"),
        (["--baud", "0"], "--baud must be at least 1, not 0"),
        (["--token-timeout", "0"], "--token-timeout must be above 0 seconds, not 0"),
        (["--ids", "1,x"], "--ids must be token ids with commas between them, not '1,x'"),
        (["--ids", "3,11"], "prompt must hold tokens 0 to 10, not 11"),
        (["--tokens", "41"], "prompt of 1 and 41 tokens must fit the program's context of 40: take fewer, or"),
        (["--add"], "--add must come with --check, 2 --tokens or more, and --config of a board's folder"),
        (["--selftest"], "--whole must stand without --selftest and operands"),
        (["--tokens", "9"], "port /dev/absent: cannot be opened at 3000000 baud ("),
    ],
)
def test_bad_options_are_one_line(folder, arguments, message):
    done = host("--port", "/dev/absent", "--whole", str(folder[1]), *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", [["--loaded"], ["--ids", "3"], ["--check"], ["--add"]])
def test_options_of_a_program_do_not_pass_unseen_without_one(option):
    done = host("--port", "/dev/absent", *option)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {option[0]} must come with --whole, the program that")


@pytest.fixture
def terminal(folder):
    """A pseudo-terminal with a board behind it."""
    program, _ = folder
    board = PythonBoard(program.machine, program.header.memory_words * program.machine.word_bytes)
    line, device = os.openpty()
    tty.setraw(device)

    def serve():
        while True:
            try:
                board.write(os.read(line, 4096), whole=False)
            except OSError:
                return
            if data := board.read(0):
                os.write(line, data)

    threading.Thread(target=serve, daemon=True).start()
    yield board, os.ttyname(device)
    os.close(device)
    os.close(line)


def test_tokens_come_as_ids_and_as_a_document_with_their_rate(folder, terminal):
    program, path = folder
    _, port = terminal
    golden = Interpreter(program).write([3, 1, 4], 5)
    words = ["--port", port, "--whole", str(path), "--ids", "3,1,4", "--tokens", "5", "--timeout", "30"]
    done = host(*words)
    assert done.returncode == 0, done.stderr
    assert [int(word) for word in done.stdout.split()] == golden
    assert f"image {len(program.memory)} bytes: {len(program.memory)} sent, 0 there already" in done.stderr
    assert "5 tokens: 1000 cycles each, 50000.00 per second of the board's clock of 50 MHz" in done.stderr
    done = host(*words, "--json", "--loaded")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["tokens"], found["cycles"], found["load"]["sent"]) == (golden, [1000] * 5, 0)
    assert found["tokens_per_s_board"] == pytest.approx(50_000)


def test_a_run_is_checked_against_the_program_and_added_to_the_results(folder, terminal, tmp_path):
    program, path = folder
    board, port = terminal
    described, runs = tmp_path / "config.json", tmp_path / "runs.json"
    about = {"board": {"name": "ulx3s-85f"}, "memory": {"kind": "sdram", "chip": "as4c16m16sa-7"}}
    write_config(described, program.machine.array, {}, link={"baud": 2_000_000}, **about)
    words = ["--port", port, "--whole", str(path), "--ids", "3,1,4", "--tokens", "5", "--timeout", "30", "--check"]
    words += ["--config", str(described), "--add", str(runs)]
    done = host(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "every token is that of the program's golden interpreter"
    (run,) = read_runs(runs)
    assert (run.board, run.memory, run.prompt, run.tokens) == ("ulx3s-85f", "as4c16m16sa-7", 3, 5)
    assert (run.cycles, run.first_cycles, run.tokens_per_s) == (1000, 1000, 50_000)
    assert run.played_on == "simulated board"
    # 8 frames of 504 bytes of memory, 4 of address and 7 around them; two sums, a byte per clock of 50 MHz and 9 / 8
    size = len(program.memory)
    assert run.load_s == pytest.approx(10 * (size + 8 * 11) / 2e6 + 2 * size * 9 / 8 / 50e6)
    assert f"| ulx3s-85f | {path.name} | 8 x 8, 2 lanes, 2bit | as4c16m16sa-7 | 50 |" in runs_markdown(runs)
    board.lie = 1
    done = host(*words)
    assert (done.returncode, done.stderr.splitlines()[-1][:35]) == (2, "error: token 1 is 5 on the board, a")


def test_a_plain_array_at_the_other_end_is_said(folder, terminal):
    board, port = terminal
    board.hello = board.hello._replace(protocol=1)
    done = host("--port", port, "--whole", str(folder[1]), "--tokens", "9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: board must speak protocol 2, that of a whole-token machine, not 1: load the")
