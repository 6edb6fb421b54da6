"""FPGA families: an entry of the table is enough to synthesize an array and to write a board's folder."""

import pytest

from hw.arithmetic.adders import CELLS
from hw.boards.capacity import estimate_luts
from hw.boards.catalog import BOARDS, board_config, load_board
from hw.boards.project import write_board
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.synthesis.families import FAMILIES, Size, family_called, family_of
from hw.synthesis.resources import Accumulated, synthesize


@pytest.mark.parametrize("name", FAMILIES)
def test_an_array_alone_is_synthesized_for_every_family_without_multiplier_blocks(name):
    config = ArrayConfig(name="t", rows=4, cols=2)
    found = synthesize(Accumulated(config, FAMILIES[name].cells), name)
    assert found.tables >= config.lanes * 8  # a term bit takes a table or more
    assert found.flip_flops >= config.cols * config.accumulator_bits
    assert found.dsps == 0


def test_a_new_family_is_an_entry_and_nothing_else(monkeypatch, tmp_path):
    mine = FAMILIES["ice40"]._replace(constraints="top.xdc", settings=("set_mine 1",), flow=None, size=Size(10, 1))
    monkeypatch.setitem(FAMILIES, "mine", mine)
    board = load_board("icebreaker")._replace(family="mine")
    config = board_config(board, "2x2")
    names = [path.name for path in write_board(board, config, tmp_path)]
    assert names == ["tritforge_top.v", "top.xdc", "build.tcl", "config.json"]
    assert (tmp_path / "top.xdc").read_text().endswith("set_mine 1\n")
    assert estimate_luts(board, config) == 14


def test_families_of_boards_and_cells_exist():
    assert {board.family for board in BOARDS.values()} == set(FAMILIES)
    assert {family.cells for family in FAMILIES.values()} < set(CELLS)
    assert [family_of(cells) for cells in ("portable", "ecp5", "lut6")] == ["ecp5", "ecp5", "xc7"]
    with pytest.raises(InputError, match=r"^family must be one of ecp5, ice40, gowin, xc7, xcup, not 'stratix'$"):
        family_called("stratix")
