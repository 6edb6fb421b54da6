"""Does an array fit a part: an estimate before synthesis, fitted to what synthesis gave."""

from typing import NamedTuple

from hw.boards.catalog import Board, Family
from hw.config import ArrayConfig
from hw.errors import InputError

__all__ = ["check_room", "estimate_luts"]

_FILL = 0.85  # share of a part's cells that place and route still handles
_FIVE_TRIT_DECODER_LUTS = 110  # per byte of the weight bus: 243 codes of five trits


class _Size(NamedTuple):
    """Logic cells of a family: so many for link and control, so many per lane with its share of tree and buffers."""

    fixed: int
    per_lane: int


# Fitted to synthesized tops: ECP5 4x2, 8x8 and 16x16, iCE40 2x2, 4x4 and 8x4; of Gowin and Xilinx only 4x4, their lanes
# are taken to cost what an ECP5's and three quarters of it cost. Carry and RAM cells count as the LUTs that they take.
_CELLS: dict[Family, _Size] = {
    "ecp5": _Size(3050, 27),
    "ice40": _Size(3300, 62),
    "gowin": _Size(2400, 27),
    "xilinx7": _Size(1500, 20),
    "ultrascale+": _Size(1500, 20),
}


def estimate_luts(board: Board, config: ArrayConfig) -> int:
    """LUTs of the board's top level with this array; ECP5 and iCE40 within about a tenth of what nextpnr packed."""
    size = _CELLS[board.family]
    decoder = _FIVE_TRIT_DECODER_LUTS * config.weight_bus_bits // 8 if config.packing == "5in8" else 0
    return size.fixed + size.per_lane * config.lanes + decoder


def check_room(board: Board, config: ArrayConfig) -> None:
    """Refuse an array that the part cannot hold by the estimate.

    Raises:
        InputError: by how much it is too big, and the largest number of lanes that fits.
    """
    luts, limit = estimate_luts(board, config), int(_FILL * board.room.luts)
    if luts > limit:
        size = _CELLS[board.family]
        lanes = (limit - size.fixed) // size.per_lane
        raise InputError(
            f"array {config.name!r} needs about {luts} LUTs, {luts - limit} more than {board.name} has room for "
            f"({limit} of its {board.room.luts}); the largest that fits has about {lanes} lanes, "
            f"such as {lanes // board.cols}x{board.cols}; the default is {board.rows}x{board.cols}"
        )
