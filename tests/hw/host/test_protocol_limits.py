"""The longest payload, the widest words and damaged lengths of the serial link; Hello and Status byte by byte."""

import struct

import pytest

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.host.protocol import (
    BAUD,
    PAYLOAD_BYTES,
    Frame,
    FrameReader,
    Hello,
    Kind,
    Status,
    check_carries,
    encode,
    sum_bytes,
)


def array(**fields):
    return ArrayConfig(**{"name": "edge", "rows": 2, "cols": 2} | fields)


def test_the_numbers_of_the_protocol():
    assert (PAYLOAD_BYTES, BAUD) == (512, 1_000_000)
    assert [(kind.name, kind.value) for kind in Kind] == [
        ("HELLO", 1), ("RESET", 2), ("WEIGHTS", 3), ("ACTIVATIONS", 4), ("START", 5), ("RESULTS", 6), ("STATUS", 7),
    ]  # fmt: skip


def test_a_payload_of_512_bytes_passes_and_of_513_does_not():
    frame = Frame(3, 1, bytes(512))
    assert list(FrameReader().feed(encode(frame))) == [frame]
    with pytest.raises(ValueError, match="payload must be at most 512 bytes, not 513"):
        encode(Frame(3, 1, bytes(513)))


def test_a_length_of_513_is_noise_at_once():
    reader = FrameReader()
    head = struct.pack("<BBBH", 0x54, 3, 0, 513)
    assert list(reader.feed(head + encode(Frame(1, 2, b"")))) == [Frame(1, 2, b"")]
    assert reader.noise == 5


def test_an_unfinished_frame_that_is_dropped_is_noise():
    reader = FrameReader()
    assert list(reader.feed(encode(Frame(1, 2, b"abc"))[:-1])) == []
    assert reader.noise == 0
    reader.drop()
    assert reader.noise == 5 + 3 + 1
    assert list(reader.feed(encode(Frame(1, 2, b"abc")))) == [Frame(1, 2, b"abc")]


@pytest.mark.parametrize(("bits", "size"), [(9, 2), (16, 2), (17, 3), (24, 3), (25, 4), (32, 4), (33, 5)])
def test_a_sum_takes_whole_bytes(bits, size):
    assert sum_bytes(array(rows=1, accumulator_bits=bits)) == size


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": 512},
        {"cols": 255, "accumulator_bits": 16},  # 510 bytes and a code
        {"weight_bus_bits": 8 * 512},
    ],
)
def test_words_that_fill_a_frame_are_carried(fields):
    check_carries(array(**fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cols": 256, "accumulator_bits": 16}, "cols = 256 makes words of 512 bytes, and a frame .* carries 511;"),
        ({"cols": 128, "accumulator_bits": 32}, "cols = 128 makes words of 512 bytes, and a frame .* carries 511;"),
        ({"rows": 513}, "rows = 513 makes words of 513 bytes, and a frame of the serial link carries 512;"),
        ({"weight_bus_bits": 4104}, "weight_bus_bits = 4104 makes words of 513 bytes, and a frame .* carries 512;"),
        ({"planes": 2}, "planes must keep its default behind a serial link"),
    ],
)
def test_a_byte_more_is_refused(fields, message):
    with pytest.raises(InputError, match=f"^array 'edge': {message}"):
        check_carries(array(**fields))


def test_hello_byte_by_byte():
    config = array(
        rows=300, cols=5, packing="5in8", weight_bus_bits=40, accumulator_bits=20, token_tile=7, chain_lanes=3,
        adders_per_register=4,
    )  # fmt: skip
    data = Hello.of(config, 12.5e6, 600, 700, 800).pack()
    numbers = [(1, 1), (300, 2), (5, 2), (1, 1), (40, 2), (20, 1), (7, 2), (3, 2), (4, 1), (12_500_000, 4)]
    numbers += [(600, 2), (700, 2), (800, 2)]
    assert data == b"".join(n.to_bytes(size, "little") for n, size in numbers) + bytes.fromhex(config.sha256)[:8]
    assert Hello.of(config.model_copy(update={"packing": "2bit"}), 1e6, 1, 1, 1).packing == 0


@pytest.mark.parametrize("flags", range(32))
def test_flags_of_a_status_apart(flags):
    counters = b"".join((10 * i).to_bytes(5, "little") for i in range(6))
    status = Status.unpack(struct.pack("<BHHH", flags, 1, 2, 3) + counters)
    expected = (flags % 4, bool(flags >> 2 & 1), bool(flags >> 3 & 1), bool(flags >> 4 & 1))
    assert status[:4] == expected
    assert list(status.counters.values()) == [0, 10, 20, 30, 40, 50]
