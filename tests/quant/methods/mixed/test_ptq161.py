"""Claims: PTQ1.61 starts at the formula of its code, learns its scales alone, and folds input factors exactly."""

import math

import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import block_norms, blocks, embed
from quant.methods.mixed.ptq161 import Options, kept_channels, learned_weight
from quant.procedures import blockwise
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.input_factors import first_factors
from quant.procedures.latent import block_function, block_tensors, rotary_tables
from quant.registry import options_for
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint
from tests.quant.methods.problems import problem
from tests.quant.tiny import TEXT, work_on


def naive_start(weight, kept):
    """Row by row in plain Python: 4-bit codes over the whole row's range at kept columns, two values elsewhere."""
    rows = []
    for row in weight.tolist():
        low, high = min(0.0, *row), max(0.0, *row)
        step = (high - low) / 15
        zero = round(-low / step)
        others = [w for w, keep in zip(row, kept, strict=True) if not keep and w != 0]
        mu, alpha = sum(others) / len(others), sum(map(abs, others)) / len(others)
        rows.append(
            [
                step * (min(max(round(w / step) + zero, 0), 15) - zero) if keep else mu + (alpha if w >= mu else -alpha)
                for w, keep in zip(row, kept, strict=True)
            ]
        )
    return torch.tensor(rows)


def start(n=12, k=70, seed=0, **given):
    weight, inputs, _ = problem(n, k, seed=seed)
    weight[:, 5] = 0.0  # weights of zero count in no mean
    return weight, learned_weight(weight, None, Options(**given), inputs.abs().amax(0))


@pytest.mark.parametrize("seed", range(3))
def test_it_starts_at_two_values_per_row_beside_4_bit_channels(seed):
    weight, first = start(seed=seed)
    expected = naive_start(weight, first.kept.tolist())
    near = {"rtol": 2e-3, "atol": 1e-3 * weight.abs().max().item()}
    torch.testing.assert_close(first.dense(), expected, **near)
    torch.testing.assert_close(first.solution().dense(), expected, **near)
    assert set(first.solution().widths) == {1, 4}


@pytest.mark.parametrize(("k", "share", "count"), [(100, 0.2, 21), (72, 0.2, 15), (5, 0.1, 1), (64, 0.4, 26)])
def test_a_fifth_of_the_channels_and_one_are_kept_those_of_the_largest_peaks(k, share, count):
    peaks = torch.randperm(k, generator=torch.Generator().manual_seed(k)).float()
    kept = kept_channels(peaks, share)
    assert kept.sum() == count
    assert peaks[kept].min() > peaks[~kept].max()


def test_equal_peaks_are_kept_together_and_too_many_are_refused():
    assert (
        kept_channels(torch.tensor([5.0, 1, 5, 2, 5, 1, 1, 1, 1, 1]), 0.2).tolist()
        == [True, False] * 2 + [True] + [False] * 5
    )
    weight, _, _ = problem()
    with pytest.raises(InputError, match="option 'kept': at most half of the 72 input channels must be at 4 bits"):
        learned_weight(weight, None, Options(), torch.zeros(72))


def test_only_scales_learn_and_no_gradient_reaches_the_mean_or_the_signs():
    _, first = start()
    learned = [tensor for tensor, _ in first.learned(5e-4)]
    assert [rate for _, rate in first.learned(5e-4)] == [5e-4, 1e-3]
    for tensor in learned:
        tensor.requires_grad_(True)
    first.dense().square().sum().backward()
    assert all(tensor.grad.abs().min() > 0 for tensor in learned)
    assert all(tensor is first.alpha or tensor is first.r1 for tensor in learned)
    assert all(first._asdict()[name].grad is None for name in ("mean", "signs", "codes", "step"))


