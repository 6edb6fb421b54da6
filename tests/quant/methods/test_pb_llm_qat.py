"""Claims: training starts at the closed form, never loses to it, leaves salient weights alone, scales optimally."""

import pytest
import torch

from hw.errors import InputError
from quant.methods import pb_llm
from quant.methods.pb_llm_qat import Options, solve
from tests.quant.methods.problems import output_error, problem


def test_no_steps_is_the_sign_times_the_mean_magnitude():
    weight, _, hessian = problem()
    solution = solve(weight, hessian, Options(steps=0))
    binary = ~solution.outliers.mask
    scale = weight[binary].abs().mean().half().float()
    expected = torch.where(binary, scale * torch.sign(weight), solution.outliers.dense())
    torch.testing.assert_close(solution.dense(), expected)
    # One scale for the tensor, one bit per binary weight.
    assert solution.bits().scale == 16 + 12 * 16
    assert solution.bits().offset == 12 * 8


@pytest.mark.parametrize("scale", ["tensor", "row"])
def test_training_reduces_the_output_error(scale):
    weight, inputs, hessian = problem(n=24)
    errors = [
        output_error(inputs, weight, solve(weight, hessian, Options(steps=s, scale=scale)).dense()) for s in (0, 200)
    ]
    assert errors[1] < 0.97 * errors[0]


def test_the_frozen_weights_are_those_of_the_closed_form_and_do_not_move():
    weight, _, hessian = problem()
    short, long = (solve(weight, hessian, Options(steps=s)).outliers for s in (0, 100))
    assert torch.equal(short.mask, long.mask)
    assert torch.equal(short.codes, long.codes)
    assert torch.equal(short.mask, pb_llm.solve(weight, hessian, pb_llm.Options()).outliers.mask)
    kept = short.mask
    step = short.scale.float()[:, None].expand_as(weight)[kept]
    assert ((short.dense() - weight)[kept].abs() <= 0.51 * step + 1e-3).all()


def test_dead_inputs_and_bad_hessian():
    weight, inputs, hessian = problem(dead=(0, 71))
    assert output_error(inputs, weight, solve(weight, hessian, Options(steps=50)).dense()) < 1
    with pytest.raises(InputError, match="Hessian must be finite"):
        solve(weight, hessian * float("nan"), Options())
