"""Claims: learned clipping never loses to the first ends, nears a grid search's result, counts GPTQ's bits."""

import pytest
import torch

from hw.errors import InputError
from quant.methods.omniquant import Options, rounded, solve
from quant.methods.two_bit import two_bit_solution
from tests.quant.methods.problems import absmean, output_error, problem


def test_more_steps_never_lose():
    weight, inputs, hessian = problem(n=24)
    errors = [
        output_error(inputs, weight, solve(weight, hessian, Options(group=32, steps=s)).dense()) for s in (0, 10, 100)
    ]
    assert errors[2] < 0.9 * errors[0]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < output_error(inputs, weight, absmean(weight, 32))


def test_comes_near_an_exhaustive_search_of_one_group():
    weight = torch.randn(6, 20, generator=torch.Generator().manual_seed(4)) ** 3
    identity = torch.eye(20)
    learned = (weight - solve(weight, identity, Options(group=None, steps=200)).dense()).square().sum(1)
    low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    best = torch.full((6,), torch.inf)
    for a in torch.linspace(0.05, 1, 60):
        for b in torch.linspace(0.05, 1, 60):
            scale = (a * high - b * low) / 3
            zero = (-b * low / scale).round()
            value = scale * (((weight / scale).round() + zero).clamp(0, 3) - zero)
            best = torch.minimum(best, (weight - value).square().sum(1))
    start = (weight - solve(weight, identity, Options(group=None, steps=0)).dense()).square().sum(1)
    assert (learned <= start).all()
    assert learned.sum() < best.sum() + 0.35 * (start.sum() - best.sum())


def test_gradient_of_the_scale_by_hand():
    # Codes at scale 0.5 with zero point 1: 0.3 -> round(0.6) = 1, inside; 2.0 -> 4 + 1, clipped to code 3.
    scale = torch.tensor([[0.5]], requires_grad=True)
    zero = torch.tensor([[1.0]])
    inside = rounded(torch.tensor([[[0.3]]]), scale, zero)
    assert inside.item() == pytest.approx(0.5)
    assert torch.autograd.grad(inside.sum(), scale)[0].item() == pytest.approx(1 - 0.6)
    clipped = rounded(torch.tensor([[[2.0]]]), scale, zero)
    assert clipped.item() == pytest.approx(1.0)
    assert torch.autograd.grad(clipped.sum(), scale)[0].item() == pytest.approx(3 - 1)


def test_groups_that_end_short_and_bits():
    weight, _, hessian = problem()
    solution = solve(weight, hessian, Options(group=50, steps=5))
    assert solution.bits() == two_bit_solution(torch.zeros(12, 72), torch.ones(12, 2), torch.zeros(12, 2), 50).bits()


def test_zero_weights_dead_inputs_and_bad_hessian():
    weight, inputs, hessian = problem(dead=(0, 71))
    assert output_error(inputs, weight, solve(weight, hessian, Options(steps=20)).dense()) < 1
    assert (solve(torch.zeros(3, 72), hessian, Options(steps=3)).dense() == 0).all()
    with pytest.raises(InputError, match="Hessian must be finite"):
        solve(weight, hessian * float("nan"), Options())


def test_works_where_gradients_are_off():
    weight, _, hessian = problem()
    with torch.no_grad():
        without = solve(weight, hessian, Options(steps=20)).dense()
    assert torch.equal(without, solve(weight, hessian, Options(steps=20)).dense())
