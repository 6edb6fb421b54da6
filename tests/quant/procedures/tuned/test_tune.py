"""Tuning on the model's own loss: PEQA's scales on frozen integers, RoSTE's sites and straight-through weights."""

import hashlib
import math

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import block_linears, blocks, decoder_linears, norm_weights
from quant.llama.evaluate import window_losses
from quant.llama.loading import load_model
from quant.llama.rotation import by_head, rotate, rotations
from quant.methods.method import TunedOptions
from quant.methods.trained import peqa, roste
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.tuned.rotation_sites import site_errors
from quant.procedures.tuned.tune import rotated_sites, share_of_rate
from quant.registry import options_for
from quant.source import resolve
from quant.weights.checkpoint import Checkpoint
from tests.quant.methods.problems import problem
from tests.quant.tiny import TEXT, save_tiny_llama, work_on

UNROTATED = {"roste": {"rotated": "none"}}
QUICK = {
    "peqa": {"epochs": 3, "rate": 0.02, "tokens_per_step": 128},
    "roste": {"epochs": 3, "rate": 0.005, "tokens_per_step": 128, "group": 8},
}


@pytest.fixture
def even(tmp_path):
    """A model of heads of 4, of which there is a Hadamard matrix."""
    return load_model(resolve(str(save_tiny_llama(tmp_path / "even", heads=6))))


def words(tiny, count=8):
    return token_windows(tiny.tokenizer.encode(TEXT), 32, count, "words")


def run(tiny, name, folder, progress=lambda *_: None, **given):
    return carry(work_on(tiny, name, words(tiny), folder, progress, **QUICK[name] | given))


def loss_of(tiny, written):
    """Mean loss of the windows over the weights of a run, by the ordinary forward pass."""
    before = {linear.name: linear.module.weight.clone() for linear in decoder_linears(tiny.model)}
    with torch.no_grad():
        for part in map(Checkpoint, written.parts):
            for layer, kind in part:
                linear = next(one for one in block_linears(blocks(tiny.model)[layer], layer) if one.kind == kind)
                linear.module.weight.copy_(part.solution(layer, kind).dense())
        found = sum(window_losses(tiny.model, words(tiny), int8=False)) / (8 * 31)
        for linear in decoder_linears(tiny.model):
            linear.module.weight.copy_(before[linear.name])
    return found


@pytest.mark.parametrize("name", QUICK)
def test_the_loss_is_that_of_the_next_tokens_and_falls(name, tiny, tmp_path, caplog):
    with caplog.at_level("INFO"):
        extra = UNROTATED.get(name, {})
        start = run(tiny, name, tmp_path / "0", epochs=0, **extra)
        assert not any("loss" in record.getMessage() for record in caplog.records)
        once = {"epochs": 1, "tokens_per_step": 256, "warmup": 0}
        run(tiny, name, tmp_path / "1", **once, **extra)
        first = float(next(r.getMessage() for r in caplog.records if "step 0 of 1" in r.getMessage()).split()[-1])
    if name == "peqa":  # the other's activations are int8 while it learns
        assert first == pytest.approx(loss_of(tiny, start), abs=1e-4)
    assert loss_of(tiny, run(tiny, name, tmp_path / "9", epochs=9, **extra)) < loss_of(tiny, start) - 0.02


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("step", [1, 4])
def test_a_killed_tuning_goes_on_to_the_same_bytes(name, step, tiny, tmp_path):
    before = {linear.name: linear.module.weight.clone() for linear in decoder_linears(tiny.model)}

    def kill(stage, done, total):
        if stage == "tune" and done == step + 1:
            raise KeyboardInterrupt

    def again(folder, progress=lambda *_: None):
        with torch.no_grad():  # a new process loads the model anew
            for linear in decoder_linears(tiny.model):
                linear.module.weight.copy_(before[linear.name])
        return run(tiny, name, folder, progress, **UNROTATED.get(name, {}))

    whole = again(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path / "killed", kill)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["tuning.pt"]
    steps = []
    resumed = again(tmp_path / "killed", lambda stage, done, _: steps.append(done) if stage == "tune" else None)
    assert steps[0] == step + 1  # the step during whose report it was killed was not kept
    assert [path.read_bytes() for path in resumed.parts] == [path.read_bytes() for path in whole.parts]


