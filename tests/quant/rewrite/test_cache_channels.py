"""K and V with balanced channels: the same logits, and channels that differ as little as the exponent says."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from quant.kv.formats import parse_kv
from quant.llama.blocks import blocks
from quant.llama.cached import cached_attention
from quant.rewrite.cache_channels import _largest, balance_cache
from tests.quant.rewrite.test_equivalent import FORMS, make, silent, tokens


def cached(model):
    """The largest magnitudes of the second block's rotated K and of its V over all tokens: ``(kv_heads, d)`` each."""
    attention, found = blocks(model)[1].self_attn, {}
    handles = [
        attention.k_proj.register_forward_hook(lambda _, __, y: found.update(k=y)),
        attention.v_proj.register_forward_hook(lambda _, __, y: found.update(v=y)),
    ]
    with torch.no_grad():
        model(tokens())
    for handle in handles:
        handle.remove()
    k, v = (found[name].reshape(-1, attention.config.num_key_value_heads, 8) for name in "kv")
    pairs = (k[..., :4].square() + k[..., 4:].square()).sqrt()  # a turn of RoPE leaves a pair's length alone
    return pairs.amax(0), v.abs().amax(0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_logits_stay_and_channels_come_closer(form, exponent):
    model, shape = make(form)
    blocks(model)[1].self_attn.k_proj.weight.data[2] *= 30
    blocks(model)[1].self_attn.v_proj.weight.data[5] *= 30
    with torch.no_grad():
        before = model(tokens()).logits
    sizes = cached(model)
    balance_cache(model, shape, tokens(), exponent, silent)
    with torch.no_grad():
        assert torch.allclose(model(tokens()).logits, before, rtol=1e-4, atol=1e-4 * before.abs().max())
    for old, new in zip(sizes, cached(model), strict=True):
        ratio = new / old ** (1 - exponent)  # what the exponent leaves, up to one factor for each head
        assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3)


def test_outlier_channels_cost_less_in_digits():
    model, shape = make("grouped")
    blocks(model)[1].self_attn.v_proj.weight.data[5] *= 30

    @torch.no_grad()
    def error():
        plain = model(tokens()).logits
        with cached_attention(model, parse_kv("digits:3")):
            return (model(tokens()).logits - plain).norm()

    before = error()
    balance_cache(model, shape, tokens(), 1.0, silent)
    assert error() < 0.7 * before


def test_a_channel_that_is_always_zero_stays_finite():
    model, shape = make("plain")
    for kind in ("k_proj", "v_proj"):
        getattr(blocks(model)[0].self_attn, kind).weight.data[3] = 0
    blocks(model)[1].self_attn.v_proj.weight.data.zero_()
    balance_cache(model, shape, tokens(), 1.0, silent)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_the_largest_of_all_passes_is_kept():
    """One head of two channels that RoPE turns as a pair: its length is 5, then 13; V's channels by themselves."""
    shape = SimpleNamespace(kv_heads=1, head_dim=2, rotary_dim=None, query_key_norm=None)
    linears = [SimpleNamespace(kind=f"{name}_proj", module=nn.Identity()) for name in "kv"]
    with _largest(SimpleNamespace(linears=linears, block=SimpleNamespace()), shape) as found:
        for k, v in (([3.0, 4.0], [-7.0, 1.0]), ([5.0, 12.0], [2.0, -6.0]), ([1.0, 1.0], [0.0, 0.0])):
            linears[0].module(torch.tensor([k]))
            linears[1].module(torch.tensor([v]))
    assert found["k"].tolist() == [[13, 13]]
    assert found["v"].tolist() == [[7, 6]]
