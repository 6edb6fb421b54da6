"""RoPE against complex multiplication, WHT against its matrix, digits exhaustively, SiLU over its whole range."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.token.digits import digit_limit, from_digits, to_digits
from hw.token.hadamard import block_size, transformed
from hw.token.rope import neighbour_rows, rotary_table, rotated
from hw.token.silu import SIGMOIDS, gated
from tests.hw.token import scalar


@given(st.integers(0, 99), st.sampled_from([2, 6, 8, 64]), st.integers(0, 63))
def test_a_head_is_turned_as_complex_numbers_are(seed, d, position):
    x = np.random.default_rng(seed).integers(-(2**23), 2**23, (1, 2, d))
    row = rotary_table(64, d, 10000.0)[position][None]
    found = rotated(x, row)
    assert found[0].tolist() == [scalar.rope(head, row[0]) for head in x[0].tolist()]
    angle = position * 10000.0 ** -(np.arange(0, d, 2) / d)
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)
    size = np.abs(x[..., 0::2]) + np.abs(x[..., 1::2])
    assert np.all(np.abs(found[..., 0::2] - turned.real) <= 0.5 + size * 2.0**-15 + 1e-6)
    assert np.all(np.abs(found[..., 1::2] - turned.imag) <= 0.5 + size * 2.0**-15 + 1e-6)


def test_position_0_turns_nothing_and_a_quarter_turn_swaps():
    x = np.array([[[5, -7, 3, 2]]])
    assert rotated(x, rotary_table(1, 4, 10000.0)[:1]).tolist() == x.tolist()
    quarter = np.array([[[0, 0], [1 << 14, 1 << 14]]])
    assert rotated(x, quarter).tolist() == [[[7, 5, -2, 3]]]


def test_halves_become_neighbours():
    assert neighbour_rows(2, 6).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


@given(st.integers(0, 99), st.sampled_from([1, 2, 6, 8, 12, 64, 96, 128]))
def test_the_transform_is_its_matrix_block_by_block(seed, d):
    x = np.random.default_rng(seed).integers(-(2**24), 2**24, d)
    found = transformed(x[None])[0]
    assert found.tolist() == scalar.wht(x.tolist())
    size = block_size(d)
    assert transformed(found[None])[0].tolist() == (size * x).tolist()  # its own inverse, times its size


@given(st.integers(0, 99), st.sampled_from([8, 96]))
def test_scores_of_transformed_heads_grow_by_the_block(seed, d):
    rng = np.random.default_rng(seed)
    q, k = rng.integers(-1000, 1000, (2, d))
    assert int(transformed(q) @ transformed(k)) == block_size(d) * int(q @ k)


@pytest.mark.parametrize("digits", [1, 2, 3, 4, 5])
def test_every_value_has_its_own_digits(digits):
    values = np.arange(-digit_limit(digits), digit_limit(digits) + 1)
    assert len(values) == 3**digits
    planes = to_digits(values, digits)
    assert set(planes.flatten().tolist()) <= {-1, 0, 1}
    assert from_digits(planes).tolist() == values.tolist()
    assert len({tuple(trits) for trits in planes.T.tolist()}) == 3**digits


def test_digits_by_hand():
    assert to_digits(np.array([5, -40]), 4).tolist() == [[-1, -1], [-1, -1], [1, -1], [0, -1]]  # 5 = 9 - 3 - 1


def test_the_sigmoid_table_is_the_middle_of_each_64th():
    assert len(SIGMOIDS) == 1024
    for i, found in enumerate(SIGMOIDS.tolist()):
        middle = (i - 512 + 0.5) / 64
        assert found == int(65536 / (1 + np.exp(-middle)))


def test_silu_errs_by_at_most_its_bound_over_the_whole_range():
    gate = np.arange(-(2**15), 2**15)[None]  # -32 to 32 in steps of 2**-10
    found = gated(gate, np.full_like(gate, 1 << 8), 10, 8) / 2**10
    real = gate / 2**10
    error = np.abs(found - real / (1 + np.exp(-real)))
    assert error.max() <= 0.0028 + 2.0**-10
    assert error[real >= -7.9].max() <= 0.0021 + 2.0**-10


@given(st.integers(-(2**23), 2**23 - 1), st.integers(-(2**16), 2**16 - 1), st.integers(6, 12), st.integers(0, 14))
def test_a_gate_equals_the_scalar_reference(gate, up, fraction, up_fraction):
    found = gated(np.array([[gate]]), np.array([[up]]), fraction, up_fraction)[0, 0]
    assert found == scalar.glu(gate, up, fraction, up_fraction, SIGMOIDS.tolist())


def test_fractions_of_the_table_are_q_1_14():
    table = rotary_table(3, 2, 10000.0)
    assert table[:, 0, 0].tolist() == [
        16384,
        round(Fraction(np.cos(1.0)) * 16384),
        round(Fraction(np.cos(2.0)) * 16384),
    ]
