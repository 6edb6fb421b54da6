"""GGUF's ternary types: trits and scales against slow loops written after the C sources; damaged codes are refused."""

import gguf
import numpy as np
import pytest

from hw.errors import InputError
from quant.native.gguf_types import decode_i2_s, decode_tq, encode_tq
from tests.quant.native.gguf_files import i2_s, tq1_0_trits, tq2_0

TQ1_0, TQ2_0 = gguf.GGMLQuantizationType.TQ1_0, gguf.GGMLQuantizationType.TQ2_0


@pytest.fixture
def codes():
    random = np.random.default_rng(0)
    trits = random.integers(-1, 2, (3, 512)).astype(np.int8)
    trits[0, :256] = 0  # a block without a magnitude that a scale could be taken from
    scales = random.normal(size=(3, 2)).astype(np.float16)  # negative ones too: the file's are kept as they are
    return trits, scales


def test_tq2_0_is_read_as_llama_cpp_lays_it_out(codes):
    trits, scales = codes
    data = np.frombuffer(tq2_0(trits, scales), np.uint8).reshape(3, -1)
    found, found_scales = decode_tq(data, TQ2_0, "t")
    assert np.array_equal(found, trits)
    assert np.array_equal(found_scales, scales)


def test_tq2_0_is_written_as_llama_cpp_lays_it_out(codes):
    trits, scales = codes
    assert encode_tq(trits, scales, TQ2_0).tobytes() == tq2_0(trits, scales)


def test_tq1_0_is_written_as_llama_cpp_reads_it(codes):
    trits, scales = codes
    data = encode_tq(trits, scales, TQ1_0).tobytes()
    blocks = [tq1_0_trits(data[start : start + 54]) for start in range(0, len(data), 54)]
    assert [block for block, _ in blocks] == trits.reshape(-1, 256).tolist()
    assert [scale for _, scale in blocks] == scales.reshape(-1).tolist()


def test_tq1_0_is_read_as_it_is_written(codes):
    trits, scales = codes
    found, found_scales = decode_tq(encode_tq(trits, scales, TQ1_0), TQ1_0, "t")
    assert np.array_equal(found, trits)
    assert np.array_equal(found_scales, scales)


def test_i2_s_is_read_as_bitnet_cpp_lays_it_out():
    trits = np.random.default_rng(1).integers(-1, 2, (6, 128)).astype(np.int8)
    found, scale = decode_i2_s(np.frombuffer(i2_s(trits, 0.7), np.uint8), 6, 128, "t")
    assert np.array_equal(found, trits)
    assert scale == np.float32(0.7)


def test_blocks_of_i2_s_cross_rows():
    trits = np.random.default_rng(2).integers(-1, 2, (4, 96)).astype(np.int8)
    found, _ = decode_i2_s(np.frombuffer(i2_s(trits, 1.0), np.uint8), 4, 96, "t")
    assert np.array_equal(found, trits)


def test_codes_that_are_no_trits_are_refused():
    data = np.frombuffer(i2_s(np.zeros((1, 128), np.int8), 1.0), np.uint8).copy()
    data[5] = 0b11000000
    with pytest.raises(InputError, match="t: codes must be trits"):
        decode_i2_s(data, 1, 128, "t")
    block = np.frombuffer(tq2_0(np.zeros((1, 256), np.int8), np.ones(1)), np.uint8).reshape(1, -1).copy()
    block[0, 0] = 3
    with pytest.raises(InputError, match="t: codes must be trits"):
        decode_tq(block, TQ2_0, "t")


def test_sizes_and_scales_that_do_not_fit_are_refused():
    data = np.frombuffer(i2_s(np.zeros((2, 128), np.int8), np.nan), np.uint8)
    with pytest.raises(InputError, match="scale must be finite, not nan"):
        decode_i2_s(data, 2, 128, "t")
    with pytest.raises(InputError, match="in 64 bytes, not 1 x 128 in 96"):
        decode_i2_s(data, 1, 128, "t")
    block = np.frombuffer(tq2_0(np.zeros((1, 256), np.int8), np.array([np.inf])), np.uint8).reshape(1, -1)
    with pytest.raises(InputError, match="scales must be finite"):
        decode_tq(block, TQ2_0, "t")
    with pytest.raises(InputError, match=r"whole blocks of 256.*not 128 columns"):
        encode_tq(np.zeros((2, 128), np.int8), np.ones((2, 1), np.float16), TQ2_0)


def test_one_scale_that_is_not_finite_is_enough_to_refuse(codes):
    trits, scales = codes
    scales[2, 1] = np.inf
    data = np.frombuffer(tq2_0(trits, scales), np.uint8).reshape(3, -1)
    with pytest.raises(InputError, match="scales must be finite"):
        decode_tq(data, TQ2_0, "t")
