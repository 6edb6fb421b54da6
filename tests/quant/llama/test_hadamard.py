"""Hadamard matrices: orthogonal rows of every order that a model has, refused by name where there is none."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from quant.llama.hadamard import RandomHadamard, factor_order, paley
from quant.shapes import load_shape, model_names


@pytest.mark.parametrize("order", [12, 20, 24, 28, 32, 36, 44, 60, 76, 108, 148])
def test_paley_matrices_are_signs_with_orthogonal_rows(order):
    matrix = paley(order).numpy().astype(int)
    assert set(np.unique(matrix)) == {-1, 1}
    assert (matrix @ matrix.T == order * np.eye(order, dtype=int)).all()


@pytest.mark.parametrize(
    ("size", "order"),
    [(64, 1), (4096, 1), (576, 36), (896, 28), (288, 36), (5120, 20), (3072, 12), (960, 60), (3200, 200), (24, 12)],
)
def test_factor_of_a_size(size, order):
    assert factor_order(size, "hidden_size") == order


def test_every_shipped_model_can_be_rotated():
    for name in model_names():
        shape = load_shape(name)
        factor_order(shape.hidden_size, "hidden_size")
        if name not in ("bitnet_b1_58-3B",):  # heads of 100 inputs: q = 49 is no prime
            factor_order(shape.head_dim, "head_dim")


@pytest.mark.parametrize("size", [6, 7, 18, 92, 100])
def test_a_size_without_matrix_is_named(size):
    with pytest.raises(InputError, match=rf"^hidden_size {size}: no Hadamard matrix"):
        factor_order(size, "hidden_size")


@pytest.mark.parametrize("size", [1, 8, 64])
def test_powers_of_two_are_sylvesters_matrix_with_signs(size):
    turned = RandomHadamard(size, 3, "size")(torch.eye(size, dtype=torch.float64)).numpy() * size**0.5
    signs = turned[:, :1]
    index = np.arange(size)
    by_definition = (-1.0) ** np.bitwise_count(index[:, None] & index)
    assert np.allclose(turned, signs * by_definition)
    assert set(np.unique(signs.round())) <= {-1.0, 1.0}


@given(st.sampled_from([8, 12, 24, 40, 72, 576]), st.integers(0, 99))
def test_rotation_keeps_products(size, seed):
    x = torch.randn(2, 3, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    turned = RandomHadamard(size, seed, "size")(x)
    assert turned.shape == x.shape
    assert torch.allclose(turned @ turned.mT, x @ x.mT)
    assert not torch.allclose(turned, x)


def test_one_outlier_spreads_over_all_channels():
    x = torch.zeros(576)
    x[17] = 24.0
    assert torch.allclose(RandomHadamard(576, 0, "size")(x).abs(), torch.ones(576))
