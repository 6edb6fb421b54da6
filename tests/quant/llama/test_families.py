"""Every family that transformers knows and we load: the same function, steps that add up, weights that write back."""

import pytest
import torch
from safetensors.torch import load_file

from quant.llama.adapt import PackedLinear, file_state
from quant.llama.blocks import block_linears, block_norms, blocks, embed, run_block
from quant.llama.loading import load_model
from quant.llama.self_test import stepped_logits
from quant.llama.stepped_block import SteppedBlock
from quant.procedures.latent import check_blocks
from quant.shapes import LINEAR_KINDS
from quant.source import resolve
from tests.quant.families import FAMILIES, save_family

TOKENS = torch.randint(0, 256, (2, 80), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("family") / request.param.replace(" ", "-")
    return save_family(request.param, folder), folder


@pytest.mark.parametrize("streamed", [False, True])
def test_stepped_logits_equal_transformers_own_forward_pass(saved, streamed):
    model, folder = saved
    model.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = model(TOKENS).logits
    loaded = load_model(resolve(str(folder)), streamed=streamed)
    assert (stepped_logits(loaded.model, TOKENS) - wanted).norm() < 1e-4 * wanted.norm()


def test_shape_counts_what_transformers_counts(saved):
    model, folder = saved
    shape = resolve(str(folder)).shape
    assert shape.total_parameters == model.num_parameters()
    config = model.config
    types = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    windows = [getattr(config, "sliding_window", None) if kind == "sliding_attention" else None for kind in types]
    assert [shape.window(layer) for layer in range(shape.layers)] == windows


def test_steps_through_a_block_give_its_output(saved):
    loaded = load_model(resolve(str(saved[1])))
    hidden = embed(loaded.model, TOKENS)
    for block in blocks(loaded.model):
        steps = SteppedBlock(loaded.model, block, int8=False)
        state = steps.after_attention(hidden, steps.attention_out(hidden))
        output = steps.after_mlp(state, steps.mlp_out(state))
        wanted = run_block(loaded.model, block, hidden)
        assert torch.allclose(output, wanted, atol=1e-5 * wanted.abs().max().item())
        hidden = wanted


def test_seven_linears_of_the_sizes_that_the_shape_says(saved):
    loaded = load_model(resolve(str(saved[1])))
    for layer, block in enumerate(blocks(loaded.model)):
        found = block_linears(block, layer)
        assert [linear.kind for linear in found] == list(LINEAR_KINDS)
        assert all(tuple(linear.module.weight.shape) == loaded.shape.linear(linear.kind) for linear in found)


def test_gains_of_norms_are_what_the_norms_multiply_by(saved):
    loaded = load_model(resolve(str(saved[1])))
    block = blocks(loaded.model)[1]
    hidden = embed(loaded.model, TOKENS)
    normed = hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + loaded.shape.rms_norm_eps)
    steps = SteppedBlock(loaded.model, block, int8=False)
    gains = list(block_norms(block, 1).values())
    assert len(gains) == (2 if loaded.shape.pre_norms else 0)
    for gain, step in zip(gains, (steps.attention_in, steps.mlp_in), strict=False):
        assert torch.allclose(step(hidden), normed * gain, atol=1e-5)


def test_adapted_modules_write_back_the_file(saved):
    stored = load_file(saved[1] / "model.safetensors")
    state = file_state(load_model(resolve(str(saved[1]))).model)
    assert set(state) == set(stored)
    for name, value in stored.items():
        assert torch.allclose(state[name], value, atol=1e-6), name


def test_methods_that_train_whole_blocks_take_plain_blocks_alone(saved):
    loaded = load_model(resolve(str(saved[1])))
    plain = {"llama", "llama-with-biases", "qwen2"}
    if saved[1].name in plain:
        check_blocks(loaded, 64)
    else:
        with pytest.raises(ValueError, match=r"(must be a block of LLaMA's form|windows of at most the \d+ tokens)"):
            check_blocks(loaded, 64)


@pytest.mark.parametrize("biased", [False, True])
def test_a_packed_linear_is_its_parts_behind_each_other(biased):
    packed = torch.nn.Linear(5, 9, bias=biased)
    parts = PackedLinear(packed, {"q_proj": 4, "k_proj": 3, "v_proj": 2})
    x = torch.randn(2, 7, 5)
    with torch.no_grad():
        assert torch.allclose(parts(x), packed(x), atol=1e-6)
        for kind, rows in {"q_proj": slice(0, 4), "k_proj": slice(4, 7), "v_proj": slice(7, 9)}.items():
            part = parts.get_submodule(kind)
            assert (part.in_features, part.out_features) == (5, rows.stop - rows.start)
            assert torch.equal(part.weight, packed.weight[rows])
            assert torch.equal(part.bias, packed.bias[rows]) if biased else part.bias is None
            assert not any(value.requires_grad for value in part.parameters())
