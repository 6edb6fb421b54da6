"""Options of commands that build, write or simulate a board with a whole-token machine, and what they choose."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from hw.boards.catalog import Board
from hw.boards.whole.design import whole_array, whole_board
from hw.config import load_array
from hw.errors import InputError
from hw.program.image import Image, load_image
from hw.program.machine import machine_around

if TYPE_CHECKING:
    from hw.boards.whole.design import WholeDesign

__all__ = ["add_whole", "chosen_image", "chosen_whole"]

_MOST_MHZ = 1000


def add_whole(parser: ArgumentParser) -> None:
    """Options of ``--whole``; ``--program`` and ``--array`` are the command's own."""
    group = parser.add_argument_group("a whole-token machine instead of an array")
    group.add_argument(
        "--whole", action="store_true", help="everything behind the token id on the board, with its memory"
    )
    group.add_argument(
        "--lanes", type=int, metavar="N", help="vector lanes (default: those of --program, or the fewest)"
    )
    group.add_argument(
        "--ram", metavar="{auto,sdram,ddr3,block}", default="auto",
        help="SDRAM or DDR3, or block RAM as large as --program needs (default: what the board has)",
    )  # fmt: skip
    group.add_argument(
        "--mhz",
        type=float,
        metavar="F",
        help="clock of machine, memory and link (default: the board's, see docs/boards.md)",
    )
    group.add_argument(
        "--memory-clock", type=int, metavar="N",
        help="clock of the SDRAM and its controller: N times the machine's (default: 1, the machine's own)",
    )  # fmt: skip
    group.add_argument(
        "--chip",
        metavar="NAME",
        help="SDRAM or DDR3 that is soldered in the place of the board's usual one, by name or (SDRAM) a .yaml",
    )


def chosen_image(options: Namespace) -> Image | None:
    """What ``--program`` names."""
    path: Path | None = options.program
    return load_image(path) if path else None


def chosen_whole(board: Board, options: Namespace, image: Image | None) -> "tuple[Board, WholeDesign]":
    """The board at its machine's clock, and the design that the options ask for.

    Raises:
        InputError: options that contradict each other, a clock that the board cannot make, or a memory that it lacks.
    """
    from hw.boards.whole.choice import whole_design  # loads Amaranth

    if image and (given := [name for name in ("array", "lanes") if getattr(options, name) is not None]):
        raise InputError(f"--{given[0]} must be left out with --program, whose machine is built")
    ratio = 1 if options.memory_clock is None else options.memory_clock
    array = options.array or whole_array(board)
    machine = image.machine if image else machine_around(load_array(array), options.lanes, weight_packing="5in8")
    board = whole_board(board)
    if options.mhz is not None:
        if not 0 < options.mhz < _MOST_MHZ:
            raise InputError(f"--mhz must be above 0 and below {_MOST_MHZ}, not {options.mhz:g}")
        board = board._replace(clock_hz=1e6 * options.mhz)
    return board, whole_design(board, machine, image, options.ram, options.chip, ratio)
