"""Claims: planes are the digits of the nearest integers, the step is the best that its starts lead to."""

import pytest
import torch

from hw.errors import InputError
from quant.methods.digits import Options, fit_digits, solve
from quant.registry import options_for


def weights(n=6, columns=40, seed=0):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed)) * 0.05


def test_planes_by_hand():
    solution = solve(torch.tensor([[13.0, -13.0, 5.0, -1.0, 0.0]]), None, Options(digits=3))
    assert solution.ratios == (9, 3, 1)
    assert solution.trits[:, 0].tolist() == [[1, -1, 1, 0, 0], [1, -1, -1, 0, 0], [1, -1, -1, -1, 0]]
    assert solution.dense().tolist() == [[13.0, -13.0, 5.0, -1.0, 0.0]]


@pytest.mark.parametrize("digits", [1, 2, 3, 4, 5])
def test_every_weight_has_the_nearest_of_its_levels(digits):
    weight, limit = weights(), (3**digits - 1) // 2
    codes, step = fit_digits(weight, digits)
    levels = torch.arange(-limit, limit + 1) * step[:, None, None]
    best = (weight[..., None] - levels).abs().amin(-1)
    torch.testing.assert_close((weight - codes * step[:, None]).abs(), best, rtol=0, atol=1e-8)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_no_step_on_a_fine_grid_is_much_better(digits):
    weight, limit = weights(n=4), (3**digits - 1) // 2
    codes, step = fit_digits(weight, digits)
    error = (weight - codes * step[:, None]).square().sum(1)
    for share in torch.linspace(0.2, 1.2, 201):
        other = share * weight.abs().amax(1, keepdim=True) / limit
        found = (weight - other * torch.round(weight / other).clamp(-limit, limit)).square().sum(1)
        assert (error <= 1.1 * found).all()


def test_a_digit_more_errs_less_and_groups_have_their_own_step():
    weight = weights(columns=64)
    errors = [(solve(weight, None, Options(digits=d)).dense() - weight).norm() for d in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)
    grouped = solve(weight, None, Options(digits=2, group=16))
    assert grouped.scales.shape == (1, 6, 4)
    assert (grouped.dense() - weight).norm() < errors[1]


def test_rows_of_zeros_stay_zero_and_other_numbers_of_digits_are_refused():
    assert not solve(torch.zeros(2, 5), None, Options()).dense().any()
    with pytest.raises(InputError, match=r"^method digits: field 'digits' should be less than or equal to 5"):
        options_for("digits", {"digits": 6})
