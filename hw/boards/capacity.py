"""Does an array or a machine fit a part: an estimate before synthesis, fitted to what synthesis gave."""

from hw.boards.catalog import Board
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.synthesis.families import FAMILIES

__all__ = ["check_capacity", "check_machine_room", "estimate_luts"]

_FILL = 0.85  # share of a part's cells that place and route still handles
_FIVE_TRIT_DECODER_LUTS = 110  # per byte of the weight bus: 243 codes of five trits

# Of a top with the smallest machine that was synthesized, 8 x 4 with 2 lanes: docs/results/boards/*-whole-8x4.json.
_LEAST_MACHINE_LUTS = {"ice40": 29_750, "gowin": 23_154}
_SMALLER = 0.85  # of them, which no smaller array and no smaller buffers come below


def estimate_luts(board: Board, config: ArrayConfig) -> int:
    """LUTs of the board's top level with this array; within a tenth of what synthesis gives today."""
    size = FAMILIES[board.family].size
    decoder = _FIVE_TRIT_DECODER_LUTS * config.weight_bus_bits // 8 if config.packing == "5in8" else 0
    return size.fixed + size.per_lane * config.lanes + decoder


def check_capacity(board: Board, config: ArrayConfig) -> None:
    """Refuse an array that the part cannot hold by the estimate.

    Raises:
        InputError: by how much it is too big, and the largest number of lanes that fits.
    """
    luts, limit = estimate_luts(board, config), int(_FILL * board.capacity.luts)
    if luts > limit:
        size = FAMILIES[board.family].size
        lanes = (limit - size.fixed) // size.per_lane
        raise InputError(
            f"array {config.name!r} needs about {luts} LUTs, {luts - limit} more than {board.name} has room for "
            f"({limit} of its {board.capacity.luts}); the largest that fits has about {lanes} lanes, "
            f"such as {lanes // board.cols}x{board.cols}; the default is {board.rows}x{board.cols}"
        )


def check_machine_room(board: Board) -> None:
    """Refuse a board that holds no whole-token machine whatever its size, before minutes of synthesis show it.

    Raises:
        InputError: what the smallest machine takes, and what the part has.
    """
    least = _LEAST_MACHINE_LUTS.get(board.family, 0)
    if _SMALLER * least > board.capacity.luts:
        raise InputError(
            f"board {board.name}: a machine of 8x4 with 2 lanes, the smallest measured, takes {least} LUTs and "
            f"{board.part} has {board.capacity.luts}; take a larger board, such as ulx3s-85f"
        )
