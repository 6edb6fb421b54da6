"""The boards that Verilog can be written for: one entry each."""

from typing import NamedTuple

from hw.errors import InputError

__all__ = ["BOARDS", "Board", "load_board"]


class Board(NamedTuple):
    """One board. Its pins and clock come from a platform class of amaranth-boards."""

    name: str
    platform: str  # module:class
    family: str  # key of _FLOWS
    device: str  # nextpnr's options for device and package
    luts: int  # four-input look-up tables of the device
    array: str  # the default array


BOARDS = {
    board.name: board
    for board in (
        Board("icebreaker", "icebreaker:ICEBreakerPlatform", "ice40", "--up5k --package sg48", 5280, "4x4"),
        Board("ulx3s-12f", "ulx3s:ULX3S_12F_Platform", "ecp5", "--12k --package CABGA381 --speed 6", 12144, "8x8"),
        Board("ulx3s-25f", "ulx3s:ULX3S_25F_Platform", "ecp5", "--25k --package CABGA381 --speed 6", 24288, "16x8"),
        Board("ulx3s-45f", "ulx3s:ULX3S_45F_Platform", "ecp5", "--45k --package CABGA381 --speed 6", 43848, "16x16"),
        Board("ulx3s-85f", "ulx3s:ULX3S_85F_Platform", "ecp5", "--85k --package CABGA381 --speed 6", 83640, "16x16"),
    )
}


def load_board(name: str) -> Board:
    """The board called ``name``.

    Raises:
        InputError: unknown name; the known ones are listed.
    """
    if name not in BOARDS:
        raise InputError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]
