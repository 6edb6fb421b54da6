"""Every operation on scales against Python's integers and against exact fractions with its stated bound."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.token.formats import Flags
from hw.token.scales import (
    KV_BIAS,
    Scale,
    StoredScales,
    constant,
    multiply,
    reciprocal,
    reciprocal_root,
    scale_of,
    store,
    stored_scales,
)
from tests.hw.token import scalar

SCALES = st.tuples(st.integers(2**15, 2**16 - 1), st.integers(-200, 200)) | st.just((0, 0))
SUMS = st.integers(0, 2**48 - 1)


def arrays(pair):
    return Scale(np.array([pair[0]]), np.array([pair[1]]))


def pair(scale):
    return int(scale.mantissa[0]), int(scale.exponent[0])


def exact(pair):
    return Fraction(pair[0]) * Fraction(2) ** pair[1]


def below(found, wanted, bits):
    """Not above, and by less than 2**-bits of the wanted number below."""
    return wanted - wanted * Fraction(1, 2**bits) < found <= wanted or found == wanted == 0


@given(SUMS)
def test_the_scale_of_an_integer(v):
    found = pair(scale_of(np.array([v])))
    assert found == scalar.scale_of(v)
    assert below(exact(found), Fraction(v), 15)


@given(SCALES, SCALES)
def test_a_product(a, b):
    found = pair(multiply(arrays(a), arrays(b)))
    assert found == scalar.multiply(a, b)
    assert below(exact(found), exact(a) * exact(b), 15)


@given(SCALES)
def test_a_reciprocal(a):
    found = pair(reciprocal(arrays(a)))
    assert found == scalar.inverse(*a)
    assert below(exact(found), 1 / exact(a) if a[0] else Fraction(0), 15)


@given(SUMS)
def test_a_reciprocal_root(v):
    found = pair(reciprocal_root(np.array([v])))
    assert found == scalar.reciprocal_root(v)
    if v:
        square = exact(found) ** 2 * v  # 1 within twice 2**-14
        assert abs(square - 1) < Fraction(2, 2**14)


def test_by_hand():
    assert pair(scale_of(np.array([3]))) == (0xC000, -14)
    assert pair(reciprocal(arrays((2**15, 0)))) == (2**15, -30)
    assert pair(reciprocal_root(np.array([4]))) == (2**15, -16)
    assert pair(multiply(arrays((0xC000, 0)), arrays((0xC000, 0)))) == (0x9000, 16)


@given(st.floats(1e-6, 1e6))
def test_a_constant_is_rounded_to_16_bits(x):
    scale = constant(x)
    assert 2**15 <= scale.mantissa < 2**16
    assert abs(exact((int(scale.mantissa), int(scale.exponent))) - Fraction(x)) <= Fraction(x) / 2**16


@given(st.tuples(st.integers(2**15, 2**16 - 1), st.integers(-40, 10)))
def test_a_stored_scale_keeps_12_bits_or_is_zero(scale):
    stored = store(arrays(scale))
    assert (int(stored.mantissa[0]), int(stored.exponent[0])) == scalar.store(scale)
    value, wanted = Fraction(float(stored.value()[0])), exact(scale)
    smallest, largest = Fraction(2049, 2**KV_BIAS), Fraction(4095) * 2 ** (31 - KV_BIAS)
    if smallest <= wanted <= largest:
        assert abs(value - wanted) <= wanted / 2**12
    elif wanted > largest:
        assert value == largest
    else:
        assert value in (0, smallest)


def test_too_large_a_stored_scale_raises_the_flag():
    flags = Flags()
    assert store(arrays((2**15, 10)), KV_BIAS, flags).words()[0] == 0xFFFF
    assert flags.saturated == 1


@given(st.lists(st.integers(1, 0xFFFF), min_size=1, max_size=5), st.integers(-20, 40))
def test_words_survive_being_taken_apart(words, bias):
    assert StoredScales.from_words(np.array(words), bias).words().tolist() == words


@given(st.lists(st.floats(2.0**-14, 60000, width=16), min_size=1, max_size=6))
def test_float16_scales_are_stored_exactly(values):
    assert stored_scales(np.array(values)).value().tolist() == values


def test_scales_of_any_size_are_stored_as_they_are():
    for power in (-90, -45, 0, 45):
        assert stored_scales(np.array([3.0, 2.0]) * 2.0**power).value().tolist() == [3 * 2.0**power, 2 * 2.0**power]


def test_scales_far_below_the_largest_are_zero():
    assert stored_scales(np.array([1.0, 2.0**-30, 2.0**-33, 0.0])).value().tolist() == [1.0, 2.0**-30, 0.0, 0.0]
    assert stored_scales(np.zeros(2)).value().tolist() == [0, 0]


@pytest.mark.parametrize(("exponent", "flagged"), [(31, 0), (32, 1)])
def test_only_beyond_the_largest_exponent_a_stored_scale_saturates(exponent, flagged):
    flags = Flags()
    store(Scale(np.array([1 << 15]), np.array([exponent - 4])), 0, flags)
    assert flags.saturated == flagged


def test_a_mantissa_that_rounds_up_to_the_next_power_is_that_power():
    """1 - 2**-14 is 4095.75 of 4096ths: 4096, which is 2048 with the next exponent."""
    found = stored_scales(np.array([1 - 2**-14, 1.0, 0.5]))
    assert found.words().tolist() == [found.words()[1], found.words()[1], found.words()[2]]
    assert found.words()[1] - found.words()[2] == 1 << 11