def test_peqa_never_moves_an_integer(tiny, tmp_path):
    def codes(written):
        found = hashlib.sha256()
        for part in map(Checkpoint, written.parts):
            for place in part:
                found.update(part.solution(*place).trits.numpy().tobytes())
        return found.hexdigest()

    start, tuned = run(tiny, "peqa", tmp_path / "0", epochs=0), run(tiny, "peqa", tmp_path / "9", epochs=9)
    assert codes(start) == codes(tuned)
    scales = [Checkpoint(one.parts[0]).solution(0, "q_proj").scales for one in (start, tuned)]
    assert not torch.equal(*scales)
    assert not tuned.norms
    assert not tuned.tables


@pytest.mark.parametrize("digits", [1, 2])
def test_peqa_without_change_is_rounding_to_nearest_of_least_error(digits):
    weight = problem()[0]
    first = peqa.learned_weight(weight, None, options_for("peqa", {"digits": digits}))
    limit = (3**digits - 1) // 2
    step = first.first
    assert torch.equal(first.codes.float(), (weight / step).round().clamp(-limit, limit))
    least = (weight * first.codes).sum(1, keepdim=True) / first.codes.float().square().sum(1, keepdim=True)
    torch.testing.assert_close(step, least, rtol=1e-3, atol=0)
    assert torch.equal(first.dense(), first.solution().dense())


def test_peqa_reaches_the_least_squares_scale_of_one_row():
    weight, inputs, _ = problem(n=1)
    wanted = inputs @ weight.T
    first = peqa.learned_weight(weight, None, options_for("peqa", {}))
    ((change, rate),) = first.learned(0.01)
    change.requires_grad_(True)
    optimizer = torch.optim.Adam([change], lr=rate)
    for _ in range(400):
        optimizer.zero_grad()
        (inputs @ first.dense().T - wanted).square().mean().backward()
        optimizer.step()
    rounded = inputs @ first.codes.float().T
    best = (rounded * wanted).sum() / rounded.square().sum()
    assert first.solution().scales.item() == pytest.approx(best.item(), rel=2e-3)
    assert abs(best.item() / first.first.item() - 1) > 0.005


def test_roste_trits_by_hand_and_a_gradient_as_if_nothing_were_rounded():
    """Mean magnitude 1.25, threshold 0.9375: beyond it are 1, -3: scale 2; of the short group 0.5, -0.5: both."""
    weight = torch.tensor([[1.0, -3.0, 0.5, 0.5, 0.5, -0.5]])
    codes, scales = roste.ternary(weight, 4)
    assert codes.tolist() == [[1, -1, 0, 0, 1, -1]]
    assert scales.tolist() == [[2, 0.5]]
    one = roste.learned_weight(weight, None, roste.Options(group=4))
    one.latent.requires_grad_(True)
    pull = torch.arange(6.0)[None]
    (one.dense() * pull).sum().backward()
    assert torch.equal(one.latent.grad, pull)
    assert torch.equal(one.dense().detach(), one.solution().dense())


CHOICES = [(False, []), (True, []), (False, [1]), (True, [0, 1])]


@pytest.mark.parametrize(("of_stream", "of_values"), CHOICES)
def test_the_float_model_is_the_same_whatever_is_rotated(of_stream, of_values, even):
    tokens = words(even)[:2]
    with torch.no_grad():
        for gain in norm_weights(even.model).values():
            gain.uniform_(0.5, 1.5)
        before = even.model(tokens).logits
        rotate(even.model, even.shape, 0, lambda *_: None, of_stream, of_values)
        after = even.model(tokens).logits
    assert ((after - before).norm() / before.norm()).item() < 1e-4
    assert even.model.config.tie_word_embeddings is not of_stream


def naive_error(weight, x, rounding):
    """Squared error of one weight's rounding, and of its int8 input vectors per token."""
    steps = np.abs(x).max(-1, keepdims=True) / 127
    rounded = np.round(x / np.where(steps > 0, steps, 1)) * steps
    error = rounding(torch.tensor(weight)).numpy() - weight
    return float((error**2).sum()), float(((rounded - x) ** 2).sum(-1).mean())


