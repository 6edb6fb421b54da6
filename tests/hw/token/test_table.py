"""Embedding, head and argmax against fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from hw.token.table import greedy, logit_exponents, logits, looked_up, table_constants


def table(seed, n=6, words=5, digits=3):
    rng = np.random.default_rng(seed)
    limit = (3**digits - 1) // 2
    return table_constants(
        rng.integers(-limit, limit + 1, (words, n)),
        digits,
        rng.uniform(0.02, 1, words),
        rng.uniform(0.1, 3, n),
        rng.normal(0, 0.5, n),
        10,
    )


@given(st.integers(0, 999), st.integers(1, 4))
def test_an_embedding_is_its_formula_within_its_roundings(seed, digits):
    one = table(seed, digits=digits)
    words = looked_up(np.arange(5), one)
    largest = np.abs(one.weights).max(axis=1) * one.rows.value()
    reach = Fraction(float(largest.max())) * Fraction(float(one.channels().max())) * 2**10
    for v in range(5):
        for c in range(6):
            a = Fraction(float(one.rows.value()[v]))
            b = Fraction(int(one.spread[c]), 2**one.spread_fraction)
            wanted = a * b * int(one.weights[v, c]) * 2**10 + int(one.mean[c])
            assert abs(int(words[v, c]) - wanted) <= Fraction(1, 2) + reach / 2**22
    assert np.abs(one.values() - words / 2**10).max() <= 2.0**-10


@given(st.integers(0, 999))
def test_logits_are_exact(seed):
    one, q = table(seed), np.random.default_rng(seed).integers(-127 * 128, 127 * 128 + 1, (2, 6))
    found, (_, unit) = logits(q, one), logit_exponents(one)
    for i in range(2):
        for v in range(5):
            wanted = int(q[i] @ one.weights[v].astype(int)) * Fraction(float(one.rows.value()[v]))
            assert int(found[i, v]) * Fraction(2) ** unit == wanted


def test_the_lowest_id_wins_among_equals():
    assert greedy(np.array([[1, 7, 7, 0], [5, 5, 5, 5], [-9, -8, -8, -9]])).tolist() == [1, 0, 1]


def test_tables_that_do_not_fit_are_refused():
    ones = np.ones(2)
    with pytest.raises(InputError, match=r"must lie within 2\*\*12 of each other, not 0.0001 to 1$"):
        table_constants(np.ones((2, 2)), 1, np.array([1, 1e-4]), ones, ones, 10)
    with pytest.raises(InputError, match=r"^embedding table: sums of 600 products of 5 digits may reach"):
        table_constants(np.ones((1, 600)), 5, np.ones(1), np.ones(600), np.ones(600), 10)


@given(st.integers(0, 99))
def test_the_largest_channel_factor_has_fourteen_bits(seed):
    largest = int(np.abs(table(seed).spread).max())
    assert 2**13 <= largest <= 2**14
