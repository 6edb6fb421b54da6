"""Rotated and balanced models: the same logits from other weights, whatever the LLaMA's form."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from hw.errors import InputError
from quant.llama.blocks import block_inputs, block_linears, blocks, decoder_linears, norm_weights, place
from quant.llama.rotation import rotate
from quant.rewrite.equivalent import Exponents, balance, weight_kurtosis
from quant.shapes import ModelShape

VOCABULARY = 40
FORMS = {  # hidden size, heads, key-value heads, tied, biases
    "plain": (32, 4, 4, False, False),
    "tied": (32, 4, 4, True, False),
    "grouped": (48, 6, 2, True, False),
    "one key-value head": (24, 3, 1, False, False),
    "odd": (36, 4, 2, True, False),
    "biases everywhere": (40, 5, 5, True, True),
    "qwen": (56, 7, 1, True, True),
}


def make(form: str):
    """A random model with gains and outliers in some channels, and its shape."""
    hidden, heads, kv_heads, tied, biases = FORMS[form]
    torch.manual_seed(1)
    fields = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": 44,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 8,
        "max_position_embeddings": 32,
        "tie_word_embeddings": tied,
        "attn_implementation": "sdpa",
    }
    if form == "qwen":
        model = Qwen2ForCausalLM(Qwen2Config(**fields))
    else:
        model = LlamaForCausalLM(LlamaConfig(**fields, attention_bias=biases, mlp_bias=biases))
    for name, parameter in model.named_parameters():
        parameter.data.normal_(0, 0.3)
        if name.endswith("norm.weight"):
            parameter.data += 1
    model.model.embed_tokens.weight.data[:, 5] *= 20
    for linear in decoder_linears(model):
        linear.module.weight.data[:, 3] *= 10
    shape = ModelShape(
        name="tiny",
        source="test",
        hidden_size=hidden,
        intermediate_size=44,
        layers=2,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=8,
        vocab_size=VOCABULARY,
        max_positions=32,
        tie_embeddings=tied,
    )
    return place(model, torch.device("cpu"), streamed=False), shape


def tokens(count=3):
    return torch.randint(VOCABULARY, (count, 16), generator=torch.Generator().manual_seed(2))


def silent(*_):
    pass


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", ["rotate", "balance", "smooth", "both"])
def test_logits_stay(form, steps):
    model, shape = make(form)
    before = model(tokens()).logits
    weights = [linear.module.weight.clone() for linear in decoder_linears(model)]
    if steps in ("rotate", "both"):
        rotate(model, shape, 7, silent)
    if steps != "rotate":
        balance(model, shape, tokens(), Exponents(0.5, 0.5 if steps == "smooth" else 0.0), silent)
    assert torch.allclose(model(tokens()).logits, before, rtol=1e-4, atol=1e-4 * before.abs().max())
    for linear, weight in zip(decoder_linears(model), weights, strict=True):
        assert not torch.allclose(linear.module.weight, weight, rtol=0.05)


def test_rotation_spreads_outliers_of_weights_and_of_the_stream():
    model, shape = make("plain")

    def peak_of_the_stream():
        states = model.model.embed_tokens(tokens())
        return (states.abs().amax() / states.square().mean().sqrt()).item()

    kurtosis, peak = weight_kurtosis(model), peak_of_the_stream()
    rotate(model, shape, 7, silent)
    assert weight_kurtosis(model) < 0.7 * kurtosis
    assert peak_of_the_stream() < 0.7 * peak


def test_rotation_leaves_no_gains_and_no_tie():
    model, shape = make("tied")
    rotate(model, shape, 7, silent)
    assert all((gain == 1).all() for gain in norm_weights(model).values())
    assert not model.config.tie_word_embeddings
    assert model.lm_head.weight is not model.model.embed_tokens.weight


def test_balanced_inputs_are_what_the_exponent_leaves():
    """``mean|x|^(1 - beta)`` up to one factor for each input, here without grouped queries."""
    model, shape = make("plain")

    def means(layer):
        with block_inputs(block_linears(blocks(model)[layer], layer)) as seen:
            model(tokens())
        return {kind: x.abs().mean((0, 1)) for kind, x in seen.items()}

    before = means(1)
    balance(model, shape, tokens(), Exponents(0.25), silent)
    after = means(1)
    for kind in ("q_proj", "o_proj", "gate_proj", "down_proj"):
        ratio = after[kind] / before[kind] ** 0.75
        assert torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-3)


def test_smooth_inputs_are_as_large_as_their_columns():
    """At 1/2: ``mean|x / s|`` and ``rms(w s)`` become proportional to each other, channel by channel."""
    model, shape = make("plain")
    balance(model, shape, tokens(), Exponents(0.5, 0.5), silent)
    linears = block_linears(blocks(model)[1], 1)
    with block_inputs(linears) as seen:
        model(tokens())
    columns = {linear.kind: linear.module.weight for linear in linears}
    for kinds in (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",)):
        sizes = torch.cat([columns[kind] for kind in kinds]).square().mean(0).sqrt()
        ratio = seen[kinds[0]].abs().mean((0, 1)) / sizes
        assert torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-3)


def test_balance_survives_a_channel_that_is_always_zero():
    model, shape = make("plain")
    linear = block_linears(blocks(model)[0], 0)[5]
    assert linear.kind == "up_proj"
    linear.module.weight.data[4] = 0
    before = model(tokens()).logits
    balance(model, shape, tokens(), Exponents(1.0), silent)
    assert torch.allclose(model(tokens()).logits, before, rtol=1e-4, atol=1e-4 * before.abs().max())


@pytest.mark.parametrize("step", ["rotate", "balance"])
def test_streamed_weights_keep_their_type(step):
    """And lose about what rounding to that type loses anyway."""
    model, shape = make("grouped")
    exact = model(tokens()).logits
    model = place(model.half(), torch.device("cpu"), streamed=True)
    rounded = place(copy.deepcopy(model), torch.device("cpu"), streamed=False)(tokens()).logits
    if step == "rotate":
        rotate(model, shape, 7, silent)
    else:
        balance(model, shape, tokens(), Exponents(0.5), silent)
    assert {parameter.dtype for parameter in blocks(model)[0].parameters()} == {torch.float16}
    after = place(model, torch.device("cpu"), streamed=False)(tokens()).logits
    assert (after - rounded).norm() < 4 * (rounded - exact).norm()


def test_head_without_hadamard_matrix_is_refused_before_anything_changes():
    model, shape = make("plain")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"^head_dim 6: no Hadamard matrix"):
        rotate(model, shape.model_copy(update={"head_dim": 6}), 0, silent)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