def test_the_errors_of_a_layers_values_by_definition(even):
    windows, rounding = words(even, 2), lambda w: roste.StraightWeight(w, 8).dense()
    plain, rotated = site_errors(even, windows, 3, rounding, 2.0).values[0]
    linears = {one.kind: one.module for one in block_linears(blocks(even.model)[0], 0)}
    seen = []
    handle = linears["o_proj"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        even.model(windows)
    handle.remove()
    stream, values = rotations(even.shape, 3)
    v, o, x = linears["v_proj"].weight, linears["o_proj"].weight, seen[0].flatten(0, -2)
    turned = by_head(values, stream(v).T, 4).T, by_head(values, stream(o.T).T, 4)
    for error, pair, inputs in ((plain, (v, o), x), (rotated, turned, by_head(values, x, 4))):
        parts = [naive_error(w.detach().float().numpy(), inputs.float().numpy(), rounding) for w in pair]
        assert error == pytest.approx(parts[0][0] + parts[1][0] + 2.0 * parts[0][1], rel=1e-3)


def test_outliers_are_rotated_gaussians_stay_about_equal_and_ternary_weights_are_left(even):
    work = work_on(even, "roste", words(even), None, group=24, activations=0)
    rounding = lambda w: roste.StraightWeight(w, 24).dense()  # noqa: E731
    gaussian = site_errors(even, words(even), 0, rounding, 0.0)
    for errors in (gaussian.stream, *gaussian.values):
        assert errors.rotated == pytest.approx(errors.plain, rel=0.15)
    with torch.no_grad():  # a channel of the stream, and one of every head's values in layer 1, read 30 times as loudly
        norm_weights(even.model)["layers.0.input_layernorm"][5] = 30
        norm_weights(even.model)["layers.0.post_attention_layernorm"][5] = 30
        linears = {one.kind: one.module for one in block_linears(blocks(even.model)[1], 1)}
        linears["o_proj"].weight[:, ::4] *= 30
        linears["v_proj"].weight[::4] /= 30
    planted = site_errors(even, words(even), 0, rounding, 0.0)
    assert planted.stream.rotates
    assert planted.values[1].rotated < 0.6 * planted.values[1].plain
    assert rotated_sites(work, words(even))[0]
    assert 1 in rotated_sites(work, words(even))[1]
    with torch.no_grad():
        for linear in decoder_linears(even.model):
            linear.module.weight.copy_(rounding(linear.module.weight))
        for gain in norm_weights(even.model).values():
            gain.fill_(1)
    assert rotated_sites(work, words(even)) == (False, [])


def test_a_rotated_run_keeps_its_own_norms_embedding_and_head(even, tmp_path):
    written = run(even, "roste", tmp_path, rotated="all", epochs=1)
    assert set(written.tables) == {"embed_tokens", "lm_head"}
    assert all((gain == 1).all() for gain in written.norms.values())
    assert len(written.norms) == 5
    assert {table.dtype for table in written.tables.values()} == {np.dtype(np.float16)}


@pytest.mark.parametrize(
    ("decay", "shares"),
    [("linear", [0.5, 1, 1, 0.875, 0.75]), ("cosine", [0.5, 1, 1, 0.5 + 0.5 * math.cos(math.pi / 8)])],
)
def test_the_rate_warms_up_and_falls(decay, shares):
    options = TunedOptions(warmup=0.2) if decay == "cosine" else peqa.Options(warmup=0.2)
    assert [share_of_rate(step, 10, options) for step in range(len(shares))] == pytest.approx(shares)
    assert share_of_rate(10, 10, options) == pytest.approx(0)


def test_bad_input_is_refused_in_one_line(even, tmp_path):
    with pytest.raises(InputError, match=r"tuning: loss of step .* must be finite, not nan; lower the option 'rate'"):
        run(even, "roste", tmp_path, rate=1e30, warmup=0, rotated="none")
    with pytest.raises(InputError, match=r"'rotated' must be one of .*; 'rotated' is an option of roste"):
        options_for("peqa", {"rotated": "all"})
    with pytest.raises(InputError, match="'digits' is an option of"):
        options_for("roste", {"digits": 2})
