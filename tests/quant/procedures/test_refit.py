"""Claims: fits are the ridge least-squares answers, found independently; refitting brings a model nearer to its own."""

from itertools import pairwise

import pytest
import torch

from quant.llama.blocks import decoder_linears, embed, norm_weights, quantize_dequantize
from quant.llama.forward import hidden_states
from quant.methods.pt_bitnet import Options, solve
from quant.procedures import refit
from quant.procedures.calibrate import calibration_blocks, token_windows
from quant.procedures.carry import carry
from quant.procedures.refit import (
    FloatStream,
    Means,
    Moments,
    _mean,
    _products,
    _sum,
    fit_gains,
    fit_scales_towards,
    followed_weight,
    target_moment,
)
from quant.procedures.shared.shards import Shards
from quant.weights.checkpoint import Checkpoint
from tests.quant.methods.problems import problem
from tests.quant.tiny import TEXT, work_on

RIDGE = 0.1


def outputs_of(inputs, weight, seed):
    generator = torch.Generator().manual_seed(seed)
    exact = inputs @ weight.T
    return exact + 0.5 * exact.std() * torch.randn(exact.shape, generator=generator)


@pytest.mark.parametrize("options", [Options(group=8), Options(group=None), Options(group=8, scales="pow2")])
def test_scales_are_the_ridge_least_squares_answer_of_every_row(options):
    weight, inputs, hessian = problem(5, 20, seed=11)
    hessian = inputs.T @ inputs / len(inputs)
    outputs = outputs_of(inputs, weight, 12)
    before = solve(weight, hessian, options)
    after = fit_scales_towards(before, hessian, outputs.T @ inputs / len(inputs))
    assert torch.equal(after.trits, before.trits)
    assert after.scale_kind == before.scale_kind
    unit = before.trits[0].double()
    free = before.scales[0].double()
    if options.scales == "pow2":
        unit = unit * before.dense().double().abs() / free.amax(1, keepdim=True)
        free = free.amax(1, keepdim=True)
    width = 8 if free.shape[1] > 1 else 20
    for row in range(5):
        features = torch.stack(
            [inputs[:, s : s + width].double() @ unit[row, s : s + width] for s in range(0, 20, width)], 1
        )
        ridge = RIDGE * features.square().mean(0).mean() * len(inputs)
        above = torch.cat([features, ridge.sqrt() * torch.eye(features.shape[1], dtype=torch.float64)])
        right = torch.cat([outputs[:, row].double(), ridge.sqrt() * free[row]])
        exact = torch.linalg.lstsq(above, right[:, None]).solution[:, 0].clamp_min(0)
        found = after.scales[0, row].double()
        found = found.amax()[None] if options.scales == "pow2" else found
        assert torch.allclose(found, exact, rtol=2e-3, atol=1e-3 * exact.max().item())


def test_gains_are_the_ridge_least_squares_answer():
    weight, inputs, _ = problem(12, 10, seed=13)
    outputs = outputs_of(inputs, 1.3 * weight, 14)
    hessian = inputs.T @ inputs / len(inputs)
    found = fit_gains(weight, hessian, outputs.T @ inputs / len(inputs))
    # One column of features for each gain: what its input adds to every output.
    features = torch.stack([(inputs[:, [i]] * weight[:, i]).flatten() for i in range(10)], 1).double()
    ridge = RIDGE * features.square().sum(0).mean()
    above = torch.cat([features, ridge.sqrt() * torch.eye(10, dtype=torch.float64)])
    right = torch.cat([outputs.flatten().double(), ridge.sqrt() * torch.ones(10, dtype=torch.float64)])
    assert torch.allclose(found.double(), torch.linalg.lstsq(above, right[:, None]).solution[:, 0], rtol=1e-3)


