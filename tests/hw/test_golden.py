"""The golden model against naive loops and fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.golden import gemm, group_sums, quantize_tokens, requantize, tiles
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
