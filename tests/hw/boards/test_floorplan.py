"""The floorplan of an ECP5 array: every lane's operand has a place of its own, in the strip of the columns it feeds."""

import json
import re
from collections import defaultdict

import pytest

from hw.boards import bitstream
from hw.boards.catalog import BOARDS, board_array, load_board
from hw.boards.floorplan import die_of, fix_operands

BEL = re.compile(r"X(\d+)/Y(\d+)/SLICE[A-D]\.FF[01]")
COLUMN = re.compile(r"\.array\.column(\d+)\.")
BOARD = load_board("ulx3s-85f")


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> dict:
    """The netlist of an array of two groups of columns, eight and one, synthesized for a board with a floorplan."""
    pytest.importorskip("pyosys")
    folder = tmp_path_factory.mktemp("floorplan")
    bitstream.estimate(BOARD, board_array(BOARD, 6, 9), folder, lambda stage: None)
    return json.loads((folder / "top.json").read_text())


def fixed(netlist: dict, of: str = "") -> dict[int, tuple[int, int, str]]:
    """By the net of each register with a place whose name has ``of``: column and row of its tile, and the place."""
    found = {}
    for name, cell in top(netlist)["cells"].items():
        if of in name and (bel := cell["attributes"].get("BEL")):
            assert cell["type"] == "TRELLIS_FF"
            x, y = map(int, BEL.fullmatch(bel).groups())
            found[cell["connections"]["Q"][0]] = (x, y, bel)
    return found


def read_by(netlist: dict, nets) -> dict[int, set[int]]:
    """By net, the columns of the array whose cells read it."""
    columns = defaultdict(set)
    for name, cell in top(netlist)["cells"].items():
        if found := COLUMN.search(name):
            for bits in cell["connections"].values():
                for net in set(bits) & nets:
                    columns[net].add(int(found[1]))
    return columns


def top(netlist: dict) -> dict:
    return next(module for module in netlist["modules"].values() if module["attributes"].get("top"))


def test_every_bit_of_every_lane_has_a_place_of_its_own_for_each_group(planned):
    every, places = fixed(planned), fixed(planned, ".array.")
    assert len({place[2] for place in every.values()}) == len(every)
    assert len(places) == 2 * 6 * 8
    tiles = defaultdict(list)
    for net, (x, y, _) in places.items():
        tiles[x, y].append(net)
    assert {len(nets) for nets in tiles.values()} == {8}  # a lane's bits share a tile


