"""Trit packing: the bit order of ``hw/trit.py`` against a naive packer, and refusal of damaged data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from hw.trit import TRIT_BITS, pack, pack_three_of_four, packed_bytes, tile_stream, unpack, unpack_three_of_four
from tests import naive

ROWS = st.lists(st.integers(-1, 1), min_size=0, max_size=40)
NAIVE = {"2bit": naive.pack_2bit, "5in8": naive.pack_5in8}


@pytest.mark.parametrize("packing", TRIT_BITS)
@given(row=ROWS)
def test_packs_as_the_naive_packer(packing, row):
    assert pack(np.array(row, np.int8), packing).tolist() == NAIVE[packing](row)


@pytest.mark.parametrize("packing", TRIT_BITS)
@given(row=ROWS)
def test_unpack_undoes_pack(packing, row):
    packed = np.array(NAIVE[packing](row), np.uint8)
    assert unpack(packed, len(row), packing).tolist() == row


@pytest.mark.parametrize("packing", TRIT_BITS)
@given(rows=st.integers(1, 4), columns=st.integers(1, 13), seed=st.integers(0, 99))
def test_rows_are_packed_alone(packing, rows, columns, seed):
    trits = np.random.default_rng(seed).integers(-1, 2, (rows, columns), dtype=np.int8)
    assert pack(trits, packing).tolist() == [NAIVE[packing](row) for row in trits.tolist()]


def test_bytes_written_by_hand():
    # 2bit: +1 -1 0 +1 -> 01 11 00 01 from the lowest bits up; 5in8: (2, 0, 1, 2, 1) . (1, 3, 9, 27, 81)
    assert pack(np.array([1, -1, 0, 1], np.int8), "2bit").tolist() == [0b01_00_11_01]
    assert pack(np.array([1, -1, 0, 1, 0], np.int8), "5in8").tolist() == [2 + 0 + 9 + 54 + 81]
    assert pack(np.array([-1] * 5, np.int8), "5in8").tolist() == [0]
    assert pack(np.array([1] * 5, np.int8), "5in8").tolist() == [242]


def test_packed_bytes_round_up():
    assert [packed_bytes(k, "2bit") for k in (0, 1, 4, 5)] == [0, 1, 1, 2]
    assert [packed_bytes(k, "5in8") for k in (0, 1, 5, 6)] == [0, 1, 1, 2]


@pytest.mark.parametrize("code", [0b10, 0b10 << 4])
def test_code_10_is_refused(code):
    with pytest.raises(InputError, match=r"^2-bit trit codes must be 00, 01 or 11, not 10"):
        unpack(np.array([code], np.uint8), 4, "2bit")


@pytest.mark.parametrize("value", range(243, 256))
def test_bytes_above_242_are_refused(value):
    with pytest.raises(InputError, match=rf"^5-trits-per-byte values must be at most 242, not {value}"):
        unpack(np.array([value], np.uint8), 5, "5in8")


@pytest.mark.parametrize(("packing", "byte"), [("2bit", 0b01_00_00_00), ("5in8", 121 + 81)])
def test_padding_that_is_not_zero_is_refused(packing, byte):
    with pytest.raises(InputError, match=r"^padding trits must be zero"):
        unpack(np.array([byte], np.uint8), 3, packing)


def test_wrong_length_is_refused():
    with pytest.raises(InputError, match=r"^a row of 9 trits packed 2bit must be 3 bytes, not 2$"):
        unpack(np.zeros(2, np.uint8), 9, "2bit")


@pytest.mark.parametrize("bad", [np.array([2, 0]), np.array([-2, 0]), np.array([0.5])])
def test_values_that_are_not_trits_are_refused(bad):
    with pytest.raises(InputError, match=r"^trits must be integers in -1\.\.1, not "):
        pack(bad, "2bit")


@pytest.mark.parametrize("packing", TRIT_BITS)
@given(columns=st.integers(1, 5), rows=st.integers(1, 9), bus_bytes=st.integers(1, 5), seed=st.integers(0, 99))
def test_tile_streams_column_by_column_padded_to_words(packing, columns, rows, bus_bytes, seed):
    tile = np.random.default_rng(seed).integers(-1, 2, (columns, rows), dtype=np.int8)
    data = NAIVE[packing]([trit for column in tile.tolist() for trit in column])
    words = tile_stream(tile, packing, 8 * bus_bytes)
    assert len(words) == -(-len(data) // bus_bytes)
    stream = b"".join(word.to_bytes(bus_bytes, "little") for word in words)
    assert list(stream) == data + [0] * (len(stream) - len(data))


def test_three_of_four_by_hand():
    # + 0 - +: the zero is at place 1, signs + - +, from the lowest bit up 10 010; - - - 0: place 3, all -, 11 111.
    trits = np.array([[1, 0, -1, 1, -1, -1, -1, 0]], np.int8)
    assert pack_three_of_four(trits).tolist() == [[0b111_01001, 0b11]]
    # A short last block of - +: its zero is at place 3, and +1 stands at 2.
    assert pack_three_of_four(np.array([[-1, 1]], np.int8)).tolist() == [[0b00111]]


@given(rows=st.integers(1, 3), columns=st.integers(1, 21), seed=st.integers(0, 999))
def test_three_of_four_comes_back_from_five_bits_a_block(rows, columns, seed):
    random = np.random.default_rng(seed)
    trits = random.choice(np.array([-1, 1], np.int8), (rows, columns))
    for start in range(0, columns - columns % 4, 4):
        trits[range(rows), start + random.integers(0, 4, rows)] = 0
    packed = pack_three_of_four(trits)
    assert packed.shape == (rows, -(-5 * -(-columns // 4) // 8))
    assert np.array_equal(unpack_three_of_four(packed, columns), trits)


@pytest.mark.parametrize(("row", "zeros"), [([1, 1, -1, 1], 0), ([0, 1, 0, 1], 2), ([0, 1, 1, 1, 1, 0], 2)])
def test_blocks_of_other_zeros_are_refused(row, zeros):
    with pytest.raises(InputError, match=rf"^every 4 trits must hold one zero to take 5 bits, not {zeros}$"):
        pack_three_of_four(np.array([row], np.int8))


def test_rows_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"^a row of 8 trits, three of four, must be 2 bytes, not 3$"):
        unpack_three_of_four(np.zeros((1, 3), np.uint8), 8)
