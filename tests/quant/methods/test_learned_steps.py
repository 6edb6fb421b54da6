"""Iterated fits and learned weights step by step in float64: Lloyd's turns, ridge scales, Adam by its formulas."""

import math

import numpy as np
import pytest
import torch

from quant.methods import billm, omniquant, pb_llm_qat
from quant.methods.digits import fit_digits
from quant.methods.hessian import damp
from quant.methods.ptqtp import fit_free, fit_tied
from tests.quant.methods.problems import problem
from tests.quant.methods.test_billm import naive_binarize, naive_zones


def half(value: float) -> float:
    return torch.tensor(value, dtype=torch.float64).half().item()


def lloyd(row, limit, starts, iterations):
    """The step, of each start after its turns of rounding and least squares, that errs least once it is float16."""
    largest, best = max(map(abs, row)), (math.inf, 0.0)

    def codes(step):
        return [min(max(round(w / step), -limit), limit) if step > 0 else 0 for w in row]

    for start in starts:
        step = start * largest / limit
        for _ in range(iterations):
            found = codes(step)
            step = sum(w * c for w, c in zip(row, found, strict=True)) / max(1, sum(c * c for c in found))
        step = half(step)
        error = sum((w - step * c) ** 2 for w, c in zip(row, codes(step), strict=True))
        if error < best[0] * (1 - 1e-7):
            best = (error, step)
    return best[1]


@pytest.mark.parametrize("iterations", [1, 2, 10])
@pytest.mark.parametrize("digits", [1, 2, 3])
def test_steps_of_digits_equal_their_turns(digits, iterations):
    weight = torch.randn(12, 40, generator=torch.Generator().manual_seed(5))
    limit = (3**digits - 1) // 2
    expected = [lloyd(row, limit, (0.4, 0.55, 0.7, 0.85, 1.0), iterations) for row in weight.tolist()]
    codes, found = fit_digits(weight, digits, iterations)
    assert found.tolist() == pytest.approx(expected, rel=1e-3)
    assert codes.abs().max() <= limit


@pytest.mark.parametrize("iterations", [1, 2, 50])
def test_steps_of_tied_planes_equal_their_turns(iterations):
    weight = torch.randn(12, 40, generator=torch.Generator().manual_seed(6))
    expected = [lloyd(row, 4, (0.5, 0.65, 0.8, 0.95), iterations) for row in weight.tolist()]
    planes, found = fit_tied(weight, iterations)
    assert found[0].tolist() == pytest.approx(expected, rel=1e-3)
    codes = 3 * planes[0] + planes[1]
    assert torch.equal(codes, torch.round(weight / found[0][:, None]).clamp(-4, 4))
    assert planes.abs().max() == 1


def test_free_planes_end_where_scales_and_codes_agree():
    """The last scales are least squares of the last codes but one, which ended the turns: they are of the last too."""
    weight = torch.randn(10, 60, generator=torch.Generator().manual_seed(7))
    planes, scales = fit_free(weight, 50)
    assert (scales[0] >= scales[1]).all()
    assert (scales[1] > 0).all()
    for row in range(10):
        features = planes[:, row].T.double()
        exact = torch.linalg.lstsq(features, weight[row, :, None].double()).solution[:, 0]
        assert scales[:, row].tolist() == pytest.approx(exact.tolist(), rel=2e-3)
        levels = [a * scales[0, row] + b * scales[1, row] for a in (-1, 0, 1) for b in (-1, 0, 1)]
        value = scales[:, row] @ planes[:, row]
        nearest = torch.stack(levels)[:, None].sub(weight[row]).abs().amin(0)
        assert torch.allclose((value - weight[row]).abs(), nearest, atol=1e-6)


# Adam, by Kingma and Ba's formulas with their defaults


class Adam:
    def __init__(self, shape):
        self.first, self.second, self.count = torch.zeros(shape).double(), torch.zeros(shape).double(), 0

    def step(self, gradient, rate):
        self.count += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient.square()
        mean = self.first / (1 - 0.9**self.count)
        return rate * mean / ((self.second / (1 - 0.999**self.count)).sqrt() + 1e-8)


