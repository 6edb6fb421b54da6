"""NORM against Python's integers, and against RMSNorm in float64."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hw.errors import InputError
from hw.token.norm import norm_constants, normalized
from tests.hw.token import scalar

EPS, FRACTION = 1e-5, 10


def row(seed, n, size, spike):
    rng = np.random.default_rng(seed)
    x = np.rint(rng.normal(0, size, n)).astype(np.int64)
    x[0] *= spike
    return x, rng.normal(1, 0.5, n)


CASES = (st.integers(0, 999), st.integers(1, 64), st.sampled_from([0, 1, 50, 5000, 2**20]), st.sampled_from([1, 500]))


@given(*CASES)
def test_a_token_equals_the_scalar_reference(seed, n, size, spike):
    x, gain = row(seed, n, size, spike)
    norm = norm_constants(gain, EPS, FRACTION)
    q, scale = normalized(x[None], norm)
    factor = int(norm.factor.mantissa), int(norm.factor.exponent)
    wanted, pair = scalar.norm(x.tolist(), norm.gain.tolist(), norm.epsilon, factor)
    assert q[0].tolist() == wanted
    assert (scale.mantissa[0], scale.exponent[0]) == pair


@example(232, 4, 1, 500)  # the largest word has the least gain, 0.4 % of the largest
@given(*CASES)
def test_a_token_is_rms_norm_within_half_a_step_and_the_scales_bound(seed, n, size, spike):
    x, gain = row(seed, n, size, spike)
    q, scale = normalized(x[None], norm_constants(gain, EPS, FRACTION))
    real = x / 2**FRACTION
    normed = real / np.sqrt((real**2).mean() + EPS)
    wanted = normed * gain
    found = q[0] * scale.value()[0]
    # Half a step of int8, QUANT's 0.004 steps and a y of 24 bits; half a unit of the gain, of which the largest has 15
    # bits; then 2**-12 of the scale.
    half_unit = 0.5 * np.abs(gain).max() / 2**14
    step = (np.abs(wanted) + np.abs(normed) * half_unit).max() / 127
    assert np.all(np.abs(found - wanted) <= 0.51 * step + np.abs(normed) * half_unit + np.abs(wanted) * 2.0**-12)


def test_a_token_of_zeros_is_zeros():
    q, scale = normalized(np.zeros((1, 5), np.int64), norm_constants(np.ones(5), EPS, FRACTION))
    assert q.tolist() == [[0] * 5]
    assert scale.mantissa.tolist() == [0]


def test_eps_counts_in_a_small_token():
    x = np.full((1, 64), 1)  # 2**-10 each: their mean square is below eps
    _, scale = normalized(x, norm_constants(np.ones(64), EPS, FRACTION))
    assert 127 * scale.value()[0] == pytest.approx(2.0**-10 / np.sqrt(2.0**-20 + EPS), rel=2e-3)


def test_gains_that_are_no_gains_are_refused():
    with pytest.raises(InputError, match=r"^norm gains must be finite and not all zero, not up to 0$"):
        norm_constants(np.zeros(4), EPS, FRACTION)


@pytest.mark.parametrize(
    ("gains", "words", "fraction"),
    [
        ([1 - 2**-17, 0.5], [16384, 8192], 14),  # the largest would round to 32768
        ([32767 / 32768, 0.5], [32767, 16384], 15),
        ([1.0, -0.25], [16384, -4096], 14),
        ([-3.0, 1.5], [-24576, 12288], 13),
    ],
)
def test_the_largest_gain_takes_all_of_15_bits(gains, words, fraction):
    """The factor of the scale undoes the gains' fraction and the 7 bits that inputs lack: sqrt(n) / 2**(8 - 15)."""
    norm = norm_constants(np.array(gains), EPS, FRACTION)
    assert norm.gain.tolist() == words
    factor = int(norm.factor.mantissa) * 2.0 ** int(norm.factor.exponent)
    assert factor == pytest.approx(2**0.5 * 2.0 ** (15 - 8 - fraction), rel=2**-16)


def test_the_epsilon_is_that_of_a_sum_of_squares_with_thirty_fraction_bits_more():
    assert norm_constants(np.ones(6), 1e-5, 3).epsilon == round(6 * 1e-5 * 2 ** (2 * (3 + 15)))
