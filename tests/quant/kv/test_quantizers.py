"""Claims: integers and transforms are the golden model's bit for bit; stored scales and groups by their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import hw.golden
from quant.kv.quantizers import grouped, hadamard, integers, stored, transform

FLOATS = st.floats(-1e4, 1e4, width=32)


@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=FLOATS), st.integers(1, 5))
def test_digits_are_the_golden_models(x, count):
    q, scale = hw.golden.quantize_digits(x, count)
    ours, steps = integers(torch.from_numpy(x), hw.golden.digit_limit(count))
    assert np.array_equal(ours.numpy(), q)
    assert np.array_equal(steps.numpy(), scale)


@pytest.mark.parametrize("size", [6, 64, 96, 7])
def test_transforms_are_the_golden_models_and_keep_products(size):
    x = torch.randint(-127, 128, (3, size)).float()
    assert np.array_equal(hadamard(x).numpy(), hw.golden.hadamard(x.numpy()))
    y = torch.randn(5, size)
    assert torch.allclose(transform(x) @ transform(y).T, x @ y.T, rtol=1e-4, atol=1e-3)


def test_stored_scales_have_twelve_bits():
    x = torch.tensor([0.0, 1.0, 4095.0, 4096.5, 4097.0, 4099.0, 8195.0, 3.0e-9, 1e20])
    # Above 4096 every second whole number has 12 bits, above 8192 every fourth; ties go to the even one.
    assert stored(x)[:7].tolist() == [0.0, 1.0, 4095.0, 4096.0, 4096.0, 4100.0, 8196.0]
    assert torch.all((stored(x) - x).abs() <= x * 2**-12)


def test_groups_keep_their_extremes_and_round_between_them():
    x = torch.tensor([[0.0, 1.0, 2.0, 3.0, 10.0, 40.0, 31.0, 12.0]])
    # 2 bits: levels 0, 1, 2, 3 of the first group; 10, 20, 30, 40 of the second.
    assert grouped(x, 2, 4).tolist() == [[0.0, 1.0, 2.0, 3.0, 10.0, 40.0, 30.0, 10.0]]
    assert grouped(torch.full((1, 4), 2.5), 2, 4).tolist() == [[2.5] * 4]
