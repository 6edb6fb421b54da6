"""Frames of the serial link: one definition that the host program and the gateware both read.

Frame. ``MAGIC``, kind, sequence, payload length (two bytes, low first), payload, CRC (two bytes, high first). The CRC
covers everything from kind to the payload's last byte; it is CRC-16/IBM-3740: polynomial 0x1021, start value 0xFFFF,
nothing reflected. The host asks, the device answers every request with one frame of the same kind (plus
``ANSWER``) and sequence, whose payload starts with a ``Code``. A request that repeats the last sequence was
answered before: the device sends that answer again and does nothing, so a lost answer costs a repetition, never data.

Requests (numbers are little-endian):

| kind | payload | answer behind the code |
|---|---|---|
| ``HELLO`` | none | ``Hello``; never taken for a repetition |
| ``RESET`` | none | none; core and buffers are as after configuration |
| ``WEIGHTS`` | whole words of the weight bus, in stream order | none; ``BUSY``: no room, nothing was taken |
| ``ACTIVATIONS`` | whole vectors of ``rows`` int8, in stream order | none; ``BUSY`` as above |
| ``START`` | m, n, k, three bytes each | none; ``BUSY``: a GEMM is running |
| ``RESULTS`` | none | the result beats that wait, as many as a payload holds; each sum in whole bytes |
| ``STATUS`` | none | ``Status`` |
"""

import binascii
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.document import validate_document
from hw.errors import InputError

__all__ = [
    "ANSWER",
    "BAUD",
    "CAUSES",
    "COUNTER_BYTES",
    "CRC_BYTES",
    "FRAME_BYTES",
    "MAGIC",
    "PAYLOAD_BYTES",
    "PROTOCOL",
    "Code",
    "Frame",
    "FrameReader",
    "Hello",
    "Kind",
    "Status",
    "check_carries",
    "encode",
    "sum_bytes",
]

PROTOCOL = 1  # raised when the meaning of a frame changes
BAUD = 1_000_000  # bits per second; exact on every USB bridge of the boards
MAGIC = 0x54
ANSWER = 0x80  # added to the kind of a request
PAYLOAD_BYTES = 512  # the longest payload
CRC_BYTES = 2
COUNTER_BYTES = 5
CAUSES = ("ideal", "fill_drain", "weight_stall", "input_stall", "output_stall")

_HEADER = struct.Struct("<BBBH")
FRAME_BYTES = _HEADER.size + CRC_BYTES  # around the payload
_CRC_START = 0xFFFF


class Kind(IntEnum):
    """What a request asks for."""

    HELLO = 1
    RESET = 2
    WEIGHTS = 3
    ACTIVATIONS = 4
    START = 5
    RESULTS = 6
    STATUS = 7


class Code(IntEnum):
    """First byte of every answer."""

    OK = 0
    BUSY = 1  # no room or a GEMM is running: nothing was taken, ask again later
    DAMAGED = 2  # CRC wrong, bytes missing or too many; kind and sequence of this answer may be damaged too
    UNKNOWN_KIND = 3
    BAD_LENGTH = 4  # not whole words, or not the length that the kind has


class Frame(NamedTuple):
    """One frame without its check sum."""

    kind: int
    sequence: int
    payload: bytes


def encode(frame: Frame) -> bytes:
    """The bytes of a frame on the line."""
    if len(frame.payload) > PAYLOAD_BYTES:
        raise ValueError(f"payload must be at most {PAYLOAD_BYTES} bytes, not {len(frame.payload)}")
    data = _HEADER.pack(MAGIC, frame.kind, frame.sequence, len(frame.payload)) + frame.payload
    return data + binascii.crc_hqx(data[1:], _CRC_START).to_bytes(CRC_BYTES, "big")


