"""What a board is to hold for a whole token: the machine, its memory, the speed of the line."""

from typing import NamedTuple

from hw.boards.catalog import Board
from hw.errors import InputError
from hw.program.machine import MachineConfig

__all__ = ["WholeDesign", "baud_of", "whole_array", "whole_board"]

# Asked of the machine, which is slower than an array alone; other boards keep their array's.
_CLOCKS_HZ = {"ulx3s": 50e6, "orangecrab": 48e6}
# Where no program says: small ones, as an SDRAM of 16 bits gives 8 x 8 lanes a tile of five-trit bytes in 6 or 7 edges.
_ARRAYS = {"ulx3s-25f": "8x4", "ulx3s-12f": "8x4", "orangecrab-25f": "8x4"}
_ARRAY = "8x8"

_RATES = (3_000_000, 2_000_000, 1_000_000)  # bits per second, each exact on the USB bridges of the boards
_LEAST_DIVISOR = 8  # clock cycles per bit, so that half a cycle of jitter is no fault
_DEVIATION = 0.01  # of a bit, which a UART's sampling of ten bits survives four times over


class WholeDesign(NamedTuple):
    """A machine with ``memory_words`` memory words, in block RAM or in the board's SDRAM or DDR3."""

    machine: MachineConfig
    memory: str  # "block", "sdram" or "ddr3"
    memory_words: int
    baud: int
    chip: str | None = None  # of the SDRAM or DDR3, where it is not the one that the board usually has
    memory_ratio: int = 1  # of an SDRAM's clock to the machine's

    @property
    def name(self) -> str:
        """Of its folder and its rows."""
        faster = f"-memory-x{self.memory_ratio}" if self.memory_ratio > 1 else ""
        return f"whole-{self.machine.array.rows}x{self.machine.array.cols}{faster}"

    @property
    def memory_bytes(self) -> int:
        """Size of the memory."""
        return self.memory_words * self.machine.word_bytes


def baud_of(board: Board) -> int:
    """The fastest rate that the board's clock divides into.

    Raises:
        InputError: it divides into none, or is too slow for any.
    """
    for rate in _RATES:
        divisor = round(board.clock_hz / rate)
        if divisor >= _LEAST_DIVISOR and abs(board.clock_hz / divisor / rate - 1) <= _DEVIATION:
            return rate
    raise InputError(
        f"board {board.name}: its clock of {board.clock_hz / 1e6:g} MHz must be within {_DEVIATION:.0%} of a whole "
        f"number of MHz, {_LEAST_DIVISOR} or more, for a serial line of {_RATES[-1]} baud"
    )


def whole_board(board: Board) -> Board:
    """The board at the clock that is asked of a whole-token machine on it; docs/boards.md says what was reached.

    Nothing above that clock is asked of place and route: the constraint would be of the machine's clock alone.
    """
    return board._replace(clock_hz=_CLOCKS_HZ.get(board.name.rpartition("-")[0], board.clock_hz), asked_hz=0.0)


def whole_array(board: Board) -> str:
    """The array of a board's machine where neither a program nor ``--array`` says one."""
    return _ARRAYS.get(board.name, _ARRAY)
