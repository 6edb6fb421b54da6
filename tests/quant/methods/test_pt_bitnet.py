"""Claims: every step lowers the output error it is judged on, and flips and fits reach what brute force reaches."""

import itertools

import pytest
import torch

from hw.errors import InputError
from quant.methods.gptq import Options as GptqOptions
from quant.methods.gptq import solve as gptq
from quant.methods.pt_bitnet import Options, fit_scales, flip_codes, search_threshold, solve
from tests.quant.methods.problems import output_error, problem


def errors(weight, scale, trits, hessian):
    difference = weight - scale * trits
    return ((difference @ hessian) * difference).sum(1)


def test_beats_gptq_on_correlated_inputs():
    weight, inputs, hessian = problem(48, 96, seed=1)
    ours = output_error(inputs, weight, solve(weight, hessian, Options(group=32)).dense())
    theirs = output_error(inputs, weight, gptq(weight, hessian, GptqOptions(group=32)).dense())
    assert ours < 0.95 * theirs


def test_flips_reduce_the_error_of_every_row_and_fits_reduce_it_further():
    weight, _, hessian = problem(20, 64, seed=2)
    first = solve(weight, hessian, Options(group=16, flips=0))
    trits, scales = first.trits[0].float(), first.scales[0].float()
    scale = scales.repeat_interleave(16, 1)
    flipped = flip_codes(weight, trits, scale, hessian, 40)
    before, after = errors(weight, scale, trits, hessian), errors(weight, scale, flipped, hessian)
    assert (after <= before * (1 + 1e-5)).all()
    assert after.sum() < 0.97 * before.sum()
    fitted = fit_scales(weight, flipped, scales, hessian, 16).repeat_interleave(16, 1)
    assert (errors(weight, fitted, flipped, hessian) <= after * (1 + 1e-5)).all()


def test_flips_end_where_no_single_move_helps():
    weight, _, hessian = problem(6, 10, seed=3)
    scale = torch.full((6, 10), 0.8)
    trits = flip_codes(weight, torch.zeros(6, 10), scale, hessian, 1000)
    best = errors(weight, scale, trits, hessian)
    for j, value in itertools.product(range(10), (-1.0, 0.0, 1.0)):
        moved = trits.clone()
        one_step = (moved[:, j] - value).abs() <= 1
        moved[one_step, j] = value
        assert (errors(weight, scale, moved, hessian) >= best * (1 - 1e-4)).all()


def test_fitted_scales_are_the_least_squares_solution():
    weight, _, hessian = problem(5, 24, seed=4)
    trits = torch.sign(weight)
    fitted = fit_scales(weight, trits, torch.full((5, 3), weight.abs().mean().item()), hessian, 8)
    factor = torch.linalg.cholesky(hessian.double())
    for row in range(5):
        columns = torch.stack([trits[row, g * 8 : g * 8 + 8].double() @ factor[g * 8 : g * 8 + 8] for g in range(3)], 1)
        exact = torch.linalg.lstsq(columns, (weight[row].double() @ factor)[:, None]).solution[:, 0]
        if (exact > 0).all():
            assert torch.allclose(fitted[row].double(), exact, rtol=0.05)


def test_threshold_search_prefers_what_the_outputs_prefer():
    # Weight 0.5 is worth keeping only where its input matters.
    weight = torch.tensor([[1.0, 0.5, 1.0, 1.0]])
    quiet = search_threshold(weight, torch.diag(torch.tensor([1.0, 1e-6, 1.0, 1.0])))
    loud = search_threshold(weight, torch.diag(torch.tensor([1e-3, 1.0, 1e-3, 1e-3])))
    assert quiet.item() == 1.0
    assert loud.item() < 0.9


@pytest.mark.parametrize(("group", "kind"), [(128, "group"), (None, "row"), (7, "group")])
def test_dead_inputs_and_odd_widths_work(group, kind):
    weight, _, hessian = problem(9, 30, seed=5)
    hessian[4] = 0
    hessian[:, 4] = 0
    solution = solve(weight, hessian, Options(group=group))
    assert solution.scale_kind == kind
    assert not solution.trits[0, :, 4].any()


def test_missing_hessian_is_refused():
    with pytest.raises(InputError, match="needs the Hessian"):
        solve(torch.ones(2, 4), None, Options())
