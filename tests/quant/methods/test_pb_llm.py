"""Claims: the binary and 8-bit parts follow a naive reading; more salient weights cost bits and buy accuracy."""

import pytest
import torch

from hw.errors import InputError
from quant.methods.pb_llm import EightBit, Options, salient_weights, solve
from quant.weights.solution import StoredBits
from tests.quant.methods.problems import absmean, output_error, problem


def naive(weight, hessian, fraction):
    """Row by row in float64 with an explicit inverse that is downdated after every column."""
    w, h = weight.double().clone(), hessian.double().clone()
    h += 0.01 * h.diagonal().mean() * torch.eye(len(h))
    inverse = torch.linalg.inv(h)
    upper = torch.linalg.cholesky(inverse, upper=True)
    saliency = (w / upper.diagonal()) ** 2
    kept = saliency > saliency.flatten().sort().values[int(w.numel() * (1 - fraction))]
    parameters = []
    for n in range(len(w)):
        low = [0.0 if kept[n, j] else w[n, j].item() for j in range(w.shape[1])]
        mean = sum(low) / len(low)
        scale = sum(abs(x - mean) for x in low) / len(low)
        eight = (max(w[n].tolist()) - min(w[n].tolist())) / 255
        stored = torch.tensor([mean, scale, eight]).half().tolist()
        parameters.append((*stored, round(-min(w[n].tolist()) / eight)))
    values = torch.zeros_like(w)
    for j in range(w.shape[1]):
        for n, (mean, scale, eight, zero) in enumerate(parameters):
            x = w[n, j].item()
            if kept[n, j]:
                values[n, j] = eight * (min(max(round(x / eight) + zero, 0), 255) - zero)
            else:
                values[n, j] = mean + scale * (1 if x >= mean else -1)
        step = (w[:, j] - values[:, j]) / inverse[j, j]
        w -= step[:, None] * inverse[j]
        inverse -= inverse[:, j, None] * inverse[j] / inverse[j, j]
    return values.float()


def test_equals_the_naive_reading():
    weight, _, hessian = problem()
    torch.testing.assert_close(
        solve(weight, hessian, Options()).dense(), naive(weight, hessian, 0.1), rtol=1e-3, atol=1e-6
    )


def test_a_tenth_of_the_weights_keeps_eight_bits():
    weight, _, hessian = problem()
    solution = solve(weight, hessian, Options(salient_fraction=0.1))
    count = int(solution.outliers.mask.sum())
    assert count == 12 * 72 - (int(12 * 72 * 0.9) + 1)
    # 12 rows: signs of the others, 8 bits each; offset, scale, 8-bit scale and zero per row; a bitmap of 9 bytes a row.
    signs = -(-(12 * 72 - count) // 8) * 8
    assert solution.bits() == StoredBits(signs + 8 * count, 12 * 16 + 12 * 16, 12 * 16 + 12 * 8, 12 * 72, 0)


@pytest.mark.parametrize("metric", ["hessian", "magnitude"])
def test_more_salient_weights_buy_accuracy(metric):
    weight, inputs, hessian = problem()
    solutions = [solve(weight, hessian, Options(salient_fraction=f, metric=metric)) for f in (0, 0.1, 0.5)]
    errors = [output_error(inputs, weight, s.dense()) for s in solutions]
    assert errors[2] < errors[1] < errors[0]
    assert solutions[0].bits().total < solutions[1].bits().total < solutions[2].bits().total


def test_averaging_over_the_binary_weights_is_closer_to_the_weights():
    # Without error feedback, that is: with it, the smaller scale of the official average wins on these problems.
    weight, _, _ = problem(n=40)
    errors = [
        (weight - solve(weight, torch.eye(72), Options(scale_over=over, salient_fraction=0.2)).dense()).norm()
        for over in ("all", "binary")
    ]
    assert errors[1] < errors[0] < (weight - absmean(weight, 72)).norm()


def test_groups_that_end_short_and_dead_inputs():
    weight, inputs, hessian = problem(dead=(3, 71))
    solution = solve(weight, hessian, Options(group=50))
    assert solution.groups == 2
    assert output_error(inputs, weight, solution.dense()) < output_error(inputs, weight, absmean(weight, 50))


def test_eight_bit_rounds_to_half_a_step():
    weight = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    quantizer = EightBit(weight)
    for j in range(30):
        error = quantizer.values(quantizer.codes(weight[:, j])) - weight[:, j]
        assert (error.abs() <= 0.51 * quantizer.scale + 1e-3 * weight[:, j].abs()).all()


def test_no_fraction_marks_nothing():
    assert not salient_weights(torch.rand(5, 5), 0.0).any()


def test_nan_hessian_is_refused():
    weight, _, hessian = problem()
    with pytest.raises(InputError, match="Hessian must be finite"):
        solve(weight, hessian * float("nan"), Options())
