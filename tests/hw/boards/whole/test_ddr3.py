"""The OrangeCrab's DDR3 as the memory of a whole-token machine: pins, choice, files, and what is refused."""

import json
import re
import sys
from argparse import Namespace
from importlib.util import find_spec

import pytest
from amaranth.build import Subsignal
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_85FPlatform

from hw.__main__ import main
from hw.boards.catalog import load_board
from hw.boards.pins import sites
from hw.boards.project import board_cores
from hw.boards.whole.choice import whole_design
from hw.boards.whole.ddr3 import ddr3_of, ddr3_sites
from hw.boards.whole.design import whole_board
from hw.boards.whole.options import chosen_whole
from hw.errors import InputError
from hw.memory.ddr3.core import ddr3_verilog
from hw.synthesis.yosys import run_yosys
from tests.hw.gateware.whole.test_machine import image

BOARD = whole_board(load_board("orangecrab-85f"))
generates = pytest.mark.skipif(not find_spec("litedram"), reason="needs litedram==2024.12, which generates DDR3")


@pytest.fixture(scope="module")
def program():
    return image()[0]


def larger(program, memory_bytes):
    """The program with K and V that make its memory so large."""
    header = program.header._replace(memory_words=memory_bytes // program.machine.word_bytes)
    data = program.memory.copy()
    data[:32] = bytearray(header.encoded())
    return program._replace(memory=data)


def test_pins_are_those_with_which_litex_runs_on_the_board():
    found = ddr3_sites(ddr3_of(BOARD))
    widths = {"a": 13, "ba": 3, "dq": 16, "dm": 2, "dqs_p": 2, "vccio": 6, "gnd": 2}
    assert len(found) == sum(widths.values()) + len(("ras", "cas", "we", "cs", "clk", "cke", "odt", "reset"))
    # litex-boards, gsd_orangecrab.py, revision 0.2
    assert [found[f"ddram_{name}"].name for name in ("ba[0]", "ba[1]", "ba[2]")] == ["D6", "B7", "A6"]
    assert [found[f"ddram_{name}"].name for name in ("dqs_p[0]", "dqs_p[1]", "clk_p", "cke")] == [
        "B15",
        "G18",
        "J18",
        "D18",
    ]
    assert [found[f"ddram_{name}"].name for name in ("dm[0]", "dm[1]", "dq[0]", "a[12]")] == ["D16", "G16", "C17", "B6"]
    assert found["ddram_dqs_p[1]"].attributes == {
        "IO_TYPE": "SSTL135D_I", "SLEWRATE": "FAST", "TERMINATION": "OFF", "DIFFRESISTOR": "100",
    }  # fmt: skip
    taken = [site.name for site in (*found.values(), *sites(BOARD).values())]
    assert len(set(taken)) == len(taken)


def test_what_amaranth_boards_says_of_the_pins_agrees_but_for_what_is_wrong_there():
    platform = OrangeCrabR0_2_85FPlatform()
    theirs = {part.name: part.ios[0] for part in platform.lookup("ddr3").ios if isinstance(part, Subsignal)}
    mine = ddr3_of(BOARD, "mt41k512m16").pins
    names = {
        "a": "a",
        "dq": "dq",
        "ras": "ras_n",
        "cas": "cas_n",
        "we": "we_n",
        "cs": "cs_n",
        "clk_en": "cke",
        "odt": "odt",
    }
    for their_name, name in (names | {"rst": "reset_n"}).items():
        assert tuple(theirs[their_name].names) == mine[name]
    assert tuple(theirs["dm"].names) == mine["dm"][::-1]
    pairs = {theirs["dqs"].p.names[0], theirs["dqs"].n.names[0]}
    assert pairs == set(mine["dqs_p"])  # a pair's positive pins, which it takes for the pair of one byte
    assert set(theirs["ba"].names) & {site.name for site in sites(BOARD).values()}  # the LED's pin


def test_the_board_takes_its_ddr3_unless_block_ram_is_asked_for(program):
    design = whole_design(BOARD, program.machine, program)
    assert (design.memory, design.memory_bytes, design.baud) == ("ddr3", 128 << 20, 3_000_000)
    assert BOARD.clock_hz == 48e6
    assert whole_design(BOARD, program.machine, None, "ddr3", "mt41k512m16").memory_bytes == 1 << 30
    assert whole_design(BOARD, program.machine, program, "block").memory == "block"


def test_what_cannot_be_is_said_in_one_line(program):
    machine = program.machine
    with pytest.raises(
        InputError,
        match=r"^program needs 134217736 bytes of memory \(image, K and V\), and the DDR3 of orangecrab-85f "
        r"\(mt41k64m16\) holds 134217728: take a board with a larger memory",
    ):
        whole_design(BOARD, machine, larger(program, (128 << 20) + 8))
    with pytest.raises(
        InputError, match=r"^board orangecrab-85f has no SDRAM \(it has DDR3\); take --ram block or another"
    ):
        whole_design(BOARD, machine, program, "sdram")
    with pytest.raises(InputError, match=r"^board ulx3s-85f has no DDR3 \(it has SDRAM\); take --ram block or another"):
        whole_design(load_board("ulx3s-85f"), machine, program, "ddr3")
    with pytest.raises(InputError, match=r"^board icebreaker has no DDR3 that is supported here; take --ram block or"):
        whole_design(load_board("icebreaker"), machine, program, "ddr3")
    with pytest.raises(InputError, match=r"^DDR3 chip must be one of mt41k64m16, .*, not 'as4c16m16sa-7'$"):
        whole_design(BOARD, machine, program, chip="as4c16m16sa-7")
    with pytest.raises(InputError, match=r"^clock of a DDR3 controller must be 24 to 100 MHz, not 120 MHz$"):
        whole_design(BOARD._replace(clock_hz=120e6), machine, program)


@pytest.mark.parametrize(("mhz", "refused"), [(40, None), (54, None), (41, "82 MHz of 48 MHz"), (101, "24 to 100 MHz")])
def test_mhz_asks_of_a_pll_the_chips_clock_and_not_the_machines_which_is_divided_from_it(mhz, refused):
    """48 MHz times 5/3 are 80 MHz; 40 MHz themselves no PLL makes here."""
    asked = Namespace(array="8x4", lanes=None, mhz=mhz, memory_clock=None, ram="auto", chip=None)
    if refused:
        with pytest.raises(InputError, match=refused):
            chosen_whole(BOARD, asked, None)
        return
    board, design = chosen_whole(BOARD, asked, None)
    assert (board.clock_hz, design.memory) == (1e6 * mhz, "ddr3")


def test_a_clock_that_no_pll_makes_is_refused_before_anything_is_elaborated(program):
    with pytest.raises(InputError, match=r"^the PLL of ecp5 cannot make 41 MHz of 25 MHz exactly"):
        whole_design(load_board("ulx3s-85f")._replace(clock_hz=41e6), program.machine, program)


def test_litedram_that_is_missing_is_named_with_the_way_around_it(monkeypatch, program):
    monkeypatch.setitem(sys.modules, "litex.gen.fhdl.verilog", None)
    ddr3_verilog.cache_clear()
    with pytest.raises(
        InputError,
        match=r"^board orangecrab-85f: a DDR3 controller for mt41k64m16 needs its generator: "
        r"pip install litedram==2024\.12 litex==2024\.12; or take --ram block$",
    ):
        board_cores(BOARD, whole_design(BOARD, program.machine, program))


@generates
def test_the_core_of_a_board_is_generated_once(monkeypatch, program):
    """Files, synthesis and the count by block each ask for it."""
    from litex.gen.fhdl import verilog

    calls, convert = [], verilog.convert
    monkeypatch.setattr(verilog, "convert", lambda *what, **more: calls.append(what) or convert(*what, **more))
    ddr3_verilog.cache_clear()
    design = whole_design(BOARD, program.machine, program)
    one, other = (board_cores(BOARD, design) for _ in range(2))
    assert one == other
    assert len(calls) == 1
    board_cores(BOARD._replace(clock_hz=BOARD.clock_hz / 2), design)
    assert len(calls) == 2


@generates
@pytest.mark.slow
def test_the_files_are_whole_and_every_port_and_cell_is_known_to_yosys(tmp_path, capsys):
    main(["verilog", "--board", "orangecrab-85f", "--whole", "--array", "8x4", "--out", str(tmp_path), "--json"])
    names = [path.rpartition("/")[2] for path in json.loads(capsys.readouterr().out)["files"]]
    assert names == ["tritforge_top.v", "tritforge_ddr3.v", "top.lpf", "build.sh", "config.json"]
    assert json.loads((tmp_path / "config.json").read_text())["memory"]["chip"] == "mt41k64m16"
    assert "read_verilog tritforge_top.v tritforge_ddr3.v;" in (tmp_path / "build.sh").read_text()
    cells = "read_verilog -lib -specify +/lattice/cells_sim_ecp5.v +/lattice/cells_bb_ecp5.v"
    run_yosys([cells, "read_verilog tritforge_top.v tritforge_ddr3.v", "hierarchy -check -top tritforge_top"], tmp_path)
    ports = set(re.findall(r'LOCATE COMP "(ddram_\w+)', (tmp_path / "top.lpf").read_text()))
    top = (tmp_path / "tritforge_top.v").read_text()
    module = top[top.index("module tritforge_top(") :]
    assert ports == set(re.findall(r"(?m)^  (?:input|output|inout) (?:\[\d+:0\] )?(ddram_\w+);", module))
