"""Descriptor, weight, scale and vector streams of one GEMM bit by bit, and results put back in their places."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.formats import GemmFormat
from hw.golden import fixed_point
from hw.job import CoreJob, descriptor_bits, golden_results, matrix, vector_stream, weight_stream

PLAIN = ArrayConfig(name="p", rows=2, cols=2, weight_bus_bits=8, token_tile=2, accumulator_bits=16)
FULL = ArrayConfig(
    name="f", rows=2, cols=2, weight_bus_bits=8, token_tile=2, accumulator_bits=16, planes=2, group_exponent_bits=2,
    sum_of_x=True, results="int8",
)  # fmt: skip
Q = np.array([[1, -2, 3], [4, 5, -6], [7, -8, 9]], np.int8)
PLANES = np.array([[[1, 0, -1], [0, 1, 1], [-1, -1, 0]], [[0, 0, 1], [1, -1, 0], [1, 1, 1]]], np.int8)


def code(trit):
    return {0: 0b00, 1: 0b01, -1: 0b11}[trit]


def tile_byte(plane, columns, lanes):
    """Four trits in one byte, column by column, low bits first; what is beyond the matrix is zero."""
    byte = 0
    for place, (n, k) in enumerate((n, k) for n in columns for k in lanes):
        byte |= code(int(plane[n][k]) if n < 3 and k < 3 else 0) << 2 * place
    return byte


def test_plain_weights_stream_tile_by_tile_once_per_token_tile():
    job = CoreJob(Q, PLANES[:1])
    once = [tile_byte(PLANES[0], columns, lanes) for columns in ((0, 1), (2, 3)) for lanes in ((0, 1), (2, 3))]
    assert list(weight_stream(job, PLAIN)) == once * 2  # three tokens are two tiles of two


def test_exponents_follow_each_tile_and_scales_the_last_fold():
    exponents = np.array([[[0, 1, 2], [3, 2, 1]], [[1, 1, 3], [2, 0, 0]]])
    multipliers, offsets = np.array([-2, 300, 5]), np.array([7, -8, 1])
    job = CoreJob(Q, PLANES, GemmFormat(2, row_scales=True, shift=3), exponents, multipliers, offsets)
    once = []
    for columns in ((0, 1), (2, 3)):
        real = [n for n in columns if n < 3]
        for plane in range(2):
            for fold, lanes in enumerate(((0, 1), (2, 3))):
                once.append(tile_byte(PLANES[plane], columns, lanes))
                once.append(sum(int(exponents[plane, fold, n]) << 2 * place for place, n in enumerate(real)))
        numbers = [number for n in real for number in (multipliers[n], offsets[n])]
        words = b"".join(int(number).to_bytes(2, "little", signed=True) for number in numbers)
        once += words.ljust(FULL.scale_beats, b"\0")
    assert list(weight_stream(job, FULL)) == once * 2


def test_vectors_stream_fold_by_fold_again_for_each_column_tile_and_plane():
    def tile(tokens):
        folds = [[Q[t, 0:2] for t in tokens], [[Q[t, 2], 0] for t in tokens]]
        return [int(x) for fold in folds for vector in fold for x in vector]

    for planes in (1, 2):
        stream = np.frombuffer(vector_stream(CoreJob(Q, PLANES[:planes]), PLAIN), np.int8)
        assert stream.tolist() == tile((0, 1)) * 2 * planes + tile((2,)) * 2 * planes


def test_a_grid_takes_one_position_of_k_of_all_its_tokens():
    grid = ArrayConfig(name="g", rows=2, cols=2, organisation="systolic", token_tile=2, accumulator_bits=16)
    stream = np.frombuffer(vector_stream(CoreJob(Q, PLANES[:1]), grid), np.int8)
    tiles = [[1, 4, -2, 5, 3, -6], [7, 0, -8, 0, 9, 0]]
    assert stream.tolist() == tiles[0] * 2 + tiles[1] * 2


def test_descriptor_fields_from_the_lowest_bits_up():
    job = CoreJob(Q[:2], PLANES[:1])
    sizes = 2 | 3 << 24 | 3 << 48
    assert descriptor_bits(job, PLAIN) == sizes
    full = CoreJob(Q[:2], PLANES, GemmFormat(2, multiplier=-3, offset=-5, shift=9))
    expected = sizes | 1 << 72 | 0 << 73 | 9 << 74 | (0x10000 - 3) << 80 | (0x10000 - 5) << 96
    assert descriptor_bits(full, FULL) == expected
    rows = full._replace(formats=GemmFormat(1, row_scales=True, shift=1), planes=PLANES[:1])
    assert descriptor_bits(rows, FULL) == sizes | 0 << 72 | 1 << 73 | 1 << 74 | 1 << 80


def test_results_go_back_to_their_places_and_sums_of_x_behind_them():
    job = CoreJob(Q, PLANES[:1])
    beats = [(0, (0, 1)), (1, (0, 1)), (0, (2,)), (1, (2,)), (2, (0, 1)), (2, (2,))]
    values = np.array([[10 * t + c for c in columns] + [99] * (2 - len(columns)) for t, columns in beats])
    assert matrix(values, job, PLAIN).tolist() == [[0, 1, 2], [10, 11, 12], [20, 21, 22]]
    with_x = np.concatenate([values, np.array([[1000 + t] for t, _ in beats])], axis=1)
    assert matrix(with_x, job, PLAIN)[:, 3].tolist() == [1000, 1001, 1002]


def test_results_with_scales_of_each_row():
    config = FULL.model_copy(update={"sum_of_x": False})
    job = CoreJob(Q, PLANES, GemmFormat(2, row_scales=True, shift=2), None, np.array([1, -3, 2]))
    totals = [[sum(int(x) * int(p[n][k]) for p in PLANES for k, x in enumerate(row)) for n in range(3)] for row in Q]
    expected = [[round(total * m / 4) for total, m in zip(row, (1, -3, 2), strict=True)] for row in totals]
    assert golden_results(job, config).tolist() == expected
    with_offsets = job._replace(offsets=np.array([0, 5, -1]))
    x_sums = [sum(map(int, row)) for row in Q]
    expected = [
        [max(-127, min(127, round((t * m + x * o) / 4))) for t, m, o in zip(row, (1, -3, 2), (0, 5, -1), strict=True)]
        for row, x in zip(totals, x_sums, strict=True)
    ]
    assert golden_results(with_offsets, FULL).tolist() == expected
    assert golden_results(job, FULL).tolist() == golden_results(job, config).tolist()  # no offsets: zeros


FITS = CoreJob(Q, PLANES, GemmFormat(2, row_scales=True, shift=63), None, np.array([-32768, 0, 32767]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"offsets": np.array([-32768, 0, 32767])},
        {"exponents": np.array([[[0, 3, 0]] * 2] * 2)},
        {"formats": GemmFormat(2, multiplier=-32768, offset=32767, shift=0), "multipliers": None},
        {"formats": GemmFormat(2, multiplier=32767, offset=-32768), "multipliers": None},
    ],
)
def test_the_last_values_that_work_work(changes):
    FITS._replace(**changes).check(FULL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"multipliers": np.array([0, -32769, 0])}, "^multipliers must be -32768 to 32767, not -32769 to 0"),
        ({"offsets": np.array([0, 32768, 0])}, "^offsets must be -32768 to 32767, not 0 to 32768"),
        ({"exponents": np.array([[[0, -1, 0]] * 2] * 2)}, "^exponents must be 0 to 3, not -1 to 0"),
        ({"multipliers": None}, "^row_scales must come with multipliers"),
        ({"q": Q[:0]}, r"^operands must be \(m, k\)"),
        ({"q": Q[0]}, r"^operands must be \(m, k\)"),
        ({"planes": PLANES[0]}, r"^operands must be \(m, k\)"),
    ],
)
def test_one_more_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        FITS._replace(**changes).check(FULL)


def test_an_offset_needs_sums_of_x_and_int8_results():
    job = CoreJob(Q, PLANES, GemmFormat(2, offset=1))
    job.check(FULL)
    for changes in ({"sum_of_x": False}, {"results": "sums"}):
        with pytest.raises(InputError, match=r"^offset must be 0 on array 'f', not 1"):
            job.check(FULL.model_copy(update=changes))
    with pytest.raises(InputError, match=r"^row_scales must come with multipliers, and results"):
        FITS.check(FULL.model_copy(update={"results": "sums"}))


def test_real_scales_as_integers_and_a_shift():
    """The largest scale takes 15 bits and a sign: 0.75 * 2**15 = 24576 is the last power that fits 32767."""
    integers, shift = fixed_point(np.array([0.75, -0.1, 1e-5]))
    assert (integers.tolist(), shift) == ([24576, -3277, 0], 15)
    assert fixed_point(np.array([32767.0])) == (np.array([32767]), 0)
    assert fixed_point(np.array([1.0])) == (np.array([16384]), 14)
    integers, shift = fixed_point(np.array([2.0**-60]))
    assert (integers.tolist(), shift) == ([8], 63)
    assert fixed_point(np.array([32767.4]))[0].tolist() == [32767]
    with pytest.raises(InputError, match=r"^scales must be at most 32767 for a multiplier of 16 bits, not 32768"):
        fixed_point(np.array([32768.0]))
