"""Regression: the bytes of every board's files with a 2x2 array; `python -m tests.hw.boards.test_golden` renews them.

The Verilog's hash is compared only while the core's own RTLIL is the one that it was pinned with, and with the pinned
versions of Amaranth and Yosys: a change of those is seen elsewhere, a change of the board's part here.
"""

import hashlib
import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from hw.boards.catalog import BOARDS, board_config, load_board
from hw.boards.project import write_board
from hw.verilog import core_rtlil

PINNED = Path(__file__).parent / "data" / "boards.json"


def basis() -> dict[str, str]:
    """What else the Verilog depends on."""
    board = load_board("icebreaker")
    rtlil = core_rtlil(board_config(board, "2x2"))
    tools = {name: version(name) for name in ("amaranth", "pyosys")}
    return {"core_sha256": hashlib.sha256(rtlil.encode()).hexdigest(), **tools}


def hashes(name: str, folder: Path) -> dict[str, str]:
    """File name -> sha256, of everything but config.json, which names the command."""
    board = load_board(name)
    paths = write_board(board, board_config(board, "2x2"), folder)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths[:-1]}


@pytest.fixture(scope="module")
def pinned() -> dict:
    return json.loads(PINNED.read_text())


@pytest.mark.parametrize("name", BOARDS)
def test_files_of_every_board_are_those_that_were_pinned(name, tmp_path, pinned):
    found, expected = hashes(name, tmp_path), dict(pinned["boards"][name])
    verilog = found.pop("tritforge_top.v"), expected.pop("tritforge_top.v")
    assert found == expected
    if pinned["basis"] != basis():
        pytest.skip("core or tools changed since the Verilog was pinned; renew by the command of this file's docstring")
    assert verilog[0] == verilog[1]


def renew() -> None:
    """Pin what is written now."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: hashes(name, Path(folder) / name) for name in BOARDS}
    PINNED.write_text(json.dumps({"basis": basis(), "boards": found}, indent=1) + "\n")


if __name__ == "__main__":
    renew()