@pytest.mark.parametrize("scale", ["tensor", "row"])
@pytest.mark.parametrize("steps", [1, 8])
def test_signs_are_trained_by_adam_with_a_cosine_rate_and_the_best_state_is_kept(scale, steps):
    weight, _, hessian = problem(6, 24, seed=14)
    options = pb_llm_qat.Options(steps=steps, scale=scale, learning_rate=0.05)
    found = pb_llm_qat.solve(weight, hessian, options)
    salient, frozen = found.outliers.mask, found.outliers.dense().double()
    matrix, work = damp(hessian, 24, 0.01).matrix.double(), weight.double()
    upper = damp(hessian, 24, 0.01).upper.diagonal()
    saliency = (weight / upper).square()
    threshold = saliency.flatten().sort().values[int(144 * 0.9)]
    assert torch.equal(salient, saliency > threshold)

    def optimal(latent):
        kept = [[abs(w) for w, out in zip(*row, strict=True) if not out] for row in zip(latent, salient, strict=True)]
        if scale == "row":
            return torch.stack([sum(row) / len(row) for row in kept])[:, None]
        return (sum(map(sum, kept)) / sum(map(len, kept))).expand(6, 1)

    latent, adam, best = work.clone(), Adam((6, 24)), (math.inf, None, None)
    rate, energy = 0.05 * optimal(work).mean().item(), ((work @ matrix) * work).sum()
    for step in range(steps + 1):
        scales = optimal(latent).half().double()
        signs = torch.where(latent >= 0, 1.0, -1.0).double()
        difference = torch.where(salient, frozen, scales * signs) - work
        error = ((difference @ matrix) * difference).sum().item()
        if error < best[0]:
            best = (error, signs, scales)
        now = rate * (1 + math.cos(math.pi * step / steps)) / 2
        gradient = torch.where(salient, 0.0, (difference @ matrix) * scales * 2 / energy)
        latent = latent - adam.step(gradient, now)
    assert found.scales[0, :, 0].tolist() == pytest.approx(best[2][:, 0].tolist(), rel=1e-3)
    assert (found.trits[0] == torch.where(salient, 0.0, best[1])).float().mean() > 0.99
    at_start = pb_llm_qat.solve(weight, hessian, options.model_copy(update={"steps": 0}))
    assert (at_start.trits != found.trits).sum() >= (3 if steps == 8 else 0)  # something was learned


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_clipping_is_learned_by_adam_and_each_row_keeps_its_best(steps):
    """Both ends of a group times a sigmoid from 4 on; gradients by the formulas of straight-through rounding."""
    weight, _, hessian = problem(5, 12, seed=15)
    found = omniquant.solve(weight, hessian, omniquant.Options(group=8, steps=steps, learning_rate=0.5))
    matrix, work = damp(hessian, 12, 0.01).matrix.double(), weight.double()
    energy = ((work @ matrix) * work).sum()
    spans = [slice(0, 8), slice(8, 12)]
    low = torch.stack([work[:, s].amin(1).clamp_max(0) for s in spans], 1)
    high = torch.stack([work[:, s].amax(1).clamp_min(0) for s in spans], 1)
    logits, adam = torch.full((2, 5, 2), 4.0).double(), Adam((2, 5, 2))
    best_error, best = [math.inf] * 5, [None] * 5
    for step in range(steps + 1):
        share = 1 / (1 + torch.exp(-logits))
        exact = (share[0] * high - share[1] * low) / 3
        scale, zero = exact.half().double(), torch.round(-share[1] * low / exact).clamp(0, 3)
        value, slope = torch.zeros_like(work), torch.zeros_like(work)  # slope: derivative by the scale
        for g, span in enumerate(spans):
            ratio = work[:, span] / scale[:, [g]]
            codes = (ratio.round() + zero[:, [g]]).clamp(0, 3) - zero[:, [g]]
            value[:, span] = scale[:, [g]] * codes
            inside = codes == ratio.round()
            slope[:, span] = torch.where(inside, ratio.round() - ratio, codes)
        difference = value - work
        pull = difference @ matrix
        for row, error in enumerate((pull * difference).sum(1).tolist()):
            if error < best_error[row] * (1 - 1e-7):
                best_error[row], best[row] = error, (scale[row], zero[row])
        by_scale = torch.stack([(2 / energy * pull * slope)[:, span].sum(1) for span in spans], 1)
        turn = share * (1 - share)
        gradient = torch.stack([by_scale * high / 3 * turn[0], -by_scale * low / 3 * turn[1]])
        if step < steps:
            logits = logits - adam.step(gradient, 0.5)
    scales, zeros = (torch.stack([pair[i] for pair in best]) for i in (0, 1))
    assert found.scales[0].flatten().tolist() == pytest.approx(scales.flatten().tolist(), rel=2e-3)
    assert found.zeros.tolist() == zeros.tolist()


@pytest.mark.parametrize("search", ["saliency", "weight"])
def test_billm_is_zones_of_each_block_on_what_the_blocks_before_leave(search):
    weight, _, hessian = problem(5, 40, seed=16)
    found = billm.solve(weight, hessian, billm.Options(group=16, most_salient=6, search=search))
    upper, work = damp(hessian, 40, 0.01).upper.double(), weight.double().clone()
    expected = np.zeros((5, 40))
    for start in range(0, 40, 16):
        stop = min(start + 16, 40)
        block = work[:, start:stop].numpy()
        diagonal = upper.diagonal()[start:stop].numpy()
        salient, high = naive_zones(block**2 / diagonal**2 if search == "saliency" else block, 6)
        columns = np.broadcast_to(salient, block.shape)
        value = sum(
            naive_binarize(block, mask, order) for mask, order in ((columns, 2), (high, 1), (~high & ~columns, 1))
        )
        expected[:, start:stop] = value
        error = (work[:, start:stop] - torch.from_numpy(value)) / upper.diagonal()[start:stop]
        work[:, stop:] -= error @ upper[start:stop, stop:]
    close = np.isclose(found.dense().numpy(), expected, atol=1e-3)
    assert close.mean() > 0.97  # a quantile that falls on a weight may differ by rounding
