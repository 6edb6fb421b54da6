"""Programs of the system: what is recorded of one that no package brought."""

import pytest

from hw.boards import tools
from hw.boards.catalog import load_board
from hw.boards.tools import flow_of, run_tool

FLOW = flow_of(load_board("ulx3s-12f"))
SAID = '"nextpnr-ecp5" -- Next Generation Place and Route (Version nextpnr-0.11.1)'


@pytest.fixture
def on_path(monkeypatch, tmp_path):
    """Puts a stand-in of a program in front of PATH, which answers ``--version`` with a line on stderr."""
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    monkeypatch.setattr(tools.sys, "executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def put(program: str, said: str, status: int = 0) -> None:
        path = tmp_path / program
        answer = f"[ \"$1\" = --version ] && {{ echo '{said}' >&2; exit {status}; }}"
        path.write_text(f"#!/bin/sh\n{answer}\necho routed with $*\n", encoding="utf-8")
        path.chmod(0o755)

    return put


def test_a_nextpnr_on_path_is_recorded_with_its_own_version(on_path, tmp_path):
    on_path("nextpnr-ecp5", SAID)
    heard = []
    assert run_tool(FLOW, "nextpnr-ecp5", ["--seed", "1"], tmp_path, heard.append) == "nextpnr-ecp5 nextpnr-0.11.1"
    assert heard == ["routed with --seed 1\n"]


@pytest.mark.parametrize("status", [0, 1])
def test_a_nextpnr_that_names_no_version_is_recorded_by_its_name(on_path, tmp_path, status):
    on_path("nextpnr-ecp5", "unrecognised option --version", status)
    assert run_tool(FLOW, "nextpnr-ecp5", [], tmp_path, lambda line: None) == "nextpnr-ecp5"


def test_a_packer_is_not_asked_for_a_version_that_no_result_holds(on_path, tmp_path):
    on_path("ecppack", SAID)
    assert run_tool(FLOW, "ecppack", [], tmp_path, lambda line: None) == "ecppack"
