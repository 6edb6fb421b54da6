"""Claims: SliM-LLM trades as many bits as it takes, judges by divergence, fits ranges, and is GPTQ where none trade."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.methods import gptq
from quant.methods.hessian import damp
from quant.methods.mixed.allocation import block_salience, exchanged, exchanges, output_divergence
from quant.methods.mixed.codes import min_max, nearest_codes, sign_grid, values_of
from quant.methods.mixed.salient_range import fit_range, salient_places
from quant.methods.mixed.slim_llm import Options, solve
from quant.registry import options_for
from tests.quant.methods.problems import output_error, problem


def naive_rounding(block, bits):
    """Min-max codes, or mean plus and minus mean magnitude, row by row in plain Python."""
    rows = []
    for row in block.tolist():
        if bits == 1:
            mean, scale = sum(row) / len(row), sum(map(abs, row)) / len(row)
            rows.append([mean + (scale if w >= mean else -scale) for w in row])
            continue
        low, high = min(0.0, *row), max(0.0, *row)
        step = (high - low) / (2**bits - 1)
        zero = round(-low / step)
        rows.append([step * (min(max(round(w / step) + zero, 0), 2**bits - 1) - zero) for w in row])
    return np.array(rows)


def naive_divergence(outputs, wanted):
    total = 0.0
    for found, true in zip(outputs, wanted, strict=True):
        p, q = (np.maximum(np.exp(v - v.max()) / np.exp(v - v.max()).sum(), 1e-6) for v in (found, true))
        total += float((p * (np.log(p) - np.log(q))).sum())
    return total / len(outputs)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_rounding_without_feedback_is_the_naive_one(bits):
    block, _, _ = problem(n=7, k=20)
    grid = sign_grid(block) if bits == 1 else min_max(block, bits)
    found = values_of(nearest_codes(block, grid), grid)
    np.testing.assert_allclose(found, naive_rounding(block, bits), atol=2e-3 * block.abs().max().item())
    assert len(np.unique(found[0])) <= 2**bits


def test_a_row_of_zeros_stays_zero():
    grid = min_max(torch.zeros(2, 5), 2)
    assert grid.scale.tolist() == [as_float16(2 / 3)] * 2
    assert values_of(nearest_codes(torch.zeros(2, 5), grid), grid).abs().max() == 0


def as_float16(value):
    return float(np.float16(value))


def test_salience_of_a_block_by_hand():
    weight = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    upper = torch.tensor([[1.0, 9, 9], [0, 2, 9], [0, 0, 0.5]])
    assert block_salience(weight, upper, 2).tolist() == [1 + 16 + (4 + 25) / 4, 4 * (9 + 36)]


def test_the_least_salient_blocks_lose_what_the_most_salient_gain():
    salience = torch.tensor([5.0, 1, 9, 3, 7])
    assert exchanged(salience, 2, 0) == [2] * 5
    assert exchanged(salience, 2, 1) == [2, 1, 3, 2, 2]
    assert exchanged(salience, 3, 2) == [3, 2, 4, 2, 4]


def test_divergence_is_the_naive_one():
    generator = torch.Generator().manual_seed(3)
    outputs, wanted = 6 * torch.randn(2, 4, 9, generator=generator)
    expected = naive_divergence(outputs.numpy(), wanted.numpy())
    assert output_divergence(outputs, wanted).item() == pytest.approx(expected, rel=1e-4)
    assert output_divergence(wanted, outputs).item() != pytest.approx(expected, rel=1e-2)
    assert output_divergence(wanted, wanted) == 0


@pytest.mark.parametrize("bits", [2, 3])
def test_the_search_takes_the_candidate_of_least_divergence(bits):
    """Nine blocks of eight columns: one to three pairs trade, each candidate made anew from the whole matrix."""
    taken = set()
    for seed in range(6):
        weight, inputs, hessian = problem(n=10, k=72, tokens=60, seed=seed)
        weight = weight * torch.linspace(1, 1 + 3 * seed, 9).repeat_interleave(8)  # blocks of very different salience
        salience = block_salience(weight, damp(hessian, 72, 0.01).upper, 8)
        scores = []
        for pairs in (1, 2, 3):
            widths = exchanged(salience, bits, pairs)
            parts = [naive_rounding(weight[:, 8 * i : 8 * i + 8], width) for i, width in enumerate(widths)]
            outputs = inputs.numpy() @ np.concatenate(parts, 1).T
            scores.append(naive_divergence(outputs, (inputs @ weight.T).numpy()))
        found = exchanges(weight, salience, inputs, hessian, bits, 8)
        assert scores[found - 1] == pytest.approx(min(scores), rel=2e-2)  # scales are rounded to float16 here
        taken.add(found)
    assert len(taken) > 1


def test_without_inputs_the_search_takes_the_candidate_of_least_output_error():
    weight, inputs, hessian = problem(n=10, k=72, seed=4)
    salience = block_salience(weight, damp(hessian, 72, 0.01).upper, 8)
    errors = []
    for pairs in (1, 2, 3):
        parts = [
            naive_rounding(weight[:, 8 * i : 8 * i + 8], width) for i, width in enumerate(exchanged(salience, 2, pairs))
        ]
        errors.append(output_error(inputs, weight, torch.from_numpy(np.concatenate(parts, 1)).float()))
    assert exchanges(weight, salience, None, hessian, 2, 8) == 1 + int(np.argmin(errors))


@pytest.mark.parametrize(("blocks", "traded"), [(1, 0), (2, 0), (3, 0), (4, 1)])
def test_less_than_four_blocks_trade_nothing(blocks, traded):
    weight, inputs, hessian = problem(k=8 * blocks)
    assert exchanges(weight, torch.arange(blocks), inputs, hessian, 2, 8) == traded


@pytest.mark.parametrize("bits", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_mean_bits_are_those_asked_for(bits, seed):
    weight, inputs, hessian = problem(k=64, seed=seed)
    solution = solve(weight, hessian, Options(bits=bits, group=8), inputs)
    assert sum(solution.widths) == 8 * bits
    assert {bits - 1, bits + 1} <= set(solution.widths)


def test_where_nothing_trades_and_ranges_stay_it_is_plain_gptq():
    weight, inputs, hessian = problem()
    ours = solve(weight, hessian, Options(group=32, ranges="min-max"), inputs)
    plain = gptq.solve(weight, hessian, options_for("gptq-2bit", {"group": 32, "clip": "min-max"}))
    assert ours.widths == (2, 2, 2)
    torch.testing.assert_close(ours.dense(), plain.dense(), rtol=1e-5, atol=1e-7)


def test_a_range_is_the_best_of_101_for_each_row():
    block, _, _ = problem(n=6, k=24, seed=8)
    sensitivity = block.square() * torch.linspace(0.5, 3, 24)
    salient = salient_places(sensitivity)
    for balance in (1.0, 5.0):
        grid = fit_range(block, sensitivity, 2, balance)
        for row in range(6):
            low, high = min(0.0, block[row].min().item()), max(0.0, block[row].max().item())
            zero = round(-low / ((high - low) / 3))
            errors = []
            for way in [1.0, *(1 + 0.002 * i for i in range(-50, 51) if i)]:
                step = float(np.float16(way * (high - low) / 3))
                codes = np.clip(np.rint(block[row].numpy() / step) + zero, 0, 3)
                error = np.abs(step * (codes - zero) - block[row].numpy()) ** 2.4
                errors.append((float((error * np.where(salient[row], balance, 1.0)).sum()), step))
            best = min(errors)[0]
            chosen = next(error for error, step in errors if step == grid.scale[row].item())
            assert chosen == pytest.approx(best, rel=1e-4)


def test_more_weight_on_salient_weights_never_raises_their_error():
    block, _, _ = problem(n=16, k=64, seed=2)
    sensitivity = block.square()
    salient = salient_places(sensitivity)
    assert 0 < salient.sum() < salient.numel() // 4
    errors = []
    for balance in (0.0, 1.0, 4.0, 50.0):
        grid = fit_range(block, sensitivity, 2, balance)
        difference = values_of(nearest_codes(block, grid), grid) - block
        errors.append((difference.abs().pow(2.4) * salient).sum(1))
    for less, more in pairwise(errors):
        assert (more <= less * (1 + 1e-4) + 1e-12).all()
    assert (errors[-1] < 0.99 * errors[0]).any()


def test_salient_places_by_hand():
    values = torch.tensor([[1.0] * 9 + [1.1], [1.0] * 9 + [50.0]])
    assert salient_places(values).nonzero().tolist() == [[1, 9]]
    assert not salient_places(torch.ones(2, 3)).any()


def test_true_bits_by_hand():
    """12 rows of 64 columns: 16 bytes of codes, 8 scales, 1-bit blocks with an offset, others with a zero point."""
    weight, inputs, hessian = problem(k=64)
    solution = solve(weight, hessian, Options(group=8), inputs)
    ones = solution.widths.count(1)
    zero_bits = sum(width for width in solution.widths if width > 1)
    bits = solution.bits()
    assert (bits.code, bits.scale, bits.mask) == (12 * 128, 12 * 8 * 16, 16)
    assert bits.offset == 12 * 16 * ones + 8 * -(-12 * zero_bits // 8)
    assert bits.total == bits.code + bits.scale + bits.offset + bits.mask


def test_fitted_ranges_and_traded_bits_lower_the_output_error():
    weight, inputs, hessian = problem(n=32, k=128, tokens=600, seed=5)
    weight = weight * torch.tensor([0.2, 1, 1, 4]).repeat_interleave(32)
    fitted, plain = (
        output_error(inputs, weight, solve(weight, hessian, Options(group=16, ranges=ranges), inputs).dense())
        for ranges in ("fitted", "min-max")
    )
    uniform = gptq.solve(weight, hessian, options_for("gptq-2bit", {"group": 16, "clip": "min-max"})).dense()
    assert fitted < plain < output_error(inputs, weight, uniform)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bits": 1}, "field 'bits' should be greater than or equal to 2, not 1"),
        ({"bits": 4}, "field 'bits' should be less than or equal to 3, not 4"),
        ({"group": 0}, "field 'group' should be greater than or equal to 1, not 0"),
        ({"ranges": "wide"}, "field 'ranges' should be 'fitted' or 'min-max', not 'wide'"),
        ({"epochs": 3}, r"option 'epochs' must be one of .*; 'epochs' is an option of .*slim-llm\+"),
    ],
)
def test_options_that_cannot_be_are_one_line(given, message):
    with pytest.raises(InputError, match=message):
        options_for("slim-llm", given)
