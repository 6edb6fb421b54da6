"""Figures of learning by plain loops: losses, schedules, batches, refit shares and clamps, steps of the optimizers."""

import copy
import math

import pytest
import torch

from quant.llama.blocks import block_linears, blocks, embed, norm_weights, quantize_dequantize
from quant.llama.stepped_block import SteppedBlock
from quant.methods.method import BlockOptions, ModelOptions
from quant.methods.pt_bitnet import Options, solve
from quant.methods.rtn import Options as RtnOptions
from quant.methods.rtn import solve as rtn
from quant.procedures import distill, reconstruct
from quant.procedures.batches import batches
from quant.procedures.calibrate import block_hessians, calibration_blocks, token_windows
from quant.procedures.latent import BlockTensors, block_function, block_tensors, latent_weight, rotary_tables
from quant.procedures.reconstruct import TrainingPlan, learning_rate
from quant.procedures.refit import FloatStream
from tests.quant.tiny import TEXT

STILL = 1e-12  # a learning rate that moves nothing: the loss is that of the start


def rounded(block) -> BlockTensors:
    plain = block_tensors(block)
    weights = tuple(
        latent_weight(one.module.weight, rtn(one.module.weight, None, RtnOptions(group=16)))
        for one in block_linears(block, 0)
    )
    return BlockTensors(weights, plain.biases, plain.attention_norm.clone(), plain.mlp_norm.clone())


def quiet(*_):
    pass


# The schedule of learning and hardening