def test_what_has_a_place_feeds_lanes_of_its_own_group_and_lies_in_the_middle_of_its_strip(planned):
    places = fixed(planned, ".array.")
    columns = read_by(planned, places.keys())
    assert columns.keys() == places.keys()
    lines = {}
    for net, read in columns.items():
        groups = {column // 8 for column in read}
        assert len(groups) == 1
        lines.setdefault(groups.pop(), set()).add(places[net][0])
    # columns 0 to 7 of 9 on tiles 2 to 124, then column 8: middles of the strips
    assert lines == {0: {57}, 1: {118}}


def test_a_lane_lies_beside_the_next_in_rows_of_logic(planned):
    rows = sorted({place[1] for place in fixed(planned, ".array.").values()})
    assert len(rows) == 6
    assert set(rows) <= set(die_of(BOARD.part).bands[4]), "a small array fills one band in the middle of the part"


def test_a_flag_that_moves_the_tiles_of_a_group_stands_beside_its_line(planned):
    flags = fixed(planned, ".tiles.")
    swaps = read_by(planned, flags.keys())
    assert len(flags) > len(swaps), "flags of words too, which columns do not read"
    for net, columns in swaps.items():
        (group,) = {column // 8 for column in columns}
        assert 1 <= flags[net][0] - (57, 118)[group] <= 3
    assert len(swaps) == 2 * 4  # one for each place of a chain


@pytest.mark.parametrize(
    ("part", "tiles", "rows"),
    [
        # of the columns and rows of tiles that Project Trellis lists for each part
        ("LFE5U-25F-6BG381C", 1, [*range(26, 37)]),
        ("LFE5U-25F-6BG381C", 2200, [*range(14, 25), *range(26, 37), *range(38, 49)]),
        ("LFE5U-12F-6BG381C", 10**6, [*range(2, 13), *range(14, 25), *range(26, 37), *range(38, 49)]),
        ("LFE5U-45F-6BG381C", 1000, [*range(23, 34), *range(35, 46)]),
        ("LFE5U-85F-6BG381C", 1, [*range(47, 58)]),
    ],
)
def test_rows_in_the_middle_hold_so_many_tiles(part, tiles, rows):
    assert die_of(part).middle(tiles) == rows


@pytest.mark.parametrize(("part", "tiles"), [("LFE5U-25F", 3036), ("LFE5U-45F", 5481), ("LFE5U-85F", 10455)])
def test_a_die_has_the_logic_tiles_of_its_part(part, tiles):
    die = die_of(part)
    assert die.columns * sum(map(len, die.bands)) == tiles


def test_every_board_with_a_floorplan_has_a_die():
    planned = [board for board in BOARDS.values() if board.floorplan]
    assert planned
    for board in planned:
        assert die_of(board.part).bands


def test_a_lane_whose_register_is_gone_is_no_plan(planned):
    lost = json.loads(json.dumps(planned))
    net = next(iter(fixed(lost, ".array.")))
    cells = top(lost)["cells"]
    del cells[next(name for name, cell in cells.items() if cell["connections"].get("Q") == [net])]
    with pytest.raises(RuntimeError, match=r"no register of every bit of lane \d, group \d in the netlist"):
        fix_operands(lost, board_array(BOARD, 6, 9), die_of(BOARD.part))


def made_up(rows: int, cols: int, words: int) -> dict:
    """A netlist of the registers alone that a plan looks for: operands, swaps and flags of ``words`` words a group."""
    cells, names, nets = {}, {}, iter(range(2, 10**6))

    def register(name: str, bits: int) -> None:
        names[f"core.{name}"] = {"bits": [next(nets) for _ in range(bits)]}
        for bit in names[f"core.{name}"]["bits"]:
            cells[f"{name}.{bit}"] = {"type": "TRELLIS_FF", "attributes": {}, "connections": {"Q": [bit], "M": [2]}}

    for group in range(-(-cols // 8)):
        copy = f"_copy{group}" if cols > 8 else ""
        for lane in range(rows):
            register(f"array.x{lane}{copy}", 8)
        for position in range(4):
            register(f"tiles.swap{position}{copy}", 1)
            for word in range(words):
                register(f"tiles.here{position}_{word}{copy}", 1)
    return {"modules": {"top": {"attributes": {"top": "1"}, "cells": cells, "netnames": names}}}


@pytest.mark.parametrize(
    ("board", "rows", "cols", "words"),
    [("ulx3s-25f", 40, 25, 1), ("ulx3s-25f", 4, 17, 200), ("ulx3s-25f", 256, 3, 2), ("ulx3s-85f", 80, 41, 5)],
)
def test_whatever_the_array_every_place_is_one_of_the_part_and_taken_once(board, rows, cols, words):
    """Columns at the part's edge, more words than tiles beside a line, more lanes than rows."""
    netlist, die = made_up(rows, cols, words), die_of(load_board(board).part)
    count = fix_operands(netlist, board_array(load_board(board), rows, cols), die)
    places = fixed(netlist)
    assert len({place[2] for place in places.values()}) == len(places) == count
    assert all(die.first <= x <= die.last and any(y in band for band in die.bands) for x, y, _ in places.values())
    assert len(fixed(netlist, "array.")) == rows * 8 * -(-cols // 8)
    assert len(fixed(netlist, "swap")) == 4 * -(-cols // 8)


def test_a_machine_and_an_array_with_resting_outputs_have_no_plan(tmp_path):
    pytest.importorskip("pyosys")
    grid = board_array(BOARD, 4, 4).model_copy(update={"spread_stages": 0}).reorganised("systolic")
    bitstream.estimate(BOARD, grid, tmp_path, lambda stage: None)
    assert fixed(json.loads((tmp_path / "top.json").read_text())) == {}