def test_the_share_goes_from_the_own_outputs_to_those_of_full_precision():
    weight, inputs, _ = problem(6, 10, seed=15)
    full = inputs + 0.3 * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(16))
    lacking = torch.randn(len(inputs), 6, generator=torch.Generator().manual_seed(17))
    moments = Moments(inputs.T @ inputs, inputs.T @ full, inputs.T @ lacking)
    own, theirs = inputs @ weight.T, full @ weight.T + lacking
    for share in (0.0, 0.25, 1.0):
        aim = (1 - share) * own + share * theirs
        assert torch.allclose(target_moment(weight, moments, share), aim.T @ inputs, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("share", [0.0, 0.75])
def test_the_weights_that_are_rounded_are_the_ridge_least_squares_answer(share):
    weight, inputs, _ = problem(6, 10, seed=18)
    full = inputs + 0.3 * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(19))
    lacking = torch.randn(len(inputs), 6, generator=torch.Generator().manual_seed(20))
    found = followed_weight(weight, Moments(inputs.T @ inputs, inputs.T @ full, inputs.T @ lacking), share)
    aim = (1 - share) * inputs @ weight.T + share * (full @ weight.T + lacking)
    ridge = (RIDGE * inputs.square().sum(0).mean()).sqrt().double()
    above = torch.cat([inputs.double(), ridge * torch.eye(10, dtype=torch.float64)])
    right = torch.cat([aim.double(), ridge * weight.T.double()])
    assert torch.allclose(found.double(), torch.linalg.lstsq(above, right).solution.T, rtol=1e-3, atol=1e-4)


def test_tokens_of_a_weight_count_as_so_many_tokens():
    _, inputs, _ = problem(6, 10, seed=21)
    full, lacking = inputs + 1, inputs[:, :4] - 2
    twice = torch.ones(len(inputs), 1)
    twice[3:9] = 2
    weighted = _mean([_products(inputs, full, lacking, twice)], Shards(1))
    repeated = (torch.cat([one, one[3:9]]) for one in (inputs, full, lacking))
    plain = _mean([_products(*repeated)], Shards(1))
    for found, exact in zip((*weighted.moments, *weighted.means), (*plain.moments, *plain.means), strict=True):
        assert torch.allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_a_token_counts_by_its_size_in_the_float_stream(tiny, tmp_path, monkeypatch):
    seen = []

    def watched(x, full, missing, weights=None):
        seen.append((missing, weights))
        return _products(x, full, missing, weights)

    monkeypatch.setattr(refit, "_products", watched)
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 2, "words")
    stream = embed(tiny.model, windows)
    carry(work_on(tiny, "pt-bitnet", windows, tmp_path, group=8, relative=2.0))
    assert [weights is None for _, weights in seen] == [missing is None for missing, _ in seen]
    first = next(
        weights for _, weights in seen if weights is not None
    )  # of o in the first block: that of the embedding
    assert torch.allclose(first, 1 / stream.flatten(0, -2).square().mean(-1, keepdim=True), rtol=1e-4)


def test_central_moments_are_those_of_inputs_less_their_means():
    weight, inputs, _ = problem(6, 10, seed=15)
    full = inputs + 1
    lacking = inputs @ weight.T - 2
    means = Means(inputs.mean(0), full.mean(0), lacking.mean(0))
    count = len(inputs)
    moments = Moments(inputs.T @ inputs / count, inputs.T @ full / count, inputs.T @ lacking / count).central(means)
    x, f, r = (values - mean for values, mean in zip((inputs, full, lacking), means, strict=True))
    for found, exact in zip(moments, (x.T @ x, x.T @ f, x.T @ r), strict=True):
        assert torch.allclose(found, exact / count, rtol=1e-3, atol=1e-4)


def test_constants_keep_the_mean_of_every_output(tiny, tmp_path):
    """Of the linears of the first block that see what full precision sees, and in the checkpoint as in the model."""
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    block = tiny.model.model.layers[0]
    x = quantize_dequantize(block.input_layernorm(embed(tiny.model, windows)))
    kinds = ("q_proj", "k_proj", "v_proj")
    wanted = [(x @ getattr(block.self_attn, kind).weight.T).mean((0, 1)) for kind in kinds]
    parts = carry(work_on(tiny, "pt-bitnet", windows, tmp_path, group=8, bias=True)).parts
    x = quantize_dequantize(block.input_layernorm(embed(tiny.model, windows)))  # with the fitted gains
    stored = Checkpoint(parts[0])
    assert set(stored.biases()) == set(stored)
    for kind, mean in zip(kinds, wanted, strict=True):
        linear = getattr(block.self_attn, kind)
        assert torch.equal(linear.bias, torch.from_numpy(stored.biases()[0, kind]).float())
        size = linear(x).std()
        assert ((x @ linear.weight.T).mean((0, 1)) - mean).abs().max() > 0.01 * size
        assert (linear(x).mean((0, 1)) - mean).abs().max() < 0.005 * size  # int8 rounding of other gains