def test_scales_of_any_sign_are_stored_as_they_stand():
    _, first = start()
    generator = torch.Generator().manual_seed(1)
    moved = first._replace(alpha=torch.randn(12, generator=generator), r1=torch.randn(12, generator=generator))
    moved = moved.scaled_rows(torch.randn(12, generator=generator))
    assert (moved.step < 0).any()
    assert (moved.r1 * moved.alpha < 0).any()
    torch.testing.assert_close(moved.solution().dense(), moved.dense(), rtol=2e-3, atol=5e-3)


def test_true_bits_by_hand():
    """12 rows: 55 signs and 15 codes of 4 bits are 115 bits in 15 bytes; scales, one mean, one zero point; 70 marks."""
    bits = start()[1].solution().bits()
    assert (bits.code, bits.scale, bits.offset) == (12 * 120, 12 * 2 * 16, 12 * 16 + 12 * 4)
    assert (bits.mask, bits.permutation) == (8, 72)


def test_folded_factors_are_those_of_the_inputs(tiny):
    """A block whose linears' columns are multiplied by hand, and one whose norms, v and up took the factors up."""
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 4, "words")
    hidden, tables = embed(tiny.model, windows), rotary_tables(tiny.model, 32)
    plain, config = block_tensors(blocks(tiny.model)[0]), tiny.model.config
    generator = torch.Generator().manual_seed(2)
    weights = tuple(
        learned_weight(weight, None, Options(), torch.rand(weight.shape[1], generator=generator))
        for weight in plain.weights
    )
    shared = [
        weights[LINEAR_KINDS.index(first)].kept
        for first in ("q_proj", "q_proj", "q_proj", "o_proj", "gate_proj", "gate_proj", "down_proj")
    ]
    peaks = [kept.float() + 0.1 for kept in shared]
    weights = tuple(
        learned_weight(weight, None, Options(), peak) for weight, peak in zip(plain.weights, peaks, strict=True)
    )
    tensors = plain._replace(weights=weights)
    factors = first_factors(tensors, config.head_dim)
    assert [len(one) for one in factors.factors] == [24, 12, 24, 40]
    with torch.no_grad():
        for factor in factors.factors:
            factor.copy_(0.5 + torch.rand(len(factor), generator=generator))
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    used = [torch.where(free, one, 1.0) for one, free in zip(factors.factors, factors.free, strict=True)]
    of_o = used[1].view(kv_heads, 1, -1).expand(-1, heads // kv_heads, -1).flatten()
    columns = [used[0], used[0], used[0], of_o, used[2], used[2], used[3]]
    by_hand = tuple(weight.dense() * column for weight, column in zip(weights, columns, strict=True))
    function = block_function(tiny.model, False, False)
    expected = function(hidden, *tables, plain._replace(weights=by_hand))
    found = function(hidden, *tables, factors.folded(tensors))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for weight, column in zip(weights, columns, strict=True):
        assert (column[weight.kept] == 1).all()
        assert (column[~weight.kept] != 1).any()


def test_rows_with_a_bias_keep_their_factor(tiny):
    plain = block_tensors(blocks(tiny.model)[0])
    weights = tuple(learned_weight(weight, None, Options(), torch.rand(weight.shape[1])) for weight in plain.weights)
    biases = tuple(
        torch.zeros(len(weight)) if kind == "v_proj" else None
        for kind, weight in zip(LINEAR_KINDS, plain.weights, strict=True)
    )
    free = first_factors(plain._replace(weights=weights, biases=biases), tiny.model.config.head_dim).free
    assert not free[1].any()
    assert free[3].any()


def fit(tiny, folder, progress=lambda *_: None, **fields):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    given = {"block_tokens_per_step": 128, "block_rate": 0.01, "factor_rate": 0.02, **fields}
    return carry(work_on(tiny, "ptq1.61", windows, folder, progress, **given)).parts


def naive_loss(output, target):
    cosines = [
        float(o @ t / (o.norm() * t.norm())) for o, t in zip(output.flatten(0, 1), target.flatten(0, 1), strict=True)
    ]
    return float(((output - target) ** 2).mean()) - math.log(abs(sum(cosines) / len(cosines)))


def test_loss_falls_in_every_block(tiny, tmp_path):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    tables, function = rotary_tables(tiny.model, 32), block_function(tiny.model, False, False)
    plain = [block_tensors(block) for block in blocks(tiny.model)]

    def losses(epochs):
        float_hidden = quantized = embed(tiny.model, windows)
        found = []
        for layer, part in enumerate(fit(tiny, tmp_path / str(epochs), epochs=epochs)):
            stored = Checkpoint(part)
            dense = tuple(stored.solution(layer, kind).dense() for kind in LINEAR_KINDS)
            attention, mlp = (torch.from_numpy(gain) for gain in stored.norms().values())
            wanted = function(quantized, *tables, plain[layer])
            float_hidden = function(float_hidden, *tables, plain[layer])
            quantized = function(
                quantized, *tables, plain[layer]._replace(weights=dense, attention_norm=attention, mlp_norm=mlp)
            )
            found.append(naive_loss(quantized, float_hidden) + naive_loss(quantized, wanted))
        return found

    assert all(after < 0.9 * before for before, after in zip(losses(0), losses(10), strict=True))


def test_the_loss_is_the_naive_one():
    output, target = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(4))
    found = blockwise._distance(output, target, cosine=True).item()
    assert found == pytest.approx(naive_loss(output, target), rel=1e-5)


