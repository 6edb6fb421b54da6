"""Claims: the fast loop equals the optimal-brain formulation, the scales are optimal, and both beat plain rounding."""

import itertools

import pytest
import torch

from hw.errors import InputError
from quant.methods.gptq import Options, least_squares_scale, solve, twn_scale
from quant.registry import options_for
from quant.weights.solution import StoredBits
from tests.quant.methods.problems import absmean, output_error, problem


def optimal_brain(weight, hessian, group, damping=0.01):
    """Ternary codes by explicit downdates of the inverse Hessian in float64, row by row: Optimal Brain Quantization."""
    weight, h = weight.double().clone(), hessian.double().clone()
    h += damping * h.diagonal().mean() * torch.eye(len(h))
    inverse = torch.linalg.inv(h)
    values = torch.zeros_like(weight)
    for j in range(weight.shape[1]):
        if j % group == 0:
            scale = least_squares_scale(weight[:, j : j + group].float()).half().double()
        values[:, j] = scale * torch.sign(weight[:, j]) * (weight[:, j].abs() > scale / 2)
        step = (weight[:, j] - values[:, j]) / inverse[j, j]
        weight -= step[:, None] * inverse[j]
        inverse -= inverse[:, j, None] * inverse[j] / inverse[j, j]
    return values.float()


def test_equals_optimal_brain_quantization_in_natural_order():
    weight, _, hessian = problem()
    solution = solve(weight, hessian, Options(group=32))
    torch.testing.assert_close(solution.dense(), optimal_brain(weight, hessian, 32), rtol=1e-3, atol=1e-6)


def test_least_squares_scale_beats_every_subset():
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
    scale = least_squares_scale(weight)
    for row, found in zip(weight.double(), scale, strict=True):
        errors = []
        for trits in itertools.product((-1.0, 0.0, 1.0), repeat=7):
            t = torch.tensor(trits, dtype=torch.float64)
            a = (t @ row) / (t @ t).clamp_min(1)
            errors.append(((row - a * t).square().sum().item(), a.item()))
        assert abs(found.item()) == pytest.approx(abs(min(errors)[1]), rel=1e-5)


def test_twn_scale_by_hand():
    # mean 1.0, threshold 0.75: the weights 0.8 and -3.0 are kept.
    assert twn_scale(torch.tensor([[0.1, 0.8, -3.0, 0.1]])).item() == pytest.approx(1.9)
    # One weight alone above the threshold; a row of zeros; weights that all are the threshold's 4/3.
    rows = torch.tensor([[0.0, 0.5, -3.5, 0.0], [0.0, 0.0, 0.0, 0.0], [2.0, -2.0, 2.0, 2.0]])
    assert twn_scale(rows).tolist() == pytest.approx([3.5, 0.0, 2.0])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("group", [None, 16, 50, 128])
def test_error_feedback_beats_rounding(seed, group):
    weight, inputs, hessian = problem(seed=seed)
    solution = solve(weight, hessian, Options(group=group))
    assert solution.groups == (1 if group is None else -(-72 // group))
    ours = output_error(inputs, weight, solution.dense())
    assert ours < 0.75 * output_error(inputs, weight, absmean(weight, group or 72))


def test_two_bits_beat_ternary_and_clip_search_counts_the_same_bits():
    weight, inputs, hessian = problem()
    ternary = solve(weight, hessian, Options(group=32))
    two_bit = solve(weight, hessian, options_for("gptq-2bit", {"group": 32}))
    wide = solve(weight, hessian, options_for("gptq-2bit", {"group": 32, "clip": "min-max"}))
    errors = [output_error(inputs, weight, s.dense()) for s in (two_bit, ternary)]
    assert errors[0] < errors[1]
    assert two_bit.bits() == wide.bits()
    # 12 rows of 9 bytes in two planes; 3 groups per row: 16-bit scales, 2-bit zero points.
    assert two_bit.bits() == StoredBits(2 * 12 * 72, 12 * 3 * 16, 12 * 3 * 2, 0, 0)


def test_dead_inputs_get_zero_trits_and_take_no_error():
    weight, _, hessian = problem(dead=(0, 40, 71))
    solution = solve(weight, hessian, Options(group=32))
    assert (solution.dense()[:, [0, 40, 71]] == 0).all()


def test_an_all_zero_linear_stays_zero():
    _, _, hessian = problem()
    for levels in ("ternary", "2bit"):
        assert (solve(torch.zeros(4, 72), hessian, Options(levels=levels)).dense() == 0).all()


def test_nan_hessian_is_refused():
    weight, _, hessian = problem()
    hessian[0, 0] = float("nan")
    with pytest.raises(InputError, match="Hessian must be finite"):
        solve(weight, hessian, Options())
