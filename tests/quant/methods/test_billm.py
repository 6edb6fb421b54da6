"""Claims: the binarization is the residual one, columns and split are the best of those tried, zones never overlap."""

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.methods.billm import Options, binarize, choose_split, choose_zones, solve
from quant.weights.solution import StoredBits
from tests.quant.methods.problems import absmean, output_error, problem


def naive_binarize(weight, mask, order):
    """Row by row with plain loops over the masked weights."""
    total = np.zeros_like(weight)
    for n in range(len(weight)):
        columns = [c for c in range(weight.shape[1]) if mask[n, c]]
        for _ in range(order):
            rest = [weight[n, c] - total[n, c] for c in columns]
            mean = sum(rest) / len(rest) if rest else 0.0
            scale = sum(abs(r - mean) for r in rest) / len(rest) if rest else 0.0
            for c, r in zip(columns, rest, strict=True):
                total[n, c] += mean + scale * (1 if r >= mean else -1)
    return total


def naive_zones(matrix, most_salient):
    """Salient columns and high zone by trying every candidate with the loops above."""
    ranking = np.argsort(-np.abs(matrix).sum(0))[:most_salient]
    best = (np.inf, None)
    for count in range(1, len(ranking)):
        mask = np.zeros(matrix.shape, bool)
        mask[:, ranking[:count]] = True
        total = naive_binarize(matrix, mask, 2) + naive_binarize(matrix, ~mask, 2)
        best = min(best, (((matrix - total) ** 2).mean(), count))
    salient = np.zeros(matrix.shape, bool)
    salient[:, ranking[: best[1]]] = True
    magnitude = np.abs(matrix * ~salient)
    best = (np.inf, None)
    for split in np.quantile(magnitude, np.linspace(0.1, 0.9, 81)):
        high = (magnitude >= split) & ~salient
        low = (magnitude < split) & ~salient
        total = naive_binarize(matrix, low, 1) + naive_binarize(matrix, high, 1)
        best = min(best, ((((matrix - total) * ~salient) ** 2).mean(), split))
    return salient[0], (magnitude >= best[1]) & ~salient


def test_residual_binarization_equals_loops():
    rng = np.random.default_rng(0)
    weight, mask = rng.normal(size=(6, 20)), rng.random((6, 20)) < 0.4
    mask[2] = False
    ours = binarize(torch.from_numpy(weight), torch.from_numpy(mask), 2).values(torch.from_numpy(mask))
    np.testing.assert_allclose(ours.numpy(), naive_binarize(weight, mask, 2), atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_columns_and_split_are_the_best_of_those_tried(seed):
    matrix = np.random.default_rng(seed).normal(size=(5, 24)) ** 3
    salient, high = choose_zones(torch.from_numpy(matrix), 8)
    expected_salient, expected_high = naive_zones(matrix, 8)
    np.testing.assert_array_equal(salient.numpy(), expected_salient)
    differs = high.numpy() != expected_high
    assert differs.sum() <= 1  # a quantile that falls on a weight may differ by rounding


def test_second_sign_reduces_the_error():
    weight = torch.randn(8, 40, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(weight, dtype=torch.bool)
    once, twice = ((weight - binarize(weight, mask, order).values(mask)).square().sum() for order in (1, 2))
    assert twice < once


def test_split_of_two_clear_clusters_lies_between_them():
    matrix = torch.cat([torch.full((4, 12), 0.1), torch.full((4, 8), 3.0)], 1)
    high = choose_split(matrix, torch.zeros(20, dtype=torch.bool))
    assert torch.equal(high, matrix > 1)


@pytest.mark.parametrize("search", ["saliency", "weight"])
@pytest.mark.parametrize("group", [36, 50])
def test_beats_ternary_rounding_with_blocks_that_end_short(search, group):
    weight, inputs, hessian = problem(n=24)
    solution = solve(weight, hessian, Options(group=group, most_salient=8, search=search))
    assert solution.groups == 2
    assert output_error(inputs, weight, solution.dense()) < output_error(inputs, weight, absmean(weight, group))


def test_bits_by_hand():
    weight, _, hessian = problem()
    solution = solve(weight, hessian, Options(group=36, most_salient=8))
    # 12 rows x 9 bytes of signs; as many of zones, and 72 column bits; 6 scales and an offset for each of 24 groups.
    assert solution.bits() == StoredBits(12 * 72, 6 * 24 * 16, 24 * 16, 12 * 72 + 72, 0)


def test_the_dense_weights_follow_the_zones_own_parameters():
    weight, _, _ = problem()
    identity = torch.eye(72)  # no error moves: each block is fitted to the weights themselves
    solution = solve(weight, identity, Options(group=72, most_salient=8))
    low, _, first, _, high, salient = solution.trits
    masks = {1: [low != 0, high != 0], 2: [first != 0]}
    assert salient[0].sum() > 0
    assert torch.equal((low != 0) | (high != 0), first == 0)
    expected = sum(
        naive_binarize(weight.double().numpy(), mask.numpy(), order) for order, zone in masks.items() for mask in zone
    )
    np.testing.assert_allclose(solution.dense().numpy(), expected, atol=2e-4)


def test_dead_inputs_and_bad_hessian():
    weight, inputs, hessian = problem(dead=(0, 71))
    solution = solve(weight, hessian, Options(group=36, most_salient=8))
    assert output_error(inputs, weight, solution.dense()) < 1
    with pytest.raises(InputError, match="Hessian must be finite"):
        solve(weight, hessian * float("inf"), Options())
