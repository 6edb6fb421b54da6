"""The machine with its memory in block RAM placed and routed for a board, row by row into the results."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hw.boards.capacity import check_machine_room
from hw.boards.catalog import load_board
from hw.boards.tools import flow_of
from hw.program.image import Image
from hw.progress import StageReport
from hw.synthesis.families import FAMILIES
from sim.microgpt.choice import MachineChoice
from sim.microgpt.results import add_routed_row
from sim.microgpt.rows import RoutedRow

__all__ = ["check_route", "route"]


def check_route(name: str) -> None:
    """Raises InputError unless there is a board called ``name``, with an open flow and room for some machine."""
    board = load_board(name)
    flow_of(board)
    check_machine_room(board)


def route(
    name: str, image: Image, choice: MachineChoice, average: float, seeds: Sequence[int], folder: Path,
    add: Path | None, report: StageReport,
) -> RoutedRow:  # fmt: skip
    """Every seed on the board called ``name``; each is written as it ends, whatever clock it reaches.

    ``choice``: what ``image`` was compiled for; ``average``: its cycles per token.

    Raises:
        InputError: an unknown board, one without an open flow or without room.
    """
    from hw.boards.bitstream import route_seeds  # loads Amaranth
    from hw.boards.whole.choice import whole_design
    from hw.boards.whole.design import whole_board
    from hw.verilog import machine_verilog

    board = whole_board(load_board(name))
    flow, machine = flow_of(board), image.machine
    design = whole_design(board, machine, image, "block")
    verilog = hashlib.sha256(machine_verilog(machine).encode()).hexdigest()
    found: list[RoutedRow] = []

    def done(seed: int, used: dict) -> None:
        row = RoutedRow(
            **choice.row,
            board=board.name,
            memory_bytes=design.memory_bytes,
            average=average,
            tables=used[flow.luts],
            flip_flops=used[flow.flip_flops],
            block_rams=used[flow.block_rams],
            dsps=sum(used.get(name, 0) for name in FAMILIES[board.family].dsps),
            mhz=(found[-1].mhz if found else {}) | {str(seed): used["mhz"]},
            verilog_sha256=verilog,
        )
        found.append(row)
        if add:
            add_routed_row(add, row)
        report("seeds", len(found), len(seeds))

    route_seeds(board, design, folder, seeds, lambda text: None, done)
    return found[-1]
