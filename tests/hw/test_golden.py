"""The golden model against naive loops and fractions."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from hw.golden import (
    digit_limit,
    digits,
    from_digits,
    gemm,
    group_sums,
    hadamard,
    hadamard_block,
    quantize_digits,
    quantize_tokens,
    requantize,
    scaled_sums,
    tiles,
)
from hw.trit import pack
from tests import naive


def integers(seed: int, m: int, n: int, k: int):
    rng = np.random.default_rng(seed)
    return rng.integers(-127, 128, (m, k), dtype=np.int8), rng.integers(-1, 2, (n, k), dtype=np.int8)


SIZES = {"seed": st.integers(0, 999), "m": st.integers(1, 5), "n": st.integers(1, 5), "k": st.integers(1, 40)}


@given(**SIZES)
def test_gemm_equals_naive_loops(seed, m, n, k):
    q, trits = integers(seed, m, n, k)
    assert gemm(q, trits).tolist() == naive.gemm_sums(q.tolist(), trits.tolist())


@given(**SIZES, group=st.integers(1, 17))
def test_group_sums_are_the_gemms_of_the_groups(seed, m, n, k, group):
    q, trits = integers(seed, m, n, k)
    sums = group_sums(q, trits, group)
    for g, first in enumerate(range(0, k, group)):
        part = slice(first, first + group)
        assert sums[..., g].tolist() == naive.gemm_sums(q[:, part].tolist(), trits[:, part].tolist())
    assert sums.sum(axis=-1).tolist() == gemm(q, trits).tolist()


def test_the_largest_sum_of_a_70b_layer_is_exact():
    k = 28672
    q, trits = np.full((1, k), -127, np.int8), np.ones((1, k), np.int8)
    assert gemm(q, trits)[0, 0] == -127 * k


@given(st.lists(st.integers(-127, 127), min_size=1, max_size=20))
def test_quantized_integers_survive_a_power_of_two_scale(values):
    values[0] = 127
    x = np.array([values], np.float32) / 64
    q, scale = quantize_tokens(x)
    assert q[0].tolist() == values == naive.quantize_token(x[0].tolist())[0]
    assert scale[0] == np.float32(1 / 64)


def test_halves_go_to_even_and_a_zero_token_stays_zero():
    q, scale = quantize_tokens(np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5], [0] * 6], np.float32))
    assert q.tolist() == [[127, 0, 2, 2, 0, -2], [0] * 6]
    assert scale.tolist() == [1, 0]


def test_minus_128_never_comes():
    q, _ = quantize_tokens(np.array([[-1.0, 1.0]], np.float32))
    assert q.tolist() == [[-127, 127]]


@given(
    acc=st.integers(-(2**31), 2**31 - 1),
    multiplier=st.integers(-(2**16), 2**16),
    shift=st.integers(0, 40),
)
def test_requantize_rounds_the_exact_fraction_half_to_even(acc, multiplier, shift):
    exact = max(-127, min(127, round(Fraction(acc * multiplier, 2**shift))))
    assert requantize(np.array([[acc]]), np.array([multiplier]), shift).item() == exact


@pytest.mark.parametrize(("acc", "expected"), [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2), (300, 127), (-300, -127)])
def test_requantize_by_hand(acc, expected):
    assert requantize(np.array([[acc]]), np.array([1]), 1).item() == expected


@given(m=st.integers(1, 9), n=st.integers(1, 9), k=st.integers(1, 9), edge=st.integers(1, 4))
def test_tiles_cover_every_product_once_in_stream_order(m, n, k, edge):
    seen = np.zeros((m, n, k), int)
    order = []
    for tokens, columns, fold in tiles(m, n, k, edge, edge + 1, edge + 2):
        seen[tokens, columns, fold] += 1
        order.append((tokens.start, columns.start, fold.start))
    assert (seen == 1).all()
    assert order == sorted(order)


@pytest.mark.parametrize(("count", "limit"), [(1, 1), (2, 4), (3, 13), (4, 40), (5, 121)])
def test_digits_of_every_value_are_the_only_ones_that_make_it(count, limit):
    """All 3**count combinations of digits, in Python's integers, give every value of the range once."""
    assert digit_limit(count) == limit
    made = {sum(3**i * digit for i, digit in enumerate(each)): each for each in product((-1, 0, 1), repeat=count)}
    values = list(range(-limit, limit + 1))
    assert sorted(made) == values
    found = digits(np.array(values), count)
    assert found.dtype == np.int8
    assert [tuple(each) for each in found.tolist()] == [made[value] for value in values]
    assert from_digits(found).tolist() == values


@pytest.mark.parametrize("values", [[-14], [0, 14], [-14, 0]])
def test_values_beyond_their_digits_are_refused_with_the_range(values):
    message = f"^values of 3 digits must be -13 to 13, not {min(values)} to {max(values)}$"
    with pytest.raises(InputError, match=message):
        digits(np.array(values), 3)


def test_five_digits_are_one_byte_that_is_the_value_plus_121():
    values = np.arange(-121, 122)
    packed = pack(digits(values, 5).reshape(1, -1), "5in8")[0]
    assert packed.tolist() == [value + 121 for value in values]
    assert packed.tolist() == [naive.pack_5in8(each)[0] for each in digits(values, 5).tolist()]


def test_kv_vectors_take_the_range_of_their_digits_by_hand():
    values, scale = quantize_digits(np.array([[26, 3, -1, 1, -26], [0] * 5], np.float32), 3)
    assert values.tolist() == [[13, 2, 0, 0, -13], [0] * 5]  # 1.5 and 0.5 to even
    assert scale.tolist() == [2, 0]


@given(seed=st.integers(0, 999), count=st.integers(1, 5), rows=st.integers(1, 9), k=st.integers(1, 30))
def test_planes_weighted_by_powers_of_three_multiply_by_the_number(seed, count, rows, k):
    rng = np.random.default_rng(seed)
    limit = digit_limit(count)
    q, values = rng.integers(-127, 128, (3, k), np.int8), rng.integers(-limit, limit + 1, (4, k))
    planes = np.moveaxis(digits(values, count), -1, 0)
    sums = scaled_sums(q, planes, rows, plane_weights=[3**p for p in range(count)])
    assert sums.tolist() == naive.gemm_sums(q.tolist(), values.tolist())


@pytest.mark.parametrize(("size", "block"), [(1, 1), (2, 2), (64, 64), (80, 16), (96, 32), (128, 128)])
def test_hadamard_is_the_matrix_of_signs_block_by_block(size, block):
    """Sign of entry (i, j) of Hadamard's matrix: whether i and j share an odd number of ones."""
    assert hadamard_block(size) == block
    rng = np.random.default_rng(size)
    q, k = rng.integers(-127, 128, (2, 5, size)).astype(np.int64)
    signs = [[(-1) ** (i & j).bit_count() for j in range(block)] for i in range(block)]
    expected = np.concatenate([q[:, at : at + block] @ np.array(signs) for at in range(0, size, block)], axis=1)
    assert hadamard(q).tolist() == expected.tolist()
    assert (hadamard(q) * hadamard(k)).sum(axis=1).tolist() == (block * (q * k).sum(axis=1)).tolist()
    assert hadamard(hadamard(q)).tolist() == (block * q).tolist()


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_hadamard_of_many_vectors_is_that_of_each(leading):
    x = np.random.default_rng(1).integers(-9, 10, (*leading, 24))
    each = [hadamard(one) for one in x.reshape(-1, 24)]
    assert np.array_equal(hadamard(x), np.reshape(each, x.shape))