@pytest.mark.parametrize("bias", [False, True])
def test_a_refitted_model_is_nearer_to_the_float_one_and_resumes_to_the_same_bytes(tiny, tmp_path, bias):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    original = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    (target,) = hidden_states(tiny.model, [windows], int8=False)
    norm = norm_weights(tiny.model)["norm"].clone()
    target = torch.nn.functional.rms_norm(target, target.shape[-1:], norm)
    errors, files = {}, {}
    for name, share in (("none", 0.0), ("half", 0.5), ("again", 0.5)):
        restore(tiny, original)
        folder = tmp_path / ("half" if name == "again" else name)
        if name == "again":
            (folder / "1.safetensors").unlink()
        parts = carry(work_on(tiny, "pt-bitnet", windows, folder, group=8, refit=share, bias=bias and share > 0)).parts
        files[name] = [path.read_bytes() for path in parts]
        restore(tiny, original)
        for part in parts:
            apply_part(tiny, part)
        (hidden,) = hidden_states(tiny.model, [windows], int8=True)
        found = torch.nn.functional.rms_norm(hidden, hidden.shape[-1:], norm_weights(tiny.model)["norm"])
        errors[name] = (found - target).square().mean().item()
    assert errors["half"] < 0.9 * errors["none"]
    assert files["again"] == files["half"]


def restore(loaded, original):
    """The model as it was, without constants of its linears."""
    for linear in decoder_linears(loaded.model):
        linear.module.bias = None
    loaded.model.load_state_dict(original)


def apply_part(loaded, part):
    """The weights and gains of one part, read back from its file."""
    checkpoint = Checkpoint(part)
    linears = {(one.layer, one.kind): one for item in calibration_blocks(loaded.model, ONE) for one in item.linears}
    with torch.no_grad():
        for key in checkpoint:
            linears[key].module.weight.copy_(checkpoint.solution(*key).dense())
            if key in checkpoint.biases():
                linears[key].module.bias = torch.nn.Parameter(torch.from_numpy(checkpoint.biases()[key]).float())
        for name, gain in checkpoint.norms().items():
            norm_weights(loaded.model)[name].copy_(torch.from_numpy(gain))


ONE = torch.zeros(1, 2, dtype=torch.int64)


def test_the_float_stream_passes_a_block_as_the_float_model_does(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 16, 4, "words")
    (expected,) = hidden_states(tiny.model, [windows], int8=False)
    stream = FloatStream(tiny.model, windows, 0.5)
    for item in calibration_blocks(tiny.model, windows):
        stream.skip_block(item)
    gains = stream.last_gains(expected)
    assert torch.allclose(gains, norm_weights(tiny.model)["norm"], rtol=1e-4)


@pytest.mark.parametrize("batches", [1, 2, 4])
@pytest.mark.parametrize("shared", [False, True], ids=["one process", "a shard for each batch"])
def test_moments_of_batches_are_means_over_all_of_their_tokens(batches, shared):
    """Of batches of one, two, three and four tokens: the sums of all ten, or of the first, over their number."""
    generator = torch.Generator().manual_seed(3)
    x, full, missing = (torch.randn(10, width, generator=generator) for width in (3, 4, 3))
    starts = [0, 1, 3, 6, 10][: batches + 1]
    parts = [slice(*ends) for ends in pairwise(starts)]
    count = starts[-1]

    def mean(missing):
        sums = [
            _products(x[None, part], full[None, part], None if missing is None else missing[None, part])
            for part in parts
        ]
        return _mean(sums if shared else [_sum(iter(sums))], Shards(batches if shared else 1))

    found = mean(missing)
    for value, others in zip(found.means, (x, full, missing), strict=True):
        assert torch.allclose(value, others[:count].mean(0), atol=1e-6)
    for value, others in zip(found.moments, (x, full, missing), strict=True):
        expected = sum(torch.outer(x[token], others[token]) for token in range(count)) / count
        assert torch.allclose(value, expected, atol=1e-6)
    without = mean(None)
    assert without.moments.residual is None
    assert without.means.residual is None


def test_weights_moved_before_rounding_end_nearer_on_text_they_were_not_fitted_to(tiny, tmp_path):
    tokens = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    fitted, unseen = tokens[:32], tokens[32:]
    original = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    (target,) = hidden_states(tiny.model, [unseen], int8=False)
    errors = {}
    for follow in (0.0, 0.75):
        restore(tiny, original)
        parts = carry(work_on(tiny, "pt-bitnet", fitted, tmp_path / str(follow), group=8, follow=follow)).parts
        for part in parts[:-1]:
            apply_part(tiny, part)
        (hidden,) = hidden_states(tiny.model, [unseen], int8=True)
        errors[follow] = ((hidden - target).square().sum(-1) / target.square().sum(-1)).mean().item()
    assert errors[0.75] < 0.9 * errors[0.0]
