"""Claims: reconstruction and distillation lower what they are meant to lower; killed jobs go on to the same bits."""

import math

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import block_linears, blocks, embed
from quant.llama.generate import generate_windows
from quant.llama.loading import load_model
from quant.methods.rtn import Options as RtnOptions
from quant.methods.rtn import solve as rtn
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.distill import Corpus, distill
from quant.procedures.latent import BlockTensors, block_function, block_tensors, latent_weight, rotary_tables
from quant.procedures.reconstruct import TrainingPlan, hardness, learning_rate, reconstruct
from quant.procedures.student.tables import Tables
from quant.quantizer import apply_checkpoint, put_beside
from quant.source import resolve
from quant.weights.checkpoint import Checkpoint, join_checkpoints
from tests.quant.tiny import TEXT, save_tiny_llama, work_on

OPTIONS = {
    "group": 16, "epochs": 3, "distill_steps": 8, "distill_length": 16, "generated_windows": 6,
    "distill_tokens_per_step": 128, "block_tokens_per_step": 128, "soften": 0, "distill_soften": 0, "window": 1,
    "tables": "kept",
}  # fmt: skip


def rounded(block, rank=0) -> BlockTensors:
    plain = block_tensors(block)
    weights = tuple(
        latent_weight(linear.module.weight, rtn(linear.module.weight, None, RtnOptions(group=16)), rank)
        for linear in block_linears(block, 0)
    )
    return BlockTensors(weights, plain.biases, plain.attention_norm.clone(), plain.mlp_norm.clone())


def quiet(*arguments):
    pass


