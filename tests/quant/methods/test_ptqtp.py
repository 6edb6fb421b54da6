"""Claims: two planes beat one, the fit ends at a fixed point where every code is the best of nine, bits as stored."""

import itertools

import pytest
import torch

from quant.methods.ptqtp import Options, fit_free, fit_tied, solve
from quant.registry import options_for
from quant.weights.solution import StoredBits
from tests.quant.methods.problems import absmean, problem


def weights(n=6, columns=40, seed=0):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed)) * 0.05


def test_every_code_is_the_best_of_nine():
    weight = weights()
    planes, scales = fit_free(weight, 50)
    for n, c in itertools.product(range(6), range(40)):
        a, b = scales[:, n].tolist()
        best = min(abs(weight[n, c].item() - i * a - j * b) for i in (-1, 0, 1) for j in (-1, 0, 1))
        error = weight[n, c].item() - planes[0, n, c].item() * a - planes[1, n, c].item() * b
        assert abs(error) == pytest.approx(best, abs=1e-7)


def test_scales_are_least_squares_for_the_codes():
    weight = weights(columns=200)
    planes, scales = fit_free(weight, 50)
    for n in range(6):
        best = torch.linalg.lstsq(planes[:, n].T, weight[n]).solution
        torch.testing.assert_close(scales[:, n], best, rtol=0.02, atol=1e-4)


def test_error_never_grows_with_iterations():
    weight = weights(seed=3)
    errors = []
    for iterations in (1, 2, 4, 8, 16, 50):
        planes, scales = fit_free(weight, iterations)
        errors.append((weight - torch.einsum("pn,pnc->nc", scales, planes)).square().sum().item())
    assert all(later <= earlier * 1.001 for earlier, later in itertools.pairwise(errors))


def test_nine_equal_steps():
    weight = weights(columns=300)
    planes, step = fit_tied(weight, 50)
    codes = 3 * planes[0] + planes[1]
    nearest = (weight / step[0, :, None]).round().clamp(-4, 4)
    torch.testing.assert_close(codes, nearest)
    naive = min(
        ((weight[0] - s * (weight[0] / s).round().clamp(-4, 4)).square().sum().item())
        for s in torch.linspace(0.001, 0.1, 2000)
    )
    assert (weight[0] - step[0, 0] * codes[0]).square().sum().item() < 1.05 * naive


@pytest.mark.parametrize("name", ["ptqtp", "ptqtp-tied"])
def test_far_closer_than_one_plane(name):
    weight, _, _ = problem(n=24)
    solution = solve(weight, None, options_for(name, {"group": 50}))
    error = (weight - solution.dense()).square().sum()
    assert error < 0.25 * (weight - absmean(weight, 50)).square().sum()
    assert (solution.scales >= 0).all()


def test_bits_by_hand():
    weight, _, _ = problem()
    # 12 rows x 2 groups of 50 and 22 columns; a plane of 72 trits is 15 bytes per row.
    assert solve(weight, None, Options(group=50)).bits() == StoredBits(2 * 12 * 15 * 8, 2 * 24 * 16, 0, 0, 0)
    assert solve(weight, None, Options(group=50, tied=True)).bits() == StoredBits(2 * 12 * 15 * 8, 24 * 16, 0, 0, 0)


@pytest.mark.parametrize("tied", [False, True])
def test_exact_cases(tied):
    levels = torch.tensor([[4.0, -4.0, 3.0, 1.0, -2.0, 0.0]]) * 0.25
    assert torch.equal(solve(levels, None, Options(tied=True)).dense(), levels)
    assert (solve(torch.zeros(2, 5), None, Options(tied=tied)).dense() == 0).all()
    signs = torch.tensor([[0.5, -0.5, -0.5, 0.5]])
    torch.testing.assert_close(solve(signs, None, Options(tied=tied)).dense(), signs, rtol=2e-3, atol=0)
