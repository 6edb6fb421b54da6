"""The contract of every registered method: pure, repeatable, better than rounding, computable as hardware does."""

import numpy as np
import pytest
import torch

from hw.errors import InputError
from hw.golden import group_sums, quantize_tokens
from quant.registry import load_method, method_names, options_for
from quant.weights.storage import load_linear, store_linear
from tests.quant.methods.problems import absmean, output_error, problem

SOLVERS = [name for name in method_names() if hasattr(load_method(name), "solve")]
GROUP = 32  # 72 inputs: the last group has 8
WITHOUT_GROUPS = {"pb-llm", "pb-llm-qat"}


def solved(name, weight, hessian):
    options = {} if name in WITHOUT_GROUPS else {"group": GROUP}
    return load_method(name).solve(weight, hessian, options_for(name, options))


@pytest.mark.parametrize("name", SOLVERS)
def test_arguments_stay_as_they_were_and_the_answer_repeats(name):
    weight, _, hessian = problem(dead=(4,))
    parameter = torch.nn.Parameter(weight.clone())
    before = hessian.clone()
    with torch.no_grad():  # as the pipeline calls it, with the parameter of a module
        first = solved(name, parameter, hessian)
    assert torch.equal(parameter, weight)
    assert torch.equal(hessian, before)
    assert parameter.grad is None
    second = solved(name, weight, hessian)
    assert torch.equal(first.dense(), second.dense())
    assert not first.scales.requires_grad


@pytest.mark.parametrize("name", SOLVERS)
def test_output_error_is_below_that_of_rounding(name):
    weight, inputs, hessian = problem(n=24)
    if name == "rtn":
        torch.testing.assert_close(solved(name, weight, hessian).dense(), absmean(weight, GROUP), rtol=2e-3, atol=1e-6)
    else:
        rounding = output_error(inputs, weight, absmean(weight, GROUP))
        assert output_error(inputs, weight, solved(name, weight, hessian).dense()) < 0.9 * rounding


@pytest.mark.parametrize("name", SOLVERS)
def test_what_is_stored_multiplies_like_the_dense_weights(name):
    # Integer sums of the planes over the groups, then scales, offsets times the sum of x, and the 8-bit outliers.
    weight, inputs, hessian = problem()
    header, arrays = store_linear(solved(name, weight, hessian))
    solution = load_linear(header, arrays)
    q, s = quantize_tokens(inputs[:20].numpy())
    columns = q if solution.permutation is None else q[:, solution.permutation.numpy()]
    group = solution.group or solution.k
    planes = solution.trits.numpy()
    outliers = np.zeros((12, 72))
    if solution.outliers is not None:
        mask = solution.outliers.mask.numpy()
        outliers = solution.outliers.dense().numpy().astype(np.float64)
        if (offsets := solution.group_offsets()) is not None:
            per_column = offsets.numpy()[:, np.arange(72) // group]
            outliers = outliers - per_column * mask  # the offset below is added for every input
    total = columns.astype(np.float64) @ outliers.T
    for plane, scale in zip(planes, solution.plane_scales().numpy(), strict=True):
        total += (group_sums(columns, plane, group) * scale).sum(-1)
    if (offsets := solution.group_offsets()) is not None:
        sums = group_sums(columns, np.ones((1, 72), np.int8), group)
        total += (sums * offsets.numpy()).sum(-1)
    expected = (q.astype(np.float64) * s[:, None]) @ solution.dense().numpy().T.astype(np.float64)
    np.testing.assert_allclose(total * s[:, None], expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", SOLVERS)
def test_a_single_output_and_a_single_group_work(name):
    weight, _, hessian = problem(n=1, k=9)
    solution = solved(name, weight, hessian)
    assert (solution.n, solution.k) == (1, 9)
    assert torch.isfinite(solution.dense()).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_weights_that_are_not_finite_are_refused(name):
    weight, _, hessian = problem()
    weight[3, 5] = float("nan")
    with pytest.raises(InputError, match="must be"):
        solved(name, weight, hessian)