def test_warm_up_takes_a_twentieth_of_the_steps_and_the_cosine_the_rest():
    for steps in (1, 7, 20, 200, 331):
        warmup = max(1, round(0.05 * steps))
        for step in range(steps):
            if step < warmup:
                expected = (step + 1) / warmup
            else:
                expected = (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
            assert learning_rate(step, steps) == pytest.approx(expected, abs=1e-12)


def test_rates_of_scales_and_norms_are_a_twentieth_of_the_latent_weights(tiny):
    block, extra = rounded(blocks(tiny.model)[0]), torch.ones(24)
    optimizer, _ = reconstruct.trainer([block], [extra], 0.4, 1)
    by_tensor = {id(p): group["initial_lr"] for group in optimizer.param_groups for p in group["params"]}
    assert all(by_tensor[id(weight.latent)] == 0.4 for weight in block.weights)
    others = [*(weight.scales for weight in block.weights), block.attention_norm, block.mlp_norm, extra]
    assert all(by_tensor[id(tensor)] == pytest.approx(0.02) for tensor in others)
    assert len(by_tensor) == 7 + len(others)
    assert all(group["betas"] == (0.9, 0.95) for group in optimizer.param_groups)


def test_gradients_longer_than_one_are_shortened_to_one():
    parameter = torch.zeros(2, requires_grad=True)
    seen = []

    class Still(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(parameter.grad.clone())

    optimizer = Still([parameter], lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    for gradient in ([3.0, 4.0], [0.3, 0.4]):
        parameter.grad = torch.tensor(gradient)
        reconstruct.advance(optimizer)
        schedule.step()
        assert parameter.grad is None
    assert torch.allclose(torch.stack(seen), torch.tensor([[0.6, 0.8], [0.3, 0.4]]), atol=1e-5)


# Losses


def probabilities(states, gain, head, eps):
    """Next-token distribution of one token's state, float64."""
    states, gain, head = states.double(), gain.double(), head.double()
    normed = states / (states.square().mean() + eps).sqrt() * gain
    logits = head @ normed
    return torch.exp(logits - logits.max()) / torch.exp(logits - logits.max()).sum()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("penalty", "own_tables"), [(0.0, False), (0.75, False), (0.0, True)])
def test_the_loss_of_distillation_by_a_loop_over_tokens(tiny, monkeypatch, frozen, penalty, own_tables):
    monkeypatch.setattr(distill, "_TOKENS_PER_PASS", 48)  # several passes and pieces of logits, the last ones short
    monkeypatch.setattr(distill, "_TOKENS_OF_LOGITS", 40)
    model = tiny.model
    real = token_windows(tiny.tokenizer.encode(TEXT), 16, 12, "words")
    teacher, student = ([make(block) for block in blocks(model)] for make in (block_tensors, rounded))
    if frozen:
        student = [block.freeze() for block in student]
    norm = 1.1 * model.model.norm.weight.detach().clone()
    corpus = distill.Corpus(real, real[:3], 0.5)
    plan = TrainingPlan(1, STILL, 16 * 5, 3, range_penalty=penalty)
    given = embedding, student_head = 0.9 * model.lm_head.weight.detach(), 1.2 * model.lm_head.weight.detach()
    own = distill.Tables(*given) if own_tables else None
    found = distill.distill(model, teacher, student, norm, corpus, 20, plan, quiet, own)

    tables, per_step = rotary_tables(model, 16), []
    float_block, int8_block = (block_function(model, int8, False) for int8 in (False, True))
    measuring = block_function(model, True, False, ranges=True)
    batches = [rows for _, rows in zip(range(20), corpus.batches(5, 3), strict=False)]
    assert all(rows.shape == (5, 16) for rows in batches)
    for rows in batches[-2:]:  # of the last tenth
        with torch.no_grad():
            mine = other = embed(model, rows)
            mine = embedding[rows] if own_tables else mine
            ranges = []
            for block, full in zip(student, teacher, strict=True):
                ranges.append(measuring(mine, *tables, block)[1].item())
                mine, other = int8_block(mine, *tables, block), float_block(other, *tables, full)
        eps, head, losses = model.config.rms_norm_eps, model.lm_head.weight, []
        for row in range(5):
            for position in range(16):
                p = probabilities(other[row, position], model.model.norm.weight, head, eps)
                q = probabilities(mine[row, position], norm, student_head if own_tables else head, eps)
                losses.append((p * (p / q).log()).sum().item())
        per_step.append(sum(losses) / len(losses) + penalty * sum(ranges) / 2)
    assert found == pytest.approx(sum(per_step) / 2, rel=1e-4)


def test_ranges_are_the_logarithm_of_largest_over_root_mean_square(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 8, 3, "words")
    tables, hidden = rotary_tables(tiny.model, 8), embed(tiny.model, windows)
    block = blocks(tiny.model)[0]
    _, found = block_function(tiny.model, False, False, ranges=True)(hidden, *tables, block_tensors(block))
    steps, states = SteppedBlock(tiny.model, block, int8=False), hidden
    inputs = [steps.attention_in(states), steps.attention_out(states)]
    states = steps.after_attention(states, inputs[1])
    inputs += [steps.mlp_in(states), steps.mlp_out(states)]
    by_input = [
        [math.log(token.abs().max() / token.square().mean().sqrt()) for token in x.flatten(0, 1)] for x in inputs
    ]
    assert found.item() == pytest.approx(sum(sum(one) / len(one) for one in by_input) / 4, rel=1e-5)


@pytest.mark.parametrize(("share", "real_rows"), [(0.0, 1), (0.25, 1), (0.5, 2), (0.7, 3), (1.0, 4)])
def test_batches_mix_the_texts_by_their_share_and_use_every_window_before_any_again(share, real_rows):
    real, written = torch.arange(6)[:, None], 100 + torch.arange(5)[:, None]
    batches = distill.Corpus(real, written, share).batches(4, 1)
    taken = torch.stack([next(batches) for _ in range(12)])[..., 0]
    assert (taken[:, :real_rows] < 100).all()
    assert (taken[:, real_rows:] >= 100).all()
    for part, count in ((taken[:, :real_rows], 6), (taken[:, real_rows:], 5)):
        flat = part.flatten().tolist()
        for start in range(0, len(flat) - count + 1, count):
            assert len(set(flat[start : start + count])) == count
    alone = distill.Corpus(real, written[:0], share).batches(4, 1)
    assert (next(alone) < 100).all()


def test_the_error_of_reconstruction_by_a_loop_over_tokens(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 16, 7, "words")
    tables, inputs = rotary_tables(tiny.model, 16), embed(tiny.model, windows)
    float_block, function = (block_function(tiny.model, int8, False) for int8 in (False, True))
    first, second = (block_tensors(block) for block in blocks(tiny.model))
    with torch.no_grad():
        targets = float_block(float_block(inputs, *tables, first), *tables, second)
    window = [rounded(block) for block in blocks(tiny.model)]
    plan = TrainingPlan(2, STILL, 3 * 16, 5)  # three windows a step, two steps an epoch, one window left over
    found = reconstruct.reconstruct(function, tables, window, inputs, targets, plan, "blocks")
    generator = torch.Generator().manual_seed(5)
    torch.randperm(7, generator=generator)
    order = torch.randperm(7, generator=generator)[:6]
    with torch.no_grad():
        output = function(function(inputs[order], *tables, window[0]), *tables, window[1])
    wanted = targets[order]
    errors = [
        (((mine - own) ** 2).sum() / (own**2).sum()).item()
        for mine, own in zip(output.flatten(0, 1), wanted.flatten(0, 1), strict=True)
    ]
    assert found == pytest.approx(sum(errors) / len(errors), rel=1e-4)


@pytest.mark.parametrize(("windows", "tokens", "batch"), [(10, 32, 4), (10, 31, 3), (3, 1000, 3), (5, 7, 1)])
def test_steps_of_a_block_take_whole_batches_in_a_new_order_each_epoch(windows, tokens, batch):
    assert max(1, min(tokens // 8, windows)) == batch  # of windows of 8 tokens
    steps = list(batches(windows, batch, 3, 2))
    per_epoch = windows // batch
    assert [len(one) for one in steps] == [batch] * (3 * per_epoch)
    generator = torch.Generator().manual_seed(2)
    for epoch in range(3):
        order = torch.randperm(windows, generator=generator).tolist()
        taken = [index for one in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for index in one]
        assert taken == order[: per_epoch * batch]


# Refit: scales and gains towards full precision


@pytest.mark.parametrize(("share", "follow", "relative"), [(0.25, 0, 0), (1.0, 0, 0), (0.5, 0.75, 0), (0.5, 0.75, 1.0)])
def test_down_is_moved_and_its_scales_fitted_by_the_shares_to_what_the_residual_stream_lacks(
    tiny, share, follow, relative
):
    """Everything that ``solve_block`` needs for the block's last linear, from forward passes of both models."""
    windows = token_windows(tiny.tokenizer.encode(TEXT), 16, 20, "words")
    options = Options(group=None, refit=share, follow=follow, relative=relative)
    item = next(calibration_blocks(tiny.model, windows))
    full = SteppedBlock(tiny.model, copy.deepcopy(item.block), int8=False)
    original = item.linears[-1].module.weight.clone()
    stream = FloatStream(tiny.model, windows, share)
    found, gains, biases = stream.solve_block(item, solve, options)
    assert biases == {}
    norms = {name: parameter for name, parameter in norm_weights(tiny.model).items() if name in gains}
    assert all(torch.equal(norms[name], gain) for name, gain in gains.items())  # changed in place
    ours, states, floats = SteppedBlock(tiny.model, item.block, int8=True), item.hidden, item.hidden
    states = ours.after_attention(states, ours.attention_out(states))
    floats = full.after_attention(floats, full.attention_out(floats))
    x = quantize_dequantize(ours.mlp_out(states)).flatten(0, 1).double()
    f, lacking = full.mlp_out(floats).flatten(0, 1).double(), (floats - states).flatten(0, 1).double()
    weight = original.double()
    counts = floats.flatten(0, 1).double().square().mean(1, keepdim=True) ** (
        -relative / 4
    )  # the root of a token's weight
    own, theirs = x @ weight.T, f @ weight.T + lacking
    x, own, theirs = counts * x, counts * own, counts * theirs
    aim = (1 - share) * own + share * theirs
    ridge = (0.1 * x.square().sum(0).mean()).sqrt()
    above = torch.cat([x, ridge * torch.eye(x.shape[1], dtype=torch.float64)])
    right = torch.cat([(1 - follow) * own + follow * theirs, ridge * weight.T])
    moved = torch.linalg.lstsq(above, right).solution.T
    solution = found[0, "down_proj"]
    before = solve(moved.float(), (x.T @ x / counts.square().sum()).float(), options)  # on the same Hessian
    assert torch.equal(before.trits, solution.trits)
    for row, trits in enumerate(solution.trits[0].double()):
        feature = x @ trits
        exact = (feature @ aim[:, row]) / (feature @ feature)
        pulled = (exact + 0.1 * before.scales[0, row, 0].double()) / 1.1  # one scale per row: the ridge is a tenth
        assert solution.scales[0, row, 0].item() == pytest.approx(max(0.0, pulled.item()), rel=3e-3)


def test_gains_of_the_last_norm_channel_by_channel_within_zero_and_two(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 16, 4, "words")
    stream = FloatStream(tiny.model, windows, 0.5)  # its own states are the embedding's
    full = embed(tiny.model, windows).flatten(0, 1).double()
    factors = torch.linspace(-0.5, 3, 24)
    outputs = full / factors + 0.05 * torch.randn(full.shape, generator=torch.Generator().manual_seed(1))
    gain = norm_weights(tiny.model)["norm"].double()
    eps = tiny.model.config.rms_norm_eps
    mine, other = (x / (x.square().mean(1, keepdim=True) + eps).sqrt() for x in (outputs, full))
    exact = [(mine[:, c] @ other[:, c] / (mine[:, c] @ mine[:, c])).item() for c in range(24)]
    assert min(exact) < 0 < 1 < 2 < max(exact)
    found = stream.last_gains(outputs.float().view(4, 16, 24))
    expected = gain * torch.tensor([min(max(one, 0.0), 2.0) for one in exact], dtype=torch.float64)
    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_hessians_are_means_over_tokens(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 16, 3, "words")
    item = next(calibration_blocks(tiny.model, windows))
    found = block_hessians(tiny.model, item, int8=True)["q_proj"]
    x = SteppedBlock(tiny.model, item.block, True).attention_in(item.hidden)
    total = torch.zeros(24, 24, dtype=torch.float64)
    for token in quantize_dequantize(x).flatten(0, 1).double():
        total += token[:, None] * token
    assert torch.allclose(found.double(), total / 48, rtol=1e-4, atol=1e-6)


# Latent weights


def test_latent_weights_start_beside_their_codes():
    weight = torch.tensor([[0.1, -0.2, 0.45, 0.9, -3.0, 0.4, -0.7, 0.6]])
    solution = rtn(weight, None, RtnOptions(scale="row"))
    scale = solution.scales[0, 0, 0].item()
    trits = solution.trits.clone()
    trits[0, 0] = torch.tensor([0, -1, 0, 1, -1, 1, 0, 1], dtype=torch.int8)
    other = type(solution)(trits, solution.scales, None, "row")
    expected = []
    for w, code in zip(weight[0].tolist(), trits[0, 0].tolist(), strict=True):
        u = w / scale
        expected.append(min(max(u, -0.49), 0.49) if code == 0 else code * min(max(code * u, 0.51), 1.5))
    latent = latent_weight(weight, other)
    assert latent.latent[0].tolist() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(latent.codes(), trits[0].float())
    assert torch.equal(latent.dense(), other.dense())


def test_low_rank_factors_start_in_the_directions_that_lose_most():
    weight = torch.randn(6, 10, generator=torch.Generator().manual_seed(3))
    solution = rtn(weight, None, RtnOptions(scale="row"))
    found = latent_weight(weight, solution, 2)
    error = (weight - solution.dense()).double()
    _, _, right = torch.linalg.svd(error)
    assert not found.left.any()
    assert found.left.shape == (6, 2)
    assert found.right.square().mean(1).tolist() == pytest.approx([1, 1], rel=1e-4)
    span = (found.right.double() / 10**0.5) @ right[:2].T
    assert torch.allclose(span.abs().sort(descending=True).values[:, 0], torch.ones(2, dtype=torch.float64), atol=1e-3)
    moved = found._replace(left=torch.ones(6, 2))
    assert torch.allclose(moved.dense(), solution.dense() + found.right.sum(0), atol=1e-6)
    assert torch.allclose(moved.solution().dense(), solution.dense() + found.right.sum(0), atol=0.02)


def test_gradients_pass_rounding_straight_through_and_hardness_goes_from_latent_to_code():
    weight = torch.tensor([[0.3, -0.8, 0.05, 2.0]])
    latent = latent_weight(weight, rtn(weight, None, RtnOptions(scale="row")))
    scale = latent.scales[0, 0].item()
    u = latent.latent.clone()
    soft = latent._replace(latent=u.requires_grad_(True), hardness=torch.tensor(0.25))
    expected = [0.75 * min(max(x, -1), 1) + 0.25 * c for x, c in zip(u[0].tolist(), latent.codes()[0], strict=True)]
    assert soft.dense()[0].tolist() == pytest.approx([scale * x.item() for x in map(torch.as_tensor, expected)])
    soft.dense().sum().backward()
    assert u.grad[0].tolist() == pytest.approx([scale] * 4)


def test_a_scale_that_went_negative_turns_its_codes():
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(4))
    latent = latent_weight(weight, rtn(weight, None, RtnOptions(group=3)))
    flipped = latent._replace(scales=latent.scales * torch.tensor([-1.0, 1.0, -1.0]))
    assert (flipped.solution().scales >= 0).all()
    assert torch.equal(flipped.solution().dense(), flipped.dense())
    assert torch.equal(flipped.freeze().solution().dense(), flipped.dense())


def test_defaults_of_training():
    assert ModelOptions().model_dump() == {
        "epochs": 12,
        "block_rate": 0.01,
        "distilled": "all",
        "distill_steps": 7500,
        "distill_rate": 0.002,
        "distill_length": 2048,
        "generated_windows": 12288,
        "real_share": 0.25,
        "block_tokens_per_step": 8192,
        "distill_tokens_per_step": 16384,
        "soften": 0.5,
        "distill_soften": 0.5,
        "window": 2,
        "tables": "trained",
        "rank": 0,
        "range_penalty": 0.0,
        "block_steps": None,
        "held_out": 0,
        "table_digits": 0,
        "table_roles": "both",
        "table_rate": 0.004,
    }
    assert BlockOptions().model_dump() == {
        "calibrated": "A16",
        "epochs": 20,
        "block_rate": 0.01,
        "block_tokens_per_step": 8192,
    }