def test_both_streams_are_one_in_the_first_block_alone(tiny, tmp_path, monkeypatch):
    seen, real = [], blockwise._fit

    def watch(function, tables, tensors, factors, inputs, targets, *rest):
        seen.append([target.clone() for target in targets])
        real(function, tables, tensors, factors, inputs, targets, *rest)

    monkeypatch.setattr(blockwise, "_fit", watch)
    fit(tiny, tmp_path, epochs=1)
    assert torch.equal(*seen[0])
    assert not torch.allclose(*seen[1], rtol=1e-2)


def test_killed_job_goes_on_to_the_same_bytes_norms_among_them(tiny, tmp_path):
    whole = fit(tiny, tmp_path / "whole", epochs=2)

    def kill(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny, tmp_path / "killed", kill, epochs=2)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["0.safetensors"]
    resumed = fit(tiny, tmp_path / "killed", epochs=2)
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]
    norms = Checkpoint(whole[1]).norms()
    assert set(norms) == set(block_norms(blocks(tiny.model)[1], 1))
    assert all((gain != 1).any() for gain in norms.values())


def test_linears_with_one_input_keep_the_same_channels(tiny, tmp_path):
    stored = Checkpoint(fit(tiny, tmp_path, epochs=0)[1])
    orders = {kind: stored.solution(1, kind).permutation.tolist() for kind in LINEAR_KINDS}
    assert orders["q_proj"] == orders["k_proj"] == orders["v_proj"]
    assert orders["gate_proj"] == orders["up_proj"] != orders["q_proj"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kept": 0}, "field 'kept' should be greater than 0, not 0"),
        ({"kept": 0.6}, "field 'kept' should be less than or equal to 0.4, not 0.6"),
        ({"factor_rate": 0}, "field 'factor_rate' should be greater than 0, not 0"),
        ({"bits": 2}, "option 'bits' must be one of .*; 'bits' is an option of slim-llm"),
    ],
)
def test_options_that_cannot_be_are_one_line(given, message):
    with pytest.raises(InputError, match=message):
        options_for("ptq1.61", given)


def test_weights_that_are_not_finite_are_named(tiny, tmp_path):
    with torch.no_grad():
        blocks(tiny.model)[0].mlp.down_proj.weight[0, 0] = math.nan
    with pytest.raises(InputError, match=r"model\.layers\.0\.mlp\.down_proj: weights must be finite"):
        fit(tiny, tmp_path, epochs=0)
