"""The integer model against the float model with the same trits, and tables against their float originals."""

import numpy as np
import pytest
import torch

from hw.errors import InputError
from hw.token.table import looked_up
from quant.llama.blocks import decoder_linears
from quant.methods.digits import Options, solve
from quant.procedures.student.tables import digit_table
from quant.shapes import Experts
from quant.token.build import _check, token_model
from quant.token.job import TokenFormat
from quant.token.perplexity import float_losses, integer_losses
from quant.token.table import stored_constants, table_in_digits
from tests.quant.tiny import TEXT

FINE = TokenFormat(key_digits=5, value_digits=5, table_digits=5)


def built(tiny, form=FINE, context=32):
    solutions = {}
    with torch.no_grad():
        for linear in decoder_linears(tiny.model):
            solutions[linear.layer, linear.kind] = solve(linear.module.weight, None, Options(digits=4))
            linear.module.weight.copy_(solutions[linear.layer, linear.kind].dense())
    tokens = np.array(tiny.tokenizer.encode(TEXT)[:256]).reshape(8, 32)
    return token_model(tiny, lambda layer, kind: solutions[layer, kind], form, tokens[:2], context), tokens[2:]


def test_losses_are_those_of_the_float_attention_model_with_the_same_trits(tiny):
    model, windows = built(tiny)
    tables = (model.embedding, model.head)
    pairs = [(integer_losses(model, w), float_losses(tiny, w, tables)) for w in windows]
    integer, real = (np.concatenate(side) for side in zip(*pairs, strict=True))
    assert abs(np.expm1((integer - real).mean())) < 0.01  # of the perplexity
    assert np.corrcoef(integer, real)[0, 1] > 0.995
    assert model.flags.saturated == 0
    weight = tiny.model.model.embed_tokens.weight.clone()
    float_losses(tiny, windows[0], tables)
    assert torch.equal(tiny.model.model.embed_tokens.weight, weight)  # put back


def test_a_head_of_its_own_is_used(tiny):
    tiny.model.lm_head.weight = torch.nn.Parameter(torch.randn(40, 24) * 0.3)
    tiny = tiny._replace(shape=tiny.shape.model_copy(update={"tie_embeddings": False}))
    model, windows = built(tiny)
    real = float_losses(tiny, windows[0], (model.embedding, model.head))
    assert abs((integer_losses(model, windows[0]) - real).mean()) < 0.02
    assert model.head is not model.embedding


def test_coarser_keys_and_values_cost_more(tiny):
    state = tiny.model.state_dict()
    kept = {name: value.clone() for name, value in state.items()}
    errors = []
    for digits in (5, 3, 1):
        tiny.model.load_state_dict(kept)
        model, windows = built(tiny, TokenFormat(key_digits=digits, value_digits=digits, table_digits=5))
        real = [float_losses(tiny, w, (model.embedding, model.head)) for w in windows]
        errors.append(
            np.mean([np.abs(integer_losses(model, w) - r).mean() for w, r in zip(windows, real, strict=True)])
        )
    assert errors == sorted(errors)


def test_a_table_is_its_float_original_within_half_a_step():
    table = torch.randn(30, 16) * torch.linspace(0.1, 2, 16) + torch.linspace(-1, 1, 16)
    errors = []
    for digits in (1, 2, 3, 4, 5):
        made = table_in_digits(table, digits, 10)
        errors.append(float(np.abs(made.values() - table.numpy()).mean()))
        assert np.abs(looked_up(np.arange(30), made) / 2**10 - made.values()).max() <= 2.0**-10
    assert errors == sorted(errors, reverse=True)
    with pytest.raises(InputError, match=r"^table digits must be 1 to 5, not 6$"):
        table_in_digits(table, 6, 10)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_a_run_s_own_table_keeps_every_integer(digits):
    table = torch.randn(30, 16) * torch.linspace(0.5, 2, 16) + torch.linspace(-1, 1, 16)
    stored = digit_table(table, digits).stored()
    made = stored_constants(stored, 10)
    assert np.array_equal(made.weights, stored.codes)
    assert np.array_equal(made.rows.value(), stored.rows.astype(np.float64))
    assert np.abs(made.values() - stored.dense()).max() < 2.0**-10  # the mean row in words of 10 fraction bits


@pytest.mark.parametrize(
    ("update", "what"),
    [
        ({"activation": "gelu"}, "activation 'gelu'"),
        ({"sub_norms": True}, "norms before o_proj and down_proj"),
        ({"qkv_bias": True}, "biases"),
        ({"o_bias": True}, "biases"),
        ({"mlp_bias": True}, "biases"),
        ({"query_key_norm": "head"}, "norms of queries and keys"),
        ({"post_norms": True}, "norms behind attention and MLP"),  # Gemma
        ({"pre_norms": False}, "norms behind attention and MLP"),
        ({"post_norms": True, "pre_norms": False}, "norms behind attention and MLP"),  # OLMo 2
        ({"experts": Experts(count=4, per_token=2, size=8)}, "a mixture of experts"),
        ({"attention_softcap": True}, "soft caps"),
        ({"logit_softcap": True}, "soft caps"),
        ({"scaled": ("embedding", "logits")}, "constants that scale embedding and logits"),
        ({"rope_scaling": "llama3"}, "rotary positions scaled by llama3"),
        ({"layers_without_rope": (0,)}, "heads or layers without rotary positions"),
        ({"rotary_dim": 4}, "heads or layers without rotary positions"),
        ({"head_dim": 7}, "heads of 7"),
        ({"sliding_window": 8}, "a window of 8 tokens"),
        ({"sliding_window": 31}, "a window of 31 tokens"),
    ],
)
def test_models_without_kernels_are_refused(tiny, update, what):
    with pytest.raises(InputError, match=rf"^model 'tiny-llama': the whole token has no kernels for {what}; use a"):
        built(tiny._replace(shape=tiny.shape.model_copy(update=update)))


def test_what_a_llama_may_have_is_not_refused(tiny):
    for update, context in (({}, 64), ({"sliding_window": 32}, 32), ({"tie_embeddings": True}, 1)):
        _check(tiny.shape.model_copy(update=update), FINE, context)


def test_a_context_beyond_the_model_is_refused(tiny):
    with pytest.raises(InputError, match=r"^context must be at most the model's 64 positions, not 65$"):
        built(tiny, context=65)
