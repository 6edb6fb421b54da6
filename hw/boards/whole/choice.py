"""Chooses a design for a board: the memory that a machine or a program asks for, and whether the board has it."""

from hw.boards.catalog import Board
from hw.boards.clock import pll_settings, settings_of
from hw.boards.whole.ddr3 import BoardDdr3, ddr3_of
from hw.boards.whole.design import WholeDesign, baud_of
from hw.boards.whole.sdram import BoardSdram, sdram_of
from hw.errors import InputError
from hw.memory.chip import check_ratio
from hw.memory.ddr3.chips import check_clock
from hw.program.image import Image
from hw.program.machine import MachineConfig

__all__ = ["MEMORIES", "chip_of", "whole_design"]

MEMORIES = ("auto", "sdram", "ddr3", "block")
_BLOCK_BYTES = {  # of a block RAM whose words have eight bits to the byte
    "ecp5": 2048,  # Lattice FPGA-TN-02204: DP16KD, 1024 x 18 and 512 x 36 without the parity bits
    "ice40": 512,
    "gowin": 2048,
    "xc7": 4096,
    "xcup": 4096,
}
_KEPT_SHARE = 0.75  # of a part's block RAMs for the memory; the machine's own buffers take the rest


def chip_of(board: Board, design: WholeDesign) -> BoardSdram | BoardDdr3 | None:
    """The memory beside the part that a design uses; None: block RAM.

    Raises:
        InputError: an unknown chip, or a board that lacks that memory.
    """
    if design.memory == "block":
        return None
    found = sdram_of(board, design.chip) if design.memory == "sdram" else ddr3_of(board, design.chip)
    if found is None:
        raise InputError(f"board {board.name} has no {design.memory.upper()}")
    return found


def whole_design(
    board: Board,
    machine: MachineConfig,
    image: Image | None,
    memory: str = "auto",
    chip: str | None = None,
    memory_ratio: int = 1,
) -> WholeDesign:
    """The design of a board for a machine, with room for ``image`` where there is one.

    ``auto`` takes the SDRAM or DDR3 where the board has one, else block RAM. ``memory_ratio``: of an SDRAM's clock to
    the board's.

    Raises:
        InputError: the board lacks that memory or cannot clock it, or the program does not fit into it.
    """
    if memory not in MEMORIES:
        raise InputError(f"--ram must be one of {', '.join(MEMORIES)}, not {memory!r}")
    found: BoardSdram | BoardDdr3 | None = sdram_of(board, chip) or ddr3_of(board, chip)
    kind = "block" if found is None else "ddr3" if isinstance(found, BoardDdr3) else "sdram"
    if memory not in ("auto", "block", kind):
        what = f"{memory.upper()}" + (f" (it has {kind.upper()})" if found else " that is supported here")
        raise InputError(f"board {board.name} has no {what}; take --ram block or another board")
    if memory != "block" and found is not None:
        size, where = found.chip.bytes, f"the {kind.upper()} of {board.name} ({found.chip.name})"
    else:
        kind, size = "block", int(_KEPT_SHARE * board.capacity.block_rams) * _BLOCK_BYTES[board.family]
        where = f"block RAM of {board.name}, which has no SDRAM here" if found is None else f"block RAM of {board.name}"
    wanted = image.header.memory_words * machine.word_bytes if image else 0
    if wanted > size:
        raise InputError(
            f"program needs {wanted} bytes of memory (image, K and V), and {where} holds {size}: take a board with a "
            "larger memory, a shorter --context or fewer digits"
        )
    if kind == "block" and image is None:
        raise InputError(
            f"board {board.name}: --whole must come with --program, whose size the memory takes in {where}"
        )
    if chip and kind == "block":
        raise InputError(f"--chip must be left out in {where}")
    if memory_ratio != 1:
        if not isinstance(found, BoardSdram) or kind != "sdram":
            raise InputError(f"--memory-clock must be left out in {where}, whose clock follows from the machine's")
        check_ratio("--memory-clock", found.chip, board.clock_hz, memory_ratio)
    if kind == "ddr3":
        check_clock(board.clock_hz)
        pll_settings(board.family, board.board_hz, 2 * board.clock_hz)  # the chip's clock; the machine's is half of it
    else:
        settings_of(board, memory_ratio)
    words = (wanted if kind == "block" else size) // machine.word_bytes
    return WholeDesign(machine, kind, words, baud_of(board), chip, memory_ratio)
