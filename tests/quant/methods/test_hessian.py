"""Claims: U factors the damped inverse; errors pushed by column are optimal corrections; bad input is named."""

import pytest
import torch

from hw.errors import InputError
from quant.methods.hessian import compensate, damp, output_error, prepare, push_error, spans
from tests.quant.methods.problems import problem


def test_upper_factors_the_damped_inverse_and_dead_inputs_stand_alone():
    _, _, hessian = problem(dead=(5, 9))
    damped = damp(hessian, 72, 0.01)
    expected = hessian.clone()
    expected[5, 5] = expected[9, 9] = 1
    expected += 0.01 * expected.diagonal().mean() * torch.eye(72)
    torch.testing.assert_close(damped.matrix, expected)
    torch.testing.assert_close(damped.upper.T @ damped.upper @ expected, torch.eye(72), atol=1e-3, rtol=0)
    assert damped.dead.nonzero().flatten().tolist() == [5, 9]
    assert damped.upper[5, 6:].abs().max() == 0
    assert torch.equal(damped.upper, damped.upper.triu())


def test_the_callers_hessian_is_left_alone():
    _, _, hessian = problem(dead=(5,))
    before = hessian.clone()
    damp(hessian, 72, 0.01)
    assert torch.equal(hessian, before)


def test_output_error_is_that_of_the_inputs():
    weight, inputs, hessian = problem()
    torch.testing.assert_close(output_error(weight, hessian), (inputs @ weight.T).square().sum(0), rtol=1e-4, atol=1e-3)


def test_spans_end_short():
    assert list(spans(4, 11, 3)) == [(4, 7), (7, 10), (10, 11)]


def test_after_one_column_the_rest_is_the_least_squares_answer():
    # With the first column fixed at 0, the best other columns solve a least-squares problem: an independent check of
    # the update that error feedback makes.
    weight, _, hessian = problem(n=3, k=20)
    damped = damp(hessian, 20, 0.01)
    work = weight.clone()
    compensate(work, damped.upper, 0, 1, lambda j, column: torch.zeros_like(column))
    h = damped.matrix.double()
    rest = weight[:, 1:].double() + (weight[:, :1].double() @ h[:1, 1:]) @ torch.linalg.inv(h[1:, 1:])
    torch.testing.assert_close(work[:, 1:].double(), rest, rtol=1e-3, atol=1e-5)


def test_lazy_blocks_equal_one_column_at_a_time():
    weight, _, hessian = problem(n=4, k=300, tokens=900)
    damped = damp(hessian, 300, 0.01)

    def quantize(j, column):
        return torch.round(column * 20) / 20

    slow = weight.clone()
    for j in range(300):
        value = quantize(j, slow[:, j])
        error = (slow[:, j] - value) / damped.upper[j, j]
        slow[:, j + 1 :] -= error[:, None] * damped.upper[j, j + 1 :]
        slow[:, j] = value
    fast = weight.clone()
    compensate(fast, damped.upper, 0, 300, quantize)
    differs = (fast - slow).abs() > 1e-4  # a rounding tie may fall either way
    assert differs.float().mean() < 0.01


def test_pushing_a_block_moves_only_later_columns():
    weight, _, hessian = problem()
    damped = damp(hessian, 72, 0.01)
    work = weight.clone()
    push_error(work, damped.upper, 10, 12, torch.zeros(12, 2))
    assert torch.equal(work[:, :10], weight[:, :10])
    assert (work[:, 10:12] == 0).all()
    error = weight[:, 10:12] / damped.upper.diagonal()[10:12]
    torch.testing.assert_close(work[:, 12:], weight[:, 12:] - error @ damped.upper[10:12, 12:])


def test_prepare_zeroes_dead_inputs():
    weight, _, hessian = problem(dead=(7,))
    work, _ = prepare(weight, hessian, 0.01)
    assert (work[:, 7] == 0).all()
    assert torch.equal(work[:, :7], weight[:, :7])


def test_bad_input_is_named():
    weight, _, hessian = problem()
    broken = hessian.clone()
    broken[3, 4] = broken[4, 3] = float("nan")
    with pytest.raises(InputError, match="must be finite, but 2 of 72 inputs have NaN"):
        damp(broken, 72, 0.01)
    with pytest.raises(InputError, match="needs the Hessian"):
        damp(None, 72, 0.01)
    with pytest.raises(InputError, match="must be 71 x 71, one row per input, not"):
        damp(hessian, 71, 0.01)
    with pytest.raises(InputError, match=r"must be positive definite, but is not with damping 0\.01"):
        damp(-hessian, 72, 0.01)
    weight[2, 2] = float("inf")
    with pytest.raises(InputError, match="weights must be finite, but 1 of 864 are not"):
        prepare(weight, hessian, 0.01)
