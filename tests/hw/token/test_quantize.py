"""QUANT against Python's integers, its bound against fractions, and rows by hand."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hw.token.quantize import quantized
from tests.hw.token import scalar

ROWS = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=8)
LIMITS = st.sampled_from([1, 4, 13, 40, 121, 127, 127 * 128])


@given(ROWS | st.lists(st.integers(-300, 300), min_size=1, max_size=8), LIMITS)
def test_a_row_equals_the_scalar_reference_and_its_bound(row, limit):
    q, scale = quantized(np.array([row]), limit)
    wanted, (mantissa, exponent) = scalar.quantize(row, limit)
    assert q[0].tolist() == wanted
    assert (scale.mantissa[0], scale.exponent[0]) == (mantissa, exponent)
    largest = max(map(abs, row))
    if not largest:
        return
    bound = Fraction(1, 2) + limit * (Fraction(1, 2**15) + Fraction(1, 2**21))
    assert all(abs(a - Fraction(v * limit, largest)) <= bound for a, v in zip(wanted, row, strict=True))
    assert max(map(abs, wanted)) == limit
    value = Fraction(mantissa) * Fraction(2) ** exponent * limit / largest
    assert abs(value - 1) < Fraction(1, 2**13)


def test_rows_by_hand():
    assert quantized(np.array([[127, -1, 0, 64]]), 127)[0].tolist() == [[127, -1, 0, 64]]
    assert quantized(np.array([[2, -1, 1]]), 1)[0].tolist() == [[1, 0, 0]]  # halves go to even
    q, scale = quantized(np.zeros((1, 3), np.int64), 40)
    assert q.tolist() == [[0, 0, 0]]
    assert scale.mantissa.tolist() == [0]


def test_rows_are_quantized_apart():
    x = np.array([[[1, 2], [300, -100]], [[5, 0], [0, 0]]])
    q, scale = quantized(x, 13)
    for i, j in np.ndindex(2, 2):
        alone, s = quantized(x[i, j][None], 13)
        assert q[i, j].tolist() == alone[0].tolist()
        assert scale.mantissa[i, j] == s.mantissa[0]
