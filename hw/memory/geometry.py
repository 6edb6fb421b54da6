"""``Geometry``: how memory words lie in an SDR SDRAM, and how many of them are read ahead."""

from typing import NamedTuple

from hw.errors import InputError
from hw.memory.chip import LONGEST_BURST, SdramChip

__all__ = [
    "CLOSED_EDGES",
    "COMMAND_EDGES",
    "CROSSING_WORDS",
    "DECISION_EDGES",
    "IN_TABLES",
    "IO_EDGES",
    "QUEUED_WORDS",
    "Geometry",
]

DECISION_EDGES = 1  # from one that finds what may be sent to the one that sends it
COMMAND_EDGES = 1  # from one that sends a command to the one on which it is at the pins' registers
IO_EDGES = 2  # that the registers at the pins add between a read's command and its data
CLOSED_EDGES = 3  # of a slower clock behind its reset: the memory's side has left its own within two
CROSSING_WORDS = 4  # on their way to a slower clock; a slot is back within three edges of it
QUEUED_WORDS = 16  # read ahead of who takes them; a LUT RAM of ECP5 and Gowin is as deep
IN_TABLES = {"ram_style": "distributed"}  # of a memory that synthesis shall not put into block RAM


class Geometry(NamedTuple):
    """How memory words lie in a chip: bank and row change once the columns of a row are through."""

    burst: int  # beats of a read or write
    parts: int  # bursts of a memory word
    row_bursts: int  # bursts of a row

    @classmethod
    def of(cls, chip: SdramChip, word_bits: int) -> "Geometry":
        """Of words of so many bits.

        Raises:
            InputError: a word that is not a power of two of beats, or longer than a row.
        """
        beats = word_bits // chip.data_bits
        if beats < 1 or word_bits % chip.data_bits or beats & (beats - 1) or beats > chip.columns:
            raise InputError(
                f"word_bits must be {chip.data_bits} x a power of two up to {chip.columns}, the columns of a row of "
                f"{chip.name}, not {word_bits}"
            )
        burst = min(beats, LONGEST_BURST)
        return cls(burst, beats // burst, chip.columns // burst)
