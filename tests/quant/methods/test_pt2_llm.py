"""Claims: the fit and the grid alignment are closed-form optima that never lose, and reordering keeps every input."""

import pytest
import torch

from hw.errors import InputError
from quant.methods.pt2_llm import Options, align_grid, fit_ternary, most_similar, solve
from quant.weights.solution import StoredBits
from tests.quant.methods.problems import absmean, output_error, problem


def test_fit_is_a_fixed_point_of_regression_and_rounding():
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)) * 0.05 + 0.01
    levels, scale, offset = fit_ternary(weight)
    for n in range(6):
        design = torch.stack([levels[n], torch.ones(50)], 1)
        best = torch.linalg.lstsq(design, weight[n]).solution
        torch.testing.assert_close(torch.stack([scale[n], offset[n]]), best, rtol=1e-4, atol=1e-6)
        nearest = torch.tensor([-1.0, 0.0, 1.0])[
            (weight[n, :, None] - offset[n] - scale[n] * torch.tensor([-1.0, 0.0, 1.0])).abs().argmin(1)
        ]
        assert torch.equal(levels[n], nearest)


def test_fit_beats_twn_with_an_offset():
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(1)) ** 3 + 0.1
    levels, scale, offset = fit_ternary(weight)
    mean = weight.mean(1, keepdim=True)
    centred = weight - mean
    twn = torch.sign(centred) * (centred.abs() > 0.75 * centred.abs().mean(1, keepdim=True))
    alpha = (twn * centred).sum(1, keepdim=True) / twn.abs().sum(1, keepdim=True)
    error = (weight - scale[:, None] * levels - offset[:, None]).square().sum(1)
    assert (error <= (weight - alpha * twn - mean).square().sum(1) + 1e-6).all()


def test_alignment_solves_the_weighted_regression():
    weight, inputs, hessian = problem(n=6, k=30)
    levels, scale, offset = fit_ternary(weight)
    aligned = align_grid(weight, levels, scale, offset, hessian)
    for n in range(6):
        design = torch.stack([inputs @ levels[n], inputs.sum(1)], 1)
        best = torch.linalg.lstsq(design.double(), (inputs @ weight[n]).double()).solution.float()
        torch.testing.assert_close(torch.stack([aligned[0][n], aligned[1][n]]), best, rtol=1e-3, atol=1e-5)


def test_a_row_without_levels_keeps_its_parameters():
    constant = torch.full((1, 8), 0.3)
    levels, scale, offset = fit_ternary(constant)
    assert torch.equal(align_grid(constant, levels, scale, offset, torch.zeros(8, 8))[1], offset)
    torch.testing.assert_close(scale[:, None] * levels + offset[:, None], constant)


def test_most_similar_columns_by_hand():
    weight = torch.tensor([[1.0, 0.0, -1.0, 2.0], [1.0, 1.0, -1.0, 2.1]])
    assert most_similar(weight, 2).tolist() == [0, 3]


@pytest.mark.parametrize("feedback", ["block", "column"])
@pytest.mark.parametrize("reorder", [False, True])
def test_beats_rounding_with_groups_that_end_short(reorder, feedback):
    weight, inputs, hessian = problem(n=24)
    solution = solve(weight, hessian, Options(group=32, reorder=reorder, feedback=feedback))
    assert solution.groups == 3
    assert output_error(inputs, weight, solution.dense()) < 0.9 * output_error(inputs, weight, absmean(weight, 32))


def test_alignment_and_column_feedback_each_help():
    weight, inputs, hessian = problem(n=24)

    def error(**fields):
        return output_error(inputs, weight, solve(weight, hessian, Options(group=32, **fields)).dense())

    assert error(align=True) < error(align=False)
    assert error(feedback="column") < error(feedback="block")


def test_without_reordering_the_blocks_equal_a_naive_loop():
    weight, _, hessian = problem(n=4)
    h = hessian.double() + 0.01 * hessian.double().diagonal().mean() * torch.eye(72)
    upper = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    work, values = weight.double().clone(), torch.zeros(4, 72, dtype=torch.float64)
    for start in range(0, 72, 32):
        stop = min(start + 32, 72)
        block = work[:, start:stop].float()
        levels, scale, offset = fit_ternary(block)
        scale, offset = align_grid(block, levels, scale, offset, hessian[start:stop, start:stop])
        values[:, start:stop] = scale.half()[:, None].double() * levels + offset.half()[:, None].double()
        for j in range(start, stop):
            error = (work[:, j] - values[:, j]) / upper[j, j]
            work[:, stop:] -= error[:, None] * upper[j, stop:]
    ours = solve(weight, hessian, Options(group=32, reorder=False)).dense()
    torch.testing.assert_close(ours, values.float(), rtol=1e-3, atol=1e-5)


def test_bits_by_hand():
    weight, _, hessian = problem()
    solution = solve(weight, hessian, Options(group=32))
    # 12 rows of 72 trits = 15 bytes; 3 groups; 72 indices of 7 bits = 63 bytes.
    assert solution.bits() == StoredBits(12 * 15 * 8, 36 * 16, 36 * 16, 0, 63 * 8)
    assert sorted(solution.permutation.tolist()) == list(range(72))


def test_dead_inputs_and_bad_hessian():
    weight, inputs, hessian = problem(dead=tuple(range(30, 72)))
    solution = solve(weight, hessian, Options(group=16))
    assert output_error(inputs, weight, solution.dense()) < 1
    with pytest.raises(InputError, match="needs the Hessian"):
        solve(weight, None, Options())
