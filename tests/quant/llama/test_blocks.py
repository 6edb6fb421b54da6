"""Loading and walking a LLaMA: blocks add up to the model, int8 twins agree bit for bit, damaged weights are named."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hw.errors import InputError
from hw.golden import quantize_tokens as golden_quantize_tokens
from quant.llama.blocks import (
    InputsTaken,
    block_inputs,
    block_linears,
    blocks,
    decoder_linears,
    embed,
    int8_activations,
    logits_of,
    norm_weights,
    quantize_dequantize,
    quantize_tokens,
    run_block,
    working_block,
)
from quant.llama.loading import load_model
from quant.source import resolve
from tests.quant.tiny import TEXT


def test_blocks_one_after_another_equal_the_whole_model(tiny):
    tokens = torch.tensor(tiny.tokenizer.encode(TEXT)[:60]).view(2, 30)
    hidden = embed(tiny.model, tokens)
    for block in blocks(tiny.model):
        hidden = run_block(tiny.model, block, hidden)
    assert torch.allclose(logits_of(tiny.model, hidden), tiny.model(tokens).logits, atol=1e-5)


def test_linears_come_in_the_order_of_a_token(tiny):
    names = [linear.name for linear in decoder_linears(tiny.model)]
    assert names[:2] == ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj"]
    assert names[-1] == "model.layers.1.mlp.down_proj"
    assert len(names) == 14


@pytest.mark.parametrize("scale", [1e-30, 1.0, 3e4])
def test_int8_tokens_equal_the_golden_model_bit_for_bit(scale):
    x = torch.randn(50, 33, generator=torch.Generator().manual_seed(0)) * scale
    x[3] = 0
    x[4, :5] = torch.tensor([127.0, 0.5, 1.5, 2.5, -0.5])  # scale 1 (or so): ties
    q, s = quantize_tokens(x)
    golden_q, golden_s = golden_quantize_tokens(x.numpy())
    assert np.array_equal(q.numpy(), golden_q)
    assert np.array_equal(s.numpy(), golden_s)


def test_fake_quantized_values_are_the_integers_times_the_scale():
    x = torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
    q, s = quantize_tokens(x)
    assert torch.equal(quantize_dequantize(x), q.float() * s[:, None])


def test_int8_hooks_act_inside_and_are_gone_after(tiny):
    tokens = torch.tensor([list(range(1, 20))])
    before = tiny.model(tokens).logits
    with int8_activations(tiny.model):
        inside = tiny.model(tokens).logits
    assert not torch.equal(inside, before)
    assert torch.equal(tiny.model(tokens).logits, before)


def test_captured_inputs_are_those_of_each_linear(tiny):
    block = blocks(tiny.model)[0]
    hidden = embed(tiny.model, torch.tensor([[1, 2, 3]]))
    with block_inputs(block_linears(block, 0)) as seen:
        run_block(tiny.model, block, hidden)
    assert torch.equal(seen["q_proj"], seen["v_proj"])
    assert torch.allclose(seen["q_proj"], block.input_layernorm(hidden))
    assert seen["down_proj"].shape == (1, 3, 40)


def test_norms_are_two_per_layer_and_the_last(tiny):
    assert len(norm_weights(tiny.model)) == 5
    assert {"norm", "layers.1.post_attention_layernorm"} <= set(norm_weights(tiny.model))


def test_nan_weight_is_named(tiny_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    tensors = load_file(copy / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][2, 3] = float("nan")
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"layers\.1\.mlp\.up_proj\.weight' must be finite"):
        load_model(resolve(str(copy)))


def test_missing_tokenizer_and_unknown_device_are_refused(tiny_folder, tmp_path):
    with pytest.raises(InputError, match="not 'cdua'"):
        load_model(resolve(str(tiny_folder)), "cdua")
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(InputError, match="tokenizer"):
        load_model(resolve(str(copy)))


def test_streamed_blocks_wait_on_the_host_and_work_in_float32(tiny_folder, tiny):
    streamed = load_model(resolve(str(tiny_folder)), streamed=True).model.to(torch.bfloat16)
    before = blocks(streamed)[1].self_attn.q_proj.weight
    block = working_block(streamed, 1)
    assert block.self_attn.q_proj.weight.dtype == torch.float32
    assert torch.equal(block.self_attn.q_proj.weight, before.float())
    block.self_attn.q_proj.weight.zero_()
    assert before.abs().sum() > 0
    assert working_block(tiny.model, 1) is blocks(tiny.model)[1]


def test_pass_ends_once_the_last_wanted_input_is_taken(tiny):
    block = blocks(tiny.model)[0]
    hidden = embed(tiny.model, torch.tensor([[1, 2, 3]]))
    with block_inputs(block_linears(block, 0)) as whole:
        run_block(tiny.model, block, hidden)
    with block_inputs(block_linears(block, 0), last="gate_proj") as seen, pytest.raises(InputsTaken):
        run_block(tiny.model, block, hidden)
    assert list(seen) == ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj"]
    assert all(torch.equal(value, whole[kind]) for kind, value in seen.items())
