"""The host command's own checks: options, files, ports; one line each, nothing half done."""

import os
import subprocess
import sys
import tty

import numpy as np
import pytest

from hw.config import load_array
from hw.host.line import LinkError, SerialLine
from hw.verilog_config import write_config


def host(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "hw", "host", *arguments], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def terminal():
    """Both ends of a pseudo-terminal on which nobody answers."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


@pytest.fixture
def operands(tmp_path) -> dict[str, str]:
    np.save(tmp_path / "t.npy", np.zeros((2, 3), np.int8))
    np.save(tmp_path / "wide.npy", np.zeros((2, 3), np.int32))
    (tmp_path / "text.npy").write_text("no array")
    return {name: str(tmp_path / name) for name in ("t.npy", "wide.npy", "text.npy", "absent.npy", "out.npy")}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("wide.npy", "must hold an int8 matrix, not int32"),
        ("text.npy", "must be a .npy file of int8"),
        ("absent.npy", "must be a .npy file of int8 (No such file or directory)"),
    ],
)
def test_bad_operands_are_refused_before_the_port_is_opened(operands, weights, message):
    files = ["--weights", operands[weights], "--activations", operands["t.npy"], "--out", operands["out.npy"]]
    done = host("--port", "/dev/absent", *files)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {operands[weights]}: {message}")
    assert not os.path.exists(operands["out.npy"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--weights", "w.npy"],
            "a product needs --weights, --activations and --out, all three and without --selftest",
        ),
        (["--timeout", "0"], "--timeout must be above 0 seconds, not 0"),
        (["--config", "absent.json"], "absent.json: no such file; give the one that"),
        ([], "port /dev/absent: cannot be opened at 1000000 baud ("),
    ],
)
def test_bad_options_are_one_line(arguments, message):
    done = host("--port", "/dev/absent", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_nobody_at_the_other_end(terminal):
    done = host("--port", terminal[1], "--timeout", "0.05")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no answer to HELLO in 5 tries: nothing came; is the board configured")


def test_a_port_that_another_program_uses(terminal):
    first = SerialLine(terminal[1], 115200)
    done = host("--port", terminal[1], "--timeout", "0.05")
    first.close()
    assert done.returncode == 2
    assert f"port {terminal[1]}: cannot be opened at 1000000 baud (" in done.stderr


def test_a_cable_that_is_pulled():
    master, slave = os.openpty()
    tty.setraw(slave)
    line = SerialLine(os.ttyname(slave), 115200)
    os.close(slave)
    os.close(master)
    with pytest.raises(LinkError, match=r"^port /dev/pts/\d+: lost while in use \(.*\); was the board unplugged\?$"):
        line.read(1.0)
    line.close()


def test_a_board_with_another_array_than_config_json_says(tmp_path, monkeypatch):
    from hw.host import command
    from hw.host.session import Session
    from tests.hw.boards.simulated import LinkLine

    described = tmp_path / "config.json"
    write_config(described, load_array("2x2"), {})
    document = command._read_config(described)
    with pytest.raises(LinkError, match=r"^the board holds array 4x2 with hash [0-9a-f]{16}\.\.\., and .*config.json"):
        command._check_array(Session(LinkLine()), document, described)
