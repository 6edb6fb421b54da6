"""Frames: bytes by hand, found in noise whatever the chunks, never accepted when damaged."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.host.protocol import PAYLOAD_BYTES, Frame, FrameReader, Hello, Status, check_carries, encode

frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40))


def crc_by_bits(data: bytes) -> int:
    """CRC-16/IBM-3740 as its definition says: shift left, 0x1021, start 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            feedback = (crc >> 15 & 1) ^ (byte >> bit & 1)
            crc = (crc << 1 & 0xFFFF) ^ (0x1021 if feedback else 0)
    return crc


def test_a_frame_is_magic_header_payload_and_the_crc_of_all_but_the_magic():
    assert crc_by_bits(b"123456789") == 0x29B1  # the catalogue's check value
    data = encode(Frame(3, 7, b"\x01\x02"))
    assert data[:7] == bytes([0x54, 3, 7, 2, 0, 1, 2])
    assert data[7:] == crc_by_bits(data[1:7]).to_bytes(2, "big")


@given(st.lists(st.tuples(st.binary(max_size=12), frames), max_size=5), st.integers(1, 9))
def test_frames_are_found_in_noise_whatever_the_chunks(parts, chunk):
    line = b"".join(noise.replace(b"T", b"U") + encode(frame) for noise, frame in parts)
    reader, found = FrameReader(), []
    for start in range(0, len(line), chunk):
        found += reader.feed(line[start : start + chunk])
    assert found == [frame for _, frame in parts]
    assert reader.noise == sum(len(noise) for noise, _ in parts)


@given(frames, st.data())
def test_no_single_flipped_bit_passes(frame, data):
    line = bytearray(encode(frame))
    bit = data.draw(st.integers(0, 8 * len(line) - 1))
    line[bit // 8] ^= 1 << bit % 8
    assert frame not in list(FrameReader().feed(bytes(line)))


def test_a_frame_behind_a_damaged_one_is_not_lost():
    damaged = bytearray(encode(Frame(1, 1, b"TTTT")))
    damaged[-1] ^= 1
    reader = FrameReader()
    found = list(reader.feed(bytes(damaged) + encode(Frame(2, 2, b"good"))))
    reader.drop()
    assert Frame(2, 2, b"good") in found


def test_hello_carries_the_array():
    config = ArrayConfig(
        name="5x3", rows=5, cols=3, packing="5in8", weight_bus_bits=16, token_tile=7, chain_lanes=2, clock_hz=25e6
    )
    hello = Hello.unpack(Hello.of(config, 25e6, 1, 2, 3).pack())
    assert hello.config() == config
    assert hello[10:13] == (1, 2, 3)
    assert hello.array_sha256.hex() == config.sha256[:16]


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x01short"])
def test_another_protocol_is_refused(data):
    with pytest.raises(InputError, match=r"^device must speak protocol 1, not (none|2|1): build its bitstream"):
        Hello.unpack(data)


def test_status_by_hand():
    counters = b"".join(value.to_bytes(5, "little") for value in (21, 1, 2, 3, 4, 11))
    status = Status.unpack(struct.pack("<BHHH", 0b10110, 5, 6, 7) + counters)
    assert status[:7] == (2, True, False, True, 5, 6, 7)
    assert status.counters == {
        "cycles": 21,
        "ideal": 1,
        "fill_drain": 2,
        "weight_stall": 3,
        "input_stall": 4,
        "output_stall": 11,
    }


@pytest.mark.parametrize(
    ("sizes", "field"),
    [
        ({"rows": 513}, "rows"),
        ({"cols": 200}, "cols"),
        ({"weight_bus_bits": 8 * PAYLOAD_BYTES + 8}, "weight_bus_bits"),
    ],
)
def test_an_array_whose_words_fit_no_frame_is_refused(sizes, field):
    config = ArrayConfig(**{"name": "wide", "rows": 2, "cols": 2} | sizes)
    with pytest.raises(InputError, match=rf"^array 'wide': {field} = {sizes[field]} makes words of \d+ bytes"):
        check_carries(config)


@pytest.mark.parametrize("word", [-4, -3, -2])
def test_an_answer_with_a_buffer_of_nothing_is_no_greeting(word):
    hello = Hello.of(ArrayConfig(name="4x4", rows=4, cols=4, token_tile=4), 25e6, 64, 32, 16)
    assert Hello.unpack(hello.pack()) == hello
    hello = hello._replace(**{Hello._fields[word]: 0})
    with pytest.raises(InputError, match="buffers of one word or more"):
        Hello.unpack(hello.pack())
