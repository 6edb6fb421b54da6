"""DEQ and linears of several parts against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from hw.token.formats import Flags
from hw.token.linear import linear_part, outputs, with_fraction
from hw.token.scales import Scale


def linear(seed, k, digits):
    rng = np.random.default_rng(seed)
    limit = (3**digits - 1) // 2
    weights, scales = rng.integers(-limit, limit + 1, (4, k)), rng.uniform(0.01, 1, 4)
    q = rng.integers(-127, 128, (1, k))
    return weights, scales, q, Scale(np.array([rng.integers(2**15, 2**16)]), np.array([-rng.integers(18, 26)]))


@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 4), st.integers(0, 12))
def test_a_word_errs_by_its_two_roundings(seed, k, digits, fraction):
    weights, scales, q, token = linear(seed, k, digits)
    part = linear_part(weights, scales, digits, 0, fraction, "linear")
    flags = Flags()
    found = outputs(q, token, (part,), 32, flags)[0]
    stored = [Fraction(float(v)) for v in part.constants.rows.value()]
    s = Fraction(float(token.value()[0]))
    reach = max(Fraction(127 * int(np.abs(row).sum())) * a for row, a in zip(weights, stored, strict=True))
    for n in range(4):
        wanted = Fraction(int(q[0] @ weights[n])) * stored[n] * s * 2**fraction
        assert abs(int(found[n]) - wanted) <= Fraction(1, 2) + reach * s * 2**fraction / 2**22
    assert flags.saturated == 0


def test_a_word_by_hand():
    # scales 1/2 and 3/4, token scale 2**-8, 8 fraction bits: sums 300 and -200 become 150 and -150
    part = linear_part(np.array([[1, 1], [-1, 0]]), np.array([0.5, 0.75]), 1, 0, 8, "linear")
    token = Scale(np.array([2**15]), np.array([-23]))
    assert outputs(np.array([[100, 20]]), token, (part,), 32).tolist() == [[60, -75]]


def test_negative_scales_are_negative_trits():
    token = Scale(np.array([2**15]), np.array([-23]))
    part = linear_part(np.array([[1, -1]]), np.array([-0.5]), 1, 0, 8, "linear")
    assert outputs(np.array([[100, 20]]), token, (part,), 32).tolist() == [[-40]]


@given(st.integers(0, 99))
def test_parts_are_added_and_fraction_bits_double_a_word(seed):
    weights, scales, q, token = linear(seed, 10, 2)
    parts = tuple(linear_part(weights[:, a:b], scales, 2, a, 6, "linear") for a, b in ((0, 4), (4, 10)))
    apart = [outputs(np.where(np.isin(np.arange(10), range(p.start, p.stop)), q, 0), token, (p,), 32) for p in parts]
    assert outputs(q, token, parts, 32).tolist() == (apart[0] + apart[1]).tolist()
    more = outputs(q, token, with_fraction(parts, 3), 32)
    assert np.abs(more - 8 * outputs(q, token, parts, 32)).max() <= 8


def test_words_that_do_not_fit_raise_the_flag_and_weights_that_do_not_are_refused():
    part = linear_part(np.array([[1]]), np.array([1.0]), 1, 0, 20, "linear")
    flags = Flags()
    assert outputs(np.array([[127]]), Scale(np.array([2**15]), np.array([-15])), (part,), 24, flags)[0, 0] == 2**23 - 1
    assert flags.saturated == 1
    with pytest.raises(InputError, match=r"^layer 3, o_proj: weights must be within 4 for 2 digits$"):
        linear_part(np.array([[5]]), np.array([1.0]), 2, 0, 10, "layer 3, o_proj")