def test_rate_warms_up_and_falls_to_zero():
    rates = [learning_rate(step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert rates[-1] < 1e-3
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_weights_harden_over_the_first_share_of_the_steps():
    assert [hardness(step, 8, 0.5) for step in range(8)] == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert hardness(0, 8, 0) == 1


@pytest.mark.parametrize("soften", [0, 0.5])
def test_reconstruction_brings_a_block_nearer_to_the_float_block(tiny, soften):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    tables, hidden = rotary_tables(tiny.model, 32), embed(tiny.model, windows)
    block = blocks(tiny.model)[0]
    float_block, function = (block_function(tiny.model, int8, False) for int8 in (False, True))
    targets = float_block(hidden, *tables, block_tensors(block))

    def error(tensors):
        return ((function(hidden, *tables, tensors) - targets).square().sum(-1) / targets.square().sum(-1)).mean()

    tensors = rounded(block)
    before = error(tensors)
    reconstruct(function, tables, [tensors], hidden, targets, TrainingPlan(15, 0.02, 128, 0, soften), "block")
    assert error(tensors) < 0.6 * before
    assert not tensors.attention_norm.requires_grad


def test_steps_of_a_reconstruction_may_end_within_an_epoch(tiny):
    """40 windows, 4 a step: 10 steps are an epoch, and as many by either option are the same training."""
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    tables, hidden = rotary_tables(tiny.model, 32), embed(tiny.model, windows)
    function = block_function(tiny.model, True, False)

    def trained(**plan):
        tensors = rounded(blocks(tiny.model)[0])
        reconstruct(function, tables, [tensors], hidden, hidden + 0.1, TrainingPlan(2, 0.02, 128, 0, **plan), "block")
        return tensors.weights[0].latent

    assert torch.equal(trained(), trained(block_steps=20))
    assert not torch.equal(trained(), trained(block_steps=15))


def test_low_rank_correction_brings_a_block_nearer_to_the_float_block(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    tables, hidden = rotary_tables(tiny.model, 32), embed(tiny.model, windows)
    block = blocks(tiny.model)[0]
    float_block, function = (block_function(tiny.model, int8, False) for int8 in (False, True))
    targets = float_block(hidden, *tables, block_tensors(block))
    plan = TrainingPlan(8, 0.02, 128, 0)
    plain, corrected = (
        reconstruct(function, tables, [rounded(block, rank)], hidden, targets, plan, "block") for rank in (0, 4)
    )
    assert corrected < 0.9 * plain


def test_window_that_slides_comes_nearer_to_the_last_block_than_block_after_block(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    tables, hidden = rotary_tables(tiny.model, 32), embed(tiny.model, windows)
    float_block, function = (block_function(tiny.model, int8, False) for int8 in (False, True))
    plain = [block_tensors(block) for block in blocks(tiny.model)]
    middle = float_block(hidden, *tables, plain[0])
    last = float_block(middle, *tables, plain[1])

    def error(first_window, first_targets):
        first, second = (rounded(block) for block in blocks(tiny.model))
        plan = TrainingPlan(6, 0.02, 128, 0)
        reconstruct(function, tables, [first, second][:first_window], hidden, first_targets, plan, "first")
        inputs = function(hidden, *tables, first)
        return reconstruct(function, tables, [second], inputs, last, plan, "second")

    assert error(2, last) < 0.9 * error(1, middle)


def test_exploding_reconstruction_names_the_block(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 8, "words")
    hidden = embed(tiny.model, windows)
    function = block_function(tiny.model, True, False)
    with pytest.raises(InputError, match=r"layers\.0: the reconstruction error must be finite.*'block_rate'"):
        reconstruct(
            function, rotary_tables(tiny.model, 32), [rounded(blocks(tiny.model)[0])], hidden,
            torch.full_like(hidden, math.nan), TrainingPlan(1, 0.01, 128, 0), "layers.0",
        )  # fmt: skip


def test_distillation_brings_the_model_nearer_to_its_teacher(tiny):
    real = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    student = [rounded(block) for block in blocks(tiny.model)]
    teacher = [block_tensors(block) for block in blocks(tiny.model)]
    norm = tiny.model.model.norm.weight.detach().clone()

    def run(steps, rate):
        return distill(
            tiny.model, teacher, student, norm, Corpus(real, real[:4], 0.5), steps, TrainingPlan(1, rate, 256, 0), quiet
        )

    before = run(1, 1e-9)
    run(60, 0.01)
    assert run(1, 1e-9) < 0.5 * before


def test_penalty_narrows_the_ranges_of_activations(tiny):
    real = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    teacher = [block_tensors(block) for block in blocks(tiny.model)]
    tables, function = rotary_tables(tiny.model, 32), block_function(tiny.model, True, False, ranges=True)

    def ranges(penalty):
        student = [rounded(block) for block in blocks(tiny.model)]
        norm = tiny.model.model.norm.weight.detach().clone()
        plan = TrainingPlan(1, 0.01, 256, 0, range_penalty=penalty)
        distill(tiny.model, teacher, student, norm, Corpus(real, real[:4], 0.5), 30, plan, quiet)
        hidden, first = function(embed(tiny.model, real), *tables, student[0])
        return first + function(hidden, *tables, student[1])[1]

    assert ranges(1.0) < 0.9 * ranges(0.0)


def test_generated_windows_start_with_the_slice_and_repeat_by_seed(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 64, 10, "words")
    one, again, other = (generate_windows(tiny.model, windows, 5, 60, seed, quiet) for seed in (0, 0, 1))
    assert one.shape == (5, 60)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert set(one[:, 0].tolist()) <= set(windows.flatten().tolist())


@pytest.fixture(scope="module")
def three_blocks(tmp_path_factory):
    return load_model(resolve(str(save_tiny_llama(tmp_path_factory.mktemp("models") / "three", layers=3))))


CHANGES = [
    {"distilled": "scales"},
    {"soften": 0.5},
    {"distill_soften": 0.5},
    {"window": 2},
    {"window": 3, "distilled": "scales"},
    {"attention_group": 8, "group": 24},
    {"range_penalty": 0.1},
    {"range_penalty": 0.1, "distilled": "scales"},
    {"rank": 2},
    {"rank": 1, "distilled": "scales"},
    {"tables": "trained"},
    {"tables": "trained", "distilled": "scales"},
    {"block_steps": 2},
    {"table_digits": 1},
    {"table_digits": 2, "table_roles": "head", "distilled": "scales"},
]


def quantized(loaded, folder, changes, progress=quiet) -> bytes:
    """The whole checkpoint of full strength."""
    windows = token_windows(loaded.tokenizer.encode(TEXT), 32, 12, "words")
    work = work_on(loaded, "pt-bitnet-full", windows, folder, progress, **OPTIONS | changes)
    join_checkpoints(folder / "all.safetensors", *carry(work))
    return (folder / "all.safetensors").read_bytes()


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_every_option_changes_what_comes_out(three_blocks, tmp_path, changes):
    assert quantized(three_blocks, tmp_path / "with", changes) != quantized(three_blocks, tmp_path / "without", {})


@pytest.mark.parametrize("changes", [{}, *CHANGES], ids=str)
def test_killed_reconstruction_goes_on_to_the_same_bits(three_blocks, tmp_path, changes):
    def run(folder, progress=quiet):
        return quantized(three_blocks, tmp_path / folder, changes, progress)

    def kill(stage, done, total):
        if stage == "reconstruct" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("killed", kill)
    assert run("killed") == run("whole")


@pytest.mark.parametrize("tables", ["kept", "trained"])
def test_teacher_stays_as_it_was(tiny, tmp_path, tables):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    carry(work_on(tiny, "pt-bitnet-full", windows, tmp_path, **(OPTIONS | {"tables": tables})))
    assert all(torch.equal(value, before[name]) for name, value in tiny.model.state_dict().items())


def test_trained_tables_bring_the_model_nearer_to_its_teacher_than_kept_ones(tiny):
    real = token_windows(tiny.tokenizer.encode(TEXT), 32, 40, "words")
    teacher = [block_tensors(block) for block in blocks(tiny.model)]

    def loss(tables):
        student = [rounded(block) for block in blocks(tiny.model)]
        norm = tiny.model.model.norm.weight.detach().clone()
        corpus, plan = Corpus(real, real[:4], 0.5), TrainingPlan(1, 0.01, 256, 0)
        return distill(tiny.model, teacher, student, norm, corpus, 60, plan, quiet, tables)

    start = tiny.model.lm_head.weight.detach()
    tied, apart = start.clone(), Tables(start.clone(), start.clone())
    assert loss(Tables(tied, tied)) < 0.95 * loss(None)
    loss(apart)
    for table in (tied, *apart):
        moved = (table - start).square().mean().sqrt() / start.square().mean().sqrt()
        assert 0.02 < moved < 1
        assert not table.requires_grad
    assert not torch.equal(apart.embedding, apart.head)


@pytest.mark.parametrize("tied", [True, False])
def test_trained_tables_are_stored_as_float16_and_put_into_the_model(tmp_path, tied):
    source = resolve(str(save_tiny_llama(tmp_path / "model", tied=tied)))
    loaded = load_model(source)
    before = loaded.model.lm_head.weight.detach().clone()
    quantized(loaded, tmp_path / "run", {"tables": "trained"})
    checkpoint = Checkpoint(tmp_path / "run" / "all.safetensors")
    names = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    assert sorted(checkpoint.tables()) == names
    assert torch.equal(loaded.model.lm_head.weight, before)
    apply_checkpoint(loaded, checkpoint)
    own = loaded.model.model.embed_tokens.weight, loaded.model.lm_head.weight
    for name, weight in zip((names[0], names[-1]), own, strict=True):
        stored = checkpoint.tables()[name]
        assert stored.dtype == np.float16
        assert np.array_equal(weight.detach().numpy(), stored.astype(np.float32))
    assert not torch.equal(loaded.model.lm_head.weight, before)
    quantized(load_model(source), tmp_path / "kept", {})
    assert Checkpoint(tmp_path / "kept" / "all.safetensors").tables() == {}


def test_tables_of_another_size_are_refused(tiny, tmp_path):
    path = tmp_path / "all.safetensors"
    join_checkpoints(path, [], {}, {"embed_tokens": np.zeros((3, 24))})
    with pytest.raises(InputError, match=r"'embed_tokens' of shape \(3, 24\) is none of the model's"):
        put_beside(tiny, Checkpoint(path))


def test_tables_that_the_model_scales_are_not_trained(tiny, tmp_path):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    scaled = tiny._replace(shape=tiny.shape.model_copy(update={"scaled": ("embedding",)}))
    work = work_on(scaled, "pt-bitnet-full", windows, tmp_path, **(OPTIONS | {"tables": "trained"}))
    with pytest.raises(InputError, match="option tables must be 'kept'"):
        carry(work)
