"""Rounding, saturation and exact products against fractions and loops."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from hw.token.formats import Flags, bit_length, check_accumulator, products, rescaled, rounded, saturated, shifted
from tests.naive import gemm_sums

VALUES = st.integers(-(2**46), 2**46)


@given(st.lists(VALUES, min_size=1, max_size=8), st.integers(0, 47))
def test_rounding_goes_to_the_nearest_and_halves_to_even(values, s):
    expected = [round(Fraction(v, 2**s)) for v in values]
    assert rounded(np.array(values), s).tolist() == expected
    assert rounded(np.array(values), np.full(len(values), s)).tolist() == expected


@given(VALUES, st.integers(-80, 80), st.sampled_from([17, 24, 32]))
def test_a_rescaled_value_saturates_below_shift_0_and_vanishes_above_47(v, s, bits):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    exact = 0 if s > 47 else max(low, min(high, round(Fraction(v, 2**s)))) if s >= 0 else (v > 0) * high + (v < 0) * low
    flags = Flags()
    assert rescaled(np.array([v]), np.array([s]), bits, flags)[0] == exact
    assert rescaled(np.array([v]), s, bits)[0] == exact
    fits = s > 47 or (s >= 0 and low <= round(Fraction(v, 2**s)) <= high) or v == 0
    assert flags.saturated == (0 if fits else 1)


def test_halves_by_hand():
    assert rounded(np.array([1, 3, 5, -1, -3, -5, 2]), 1).tolist() == [0, 2, 2, 0, -2, -2, 1]
    assert rounded(np.array([6, 10, 7]), np.array([2, 2, 0])).tolist() == [2, 2, 7]


def test_both_ends_of_a_word_are_kept():
    flags = Flags()
    assert saturated(np.array([-128, 127]), 8, flags).tolist() == [-128, 127]
    assert flags.saturated == 0
    assert saturated(np.array([-129, 128]), 8, flags).tolist() == [-128, 127]
    assert flags.saturated == 1


@given(st.integers(-(2**40), 2**40), st.integers(-20, 70))
def test_a_plain_shift_floors(v, s):
    assert shifted(np.array([v]), s)[0] == (v >> s if s >= 0 else v << -s)


@given(st.integers(0, 2**53 - 1))
def test_bit_length_is_pythons(v):
    assert bit_length(np.array([v]))[0] == v.bit_length()


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 5), st.integers(1, 40))
def test_products_equal_naive_loops(seed, m, n, k):
    rng = np.random.default_rng(seed)
    q, w = rng.integers(-127, 128, (m, k)), rng.integers(-40, 41, (n, k))
    assert products(q, w).tolist() == gemm_sums(q.tolist(), w.tolist())


def test_the_largest_sum_that_is_allowed_is_exact():
    k = 1651
    assert products(np.full((1, k), -127), np.full((1, k), 40))[0, 0] == -127 * 40 * k


@pytest.mark.parametrize(("k", "digits"), [(1651, 4), (5080, 3), (66052, 1)])
def test_the_accumulators_bound_is_the_designs(k, digits):
    check_accumulator(k, digits, "linear")
    with pytest.raises(InputError, match=rf"^linear: sums of {k + 1} products of {digits} digits may reach"):
        check_accumulator(k + 1, digits, "linear")