class FrameReader:
    """Finds frames in a stream of bytes that may hold noise; ``feed`` yields the good ones.

    After a bad check sum it looks for the next start inside the bytes that it already has, so noise before a frame
    never hides the frame. ``noise`` counts the bytes that belonged to no frame.
    """

    def __init__(self):
        self.noise = 0
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take ``data`` and yield every frame that is complete and undamaged."""
        self._data += data
        while len(self._data) >= _HEADER.size:
            magic, kind, sequence, length = _HEADER.unpack_from(self._data)
            end = _HEADER.size + length
            if magic == MAGIC and length <= PAYLOAD_BYTES:
                if len(self._data) < end + CRC_BYTES:
                    return
                if binascii.crc_hqx(bytes(self._data[1 : end + CRC_BYTES]), _CRC_START) == 0:
                    payload = bytes(self._data[_HEADER.size : end])
                    del self._data[: end + CRC_BYTES]
                    yield Frame(kind, sequence, payload)
                    continue
            del self._data[0]
            self.noise += 1

    def drop(self) -> None:
        """Forget an unfinished frame; its bytes count as noise."""
        self.noise += len(self._data)
        self._data.clear()


class Hello(NamedTuple):
    """What a device says about itself; the sizes that a host needs to stream."""

    protocol: int
    rows: int
    cols: int
    packing: int  # 0 = 2bit, 1 = 5in8
    weight_bus_bits: int
    accumulator_bits: int
    token_tile: int
    chain_lanes: int
    adders_per_register: int
    clock_hz: int
    weight_words: int  # depth of each buffer
    activation_vectors: int
    result_beats: int
    array_sha256: bytes  # its first eight bytes

    _FORMAT = "<BHHBHBHHBIHHH8s"
    _PACKINGS = ("2bit", "5in8")

    @classmethod
    def of(
        cls, config: ArrayConfig, clock_hz: float, weight_words: int, activation_vectors: int, result_beats: int
    ) -> "Hello":
        """The greeting of a device with this array and these buffers."""
        return cls(
            PROTOCOL,
            config.rows,
            config.cols,
            cls._PACKINGS.index(config.packing),
            config.weight_bus_bits,
            config.accumulator_bits,
            config.token_tile,
            config.chain_lanes,
            config.adders_per_register,
            round(clock_hz),
            weight_words,
            activation_vectors,
            result_beats,
            bytes.fromhex(config.sha256)[:8],
        )

    def pack(self) -> bytes:
        """Its bytes in the answer."""
        return struct.pack(self._FORMAT, *self)

    @classmethod
    def unpack(cls, data: bytes) -> "Hello":
        """Read the answer to ``HELLO``.

        Raises:
            InputError: another protocol, or sizes that no array has.
        """
        if not data or data[0] != PROTOCOL or len(data) != struct.calcsize(cls._FORMAT):
            spoken = data[0] if data else "none"
            raise InputError(
                f"device must speak protocol {PROTOCOL}, not {spoken}: build its bitstream with this tritforge"
            )
        hello = cls(*struct.unpack(cls._FORMAT, data))
        if hello.packing >= len(cls._PACKINGS) or 0 in hello[-4:-1]:
            raise InputError(
                f"device must have packing 0 or 1 and buffers of one word or more, not packing {hello.packing} and "
                f"{hello[-4:-1]} words: its answer is no greeting of this tritforge's"
            )
        return hello

    def config(self) -> ArrayConfig:
        """The device's array; fields that the device does not tell keep their defaults.

        Raises:
            InputError: sizes that no array has, or whose words no frame carries.
        """
        fields = {
            name: getattr(self, name)
            for name in (
                "rows",
                "cols",
                "weight_bus_bits",
                "accumulator_bits",
                "token_tile",
                "chain_lanes",
                "adders_per_register",
            )
        }
        fields |= {"name": f"{self.rows}x{self.cols}", "packing": self._PACKINGS[self.packing]}
        config = validate_document(fields | {"clock_hz": self.clock_hz}, ArrayConfig, "array of the device")
        check_carries(config)
        return config


class Status(NamedTuple):
    """State of the core and cycles of its latest GEMM."""

    descriptor: int  # 0 = taken, 1 = a size was zero, 2 = k too large for the accumulator
    running: bool
    illegal_weights: bool
    bytes_lost: bool  # the device was too slow for the line since its reset
    weight_words: int  # waiting in each buffer
    activation_vectors: int
    result_beats: int
    counters: dict[str, int]  # cycles, then one per cause

    @classmethod
    def unpack(cls, data: bytes) -> "Status":
        """Read the answer to ``STATUS``.

        Raises:
            InputError: another length.
        """
        if len(data) != (size := 7 + COUNTER_BYTES * (1 + len(CAUSES))):
            raise InputError(f"status of the device must be {size} bytes, not {len(data)}: build its bitstream anew")
        flags, weights, activations, results = struct.unpack_from("<BHHH", data)
        names = ("cycles", *CAUSES)
        rest = data[7:]
        counts = [
            int.from_bytes(rest[i * COUNTER_BYTES : (i + 1) * COUNTER_BYTES], "little") for i in range(len(names))
        ]
        return cls(
            flags & 3,
            bool(flags & 4),
            bool(flags & 8),
            bool(flags & 16),
            weights,
            activations,
            results,
            dict(zip(names, counts, strict=True)),
        )


def sum_bytes(config: ArrayConfig) -> int:
    """Whole bytes of one sum in a result beat, sign-extended."""
    return ceil_divide(config.accumulator_bits, 8)


def check_carries(config: ArrayConfig) -> None:
    """Refuse an array whose words do not fit a frame, or whose options the serial link does not tell.

    Raises:
        InputError: naming the field and the limit.
    """
    if config.options:
        raise InputError(
            f"array {config.name!r}: {config.options[0]} must keep its default behind a serial link, which carries "
            "plain sums of one plane; attach the AXI top instead"
        )
    sizes = {
        "weight_bus_bits": (config.weight_bus_bits // 8, PAYLOAD_BYTES),
        "rows": (config.rows, PAYLOAD_BYTES),
        "cols": (config.cols * sum_bytes(config), PAYLOAD_BYTES - 1),
    }
    for field, (size, limit) in sizes.items():
        if size > limit:
            raise InputError(
                f"array {config.name!r}: {field} = {getattr(config, field)} makes words of {size} bytes, "
                f"and a frame of the serial link carries {limit}; take a smaller array"
            )
