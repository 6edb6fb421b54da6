"""The program that simulates a board with a whole-token machine and its memory."""

from pathlib import Path

from hw.boards.catalog import Board
from hw.boards.top import TOP_NAME
from hw.boards.whole.choice import chip_of
from hw.boards.whole.ddr3 import BoardDdr3
from hw.boards.whole.design import WholeDesign
from hw.boards.whole.sdram import BoardSdram
from hw.errors import InputError
from hw.memory.bench import CHIP_HEADER, chip_numbers
from hw.memory.ddr3.bench import SKEW
from hw.memory.ddr3.core import ddr3_verilog
from hw.process.verilator import compile_program

__all__ = ["LINE_HEADER", "check_preload", "whole_program"]

LINE_HEADER = Path(__file__).parents[1] / "serial_line.h"
_HARNESS = Path(__file__).with_name("sdram_board.cpp")
_PLAIN_HARNESS = Path(__file__).parents[1] / "simulation.cpp"


def check_preload(design: WholeDesign) -> None:
    """Whether a simulation may start with an image in its memory.

    Raises:
        InputError: it may not.
    """
    if design.memory != "sdram":
        kind = "block RAM" if design.memory == "block" else "DDR3"
        raise InputError(f"--preload must come with an SDRAM; {kind} is loaded over the line")


def whole_program(board: Board, design: WholeDesign, verilog: str, preload: Path | None) -> tuple[Path, list[str]]:
    """The compiled program of the top level's ``verilog``, and the arguments that describe its memory.

    Raises:
        InputError: LiteDRAM is missing where the memory is DDR3; or see ``hw.process.verilator.compile_program``.
    """
    found = chip_of(board, design)
    if isinstance(found, BoardDdr3):
        verilog += ddr3_verilog(found.chip, board.clock_hz, None, SKEW)
    if not isinstance(found, BoardSdram):
        return compile_program(verilog, TOP_NAME, _PLAIN_HARNESS, headers=[LINE_HEADER]), []
    program = compile_program(verilog, TOP_NAME, _HARNESS, headers=[LINE_HEADER, CHIP_HEADER])
    memory_hz = design.memory_ratio * board.clock_hz
    numbers = chip_numbers(found.chip, memory_hz, found.chip.timing(memory_hz).cas)
    return program, [str(preload or ""), str(design.memory_ratio), *(repr(float(number)) for number in numbers)]
