"""Requests of a board that holds a whole-token machine and its memory; frames are those of ``hw.host.protocol``.

Requests (numbers are little-endian; an address counts memory words):

| kind | payload | answer behind the code |
|---|---|---|
| ``HELLO`` | none | ``WholeHello``; never taken for a repetition |
| ``RESET`` | none | none; machine held, queues empty, a memory that did not answer reset; it keeps what it holds |
| ``WRITE`` | address, then whole memory words | none; written there. The same frame may be sent any number of times |
| ``CHECK`` | address, number of words | none; their CRC-32 is in ``STATUS`` once it is no longer ``checking`` |
| ``RUN`` | 1 | none; the machine is let go and reads its program |
| ``TOKENS`` | token ids, bit 31: the next one is wanted | none; ``BUSY``: no room, nothing was taken |
| ``NEXT`` | none | the next tokens that wait, each with the clock cycles of what was sent since the one before |
| ``SEEK`` | position | none; ``BUSY``: one is waiting. Taken between tokens, before any that still waits |
| ``STATUS`` | none | ``WholeStatus`` |

Writes and checks belong to a machine that is held: a running one has the memory to itself.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from hw.division import ceil_divide
from hw.errors import InputError
from hw.host.protocol import FRAME_BYTES, PAYLOAD_BYTES, Kind

__all__ = [
    "ANSWERS",
    "MACHINE_PROTOCOL",
    "PATIENCE_BITS",
    "TOKEN_QUEUE",
    "WANTED",
    "WholeHello",
    "WholeKind",
    "WholeStatus",
    "frame_bytes",
    "write_bytes",
]

MACHINE_PROTOCOL = 2  # raised when the meaning of a frame changes; the first byte of the greeting, as that of an array
WANTED = 1 << 31  # with a token id: the next token is wanted
TOKEN_QUEUE = 64  # tokens that may wait in front of the machine, and behind it
PATIENCE_BITS = 16  # clock cycles that memory may stay silent, as a power of two; the machine's own patience too
ANSWERS = struct.Struct("<II")  # of NEXT: token, clock cycles

_ADDRESS_BYTES = 4


class WholeKind(IntEnum):
    """What a request asks for; the first two are those of every board."""

    HELLO = Kind.HELLO
    RESET = Kind.RESET
    STATUS = Kind.STATUS
    WRITE = 16
    CHECK = 17
    RUN = 18
    TOKENS = 19
    NEXT = 20
    SEEK = 21


class WholeHello(NamedTuple):
    """What the device says about itself."""

    protocol: int
    word_bytes: int  # of a memory word
    memory_words: int
    clock_hz: int
    configuration: int  # of the machine: what the header of its programs names

    _FORMAT = "<BHIIQ"

    @classmethod
    def of(cls, word_bytes: int, memory_words: int, clock_hz: float, configuration: int) -> "WholeHello":
        """The greeting of a device."""
        return cls(MACHINE_PROTOCOL, word_bytes, memory_words, round(clock_hz), configuration)

    def pack(self) -> bytes:
        """Its bytes in the answer."""
        return struct.pack(self._FORMAT, *self)

    @classmethod
    def unpack(cls, data: bytes) -> "WholeHello":
        """Read the answer to ``HELLO``.

        Raises:
            InputError: the board holds something else.
        """
        if not data or data[0] != MACHINE_PROTOCOL or len(data) != struct.calcsize(cls._FORMAT):
            spoken = data[0] if data else "none"
            raise InputError(
                f"board must speak protocol {MACHINE_PROTOCOL}, that of a whole-token machine, not {spoken}: load the "
                "bitstream of `tritforge bitstream --whole` (protocol 1 is a plain array)"
            )
        return cls(*struct.unpack(cls._FORMAT, data))

    @property
    def memory_bytes(self) -> int:
        """Size of the memory."""
        return self.word_bytes * self.memory_words


class WholeStatus(NamedTuple):
    """State of machine, memory and link."""

    held: bool  # the machine does not run
    memory_ready: bool
    memory_silent: bool  # memory did not answer the host since the reset
    checking: bool
    bytes_lost: bool  # the device was too slow for the line since its reset
    saturated: bool  # a kernel clipped a value since RUN
    working: bool  # on a token
    machine: int  # why the machine stopped, 0 while it works; hw.program.interpreter.Status
    room: int  # tokens that it takes in now
    waiting: int  # answers of NEXT
    position: int
    crc: int
    cycles: int  # of the tokens taken in since the latest answer, so far

    _FORMAT = "<BBBBIII"

    @classmethod
    def unpack(cls, data: bytes) -> "WholeStatus":
        """Read the answer to ``STATUS``.

        Raises:
            InputError: another length.
        """
        if len(data) != (size := struct.calcsize(cls._FORMAT)):
            raise InputError(f"status of the device must be {size} bytes, not {len(data)}: build its bitstream anew")
        flags, *numbers = struct.unpack(cls._FORMAT, data)
        return cls(*(bool(flags >> bit & 1) for bit in range(7)), *numbers)


def write_bytes(word_bytes: int) -> int:
    """Bytes of memory that one frame carries: as many whole words as fit behind the address."""
    return (PAYLOAD_BYTES - _ADDRESS_BYTES) // word_bytes * word_bytes


def frame_bytes(size: int, word_bytes: int) -> int:
    """Bytes on the line that write so many bytes of memory."""
    frames = ceil_divide(size, write_bytes(word_bytes))
    return size + frames * (FRAME_BYTES + _ADDRESS_BYTES)
