"""The whole token against Python's integers, one value at a time; many tokens at once against one at a time."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.errors import InputError
from hw.token.attention import AttentionFormat
from hw.token.silu import SIGMOIDS
from hw.token.table import greedy
from tests.hw.token import scalar
from tests.hw.token.random_models import random_model

FORMS = st.builds(AttentionFormat, st.integers(1, 5), st.integers(1, 5), st.booleans(), st.integers(1, 9))
SHAPES = st.sampled_from(
    [
        {"heads": 4, "kv_heads": 2, "head_dim": 8},
        {"heads": 3, "kv_heads": 1, "head_dim": 6},
        {"heads": 2, "kv_heads": 2, "head_dim": 2},
    ]
)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 999), FORMS, SHAPES, st.integers(1, 3), st.integers(1, 3), st.integers(1, 7))
def test_every_integer_of_a_token_equals_the_scalar_reference(seed, form, shape, digits, parts, length):
    model = random_model(seed, form=form, digits=digits, parts=parts, **shape)
    tokens = np.random.default_rng(seed + 1).integers(0, 11, length)
    past = [[[] for _ in range(model.kv_heads)] for _ in model.layers]
    expected = [scalar.token(int(t), model, past, SIGMOIDS.tolist()) for t in tokens]
    state = model.state()
    hidden = model.hidden(tokens, state)
    assert hidden.tolist() == [x for x, _ in expected]
    assert model.logits(hidden)[0].tolist() == [logits for _, logits in expected]
    for cache, heads in zip(state.caches, past, strict=True):
        kept = cache.keys[:, :length].tolist(), cache.values[:, :length].tolist()
        assert kept == tuple([[token[i] for token in head] for head in heads] for i in (0, 2))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), FORMS, st.lists(st.integers(1, 8), min_size=1, max_size=3))
def test_prefill_in_any_chunks_leaves_the_integers_of_one_token_at_a_time(seed, form, chunks):
    model = random_model(seed, form=form)
    tokens = np.random.default_rng(seed).integers(0, 11, sum(chunks))
    one, many = model.state(), model.state()
    alone = np.concatenate([model.hidden(tokens[i : i + 1], one) for i in range(len(tokens))])
    ends = np.cumsum([0, *chunks])
    together = np.concatenate([model.hidden(tokens[a:b], many) for a, b in pairwise(ends)])
    assert together.tolist() == alone.tolist()
    for first, second in zip(one.caches, many.caches, strict=True):
        assert first.key_scales.tolist() == second.key_scales.tolist()
        assert first.values.tolist() == second.values.tolist()


def test_a_generated_token_is_the_next_prompt():
    model = random_model(5)
    written = list(model.generate([3, 1], 6, model.state()))
    tokens = [3, 1, *written]
    logits, _ = model.logits(model.hidden(tokens, model.state()))
    assert greedy(logits)[1:-1].tolist() == written


def test_values_of_calibrated_size_raise_no_flag_and_larger_ones_do():
    model = random_model(7)
    model.hidden(np.arange(11), model.state())
    assert model.flags.saturated == 0
    layer = model.layers[0]
    model.layers[0] = layer._replace(up_fraction=layer.up_fraction, attention=layer.attention._replace(fold=0))
    model.hidden(np.arange(11), model.state())
    assert model.flags.saturated > 0


def test_what_does_not_fit_is_refused_in_words():
    model = random_model(1)
    with pytest.raises(InputError, match=r"^token ids must be 0 to 10, not 3 to 11$"):
        model.hidden([3, 11], model.state())
    with pytest.raises(InputError, match=r"^context must be at most 4 tokens, not 5$"):
        model.hidden([0] * 5, model.state(4))
    with pytest.raises(InputError, match=r"^context must be 1 to 24 tokens, not 25$"):
        model.state(25)


def test_the_least_of_a_cache_is_one_token_and_no_id_may_be_negative():
    model = random_model(3)
    assert model.hidden([1], model.state(1)).shape[0] == 1
    with pytest.raises(InputError, match="context must be 1 to"):
        model.state(0)
    with pytest.raises(InputError, match="token ids must be 0 to 10, not -1 to 4"):
        model.hidden([4, -1], model.state())
