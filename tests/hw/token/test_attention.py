"""Softmax by blocks: its table exhaustively, its bounds, and attention as a whole against float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.errors import InputError
from hw.token.attention import AttentionFormat, KvCache, attended, attention_constants
from hw.token.formats import Flags
from hw.token.hadamard import transformed
from hw.token.scales import Scale, StoredScales
from hw.token.softmax import FIRST_MAXIMUM, HIDDEN, POWERS, exponentials, scores, weighted

FRACTION = 10


def test_every_power_of_the_table():
    assert POWERS.tolist() == [round(2**15 * 2 ** (i / 256)) for i in range(256)]


def test_powers_over_their_whole_range_err_by_their_bound():
    z = np.arange(-20 * 256, 1)[None]
    found = exponentials(z, np.full(1, FIRST_MAXIMUM), np.zeros(1, np.int64))
    wanted = 2.0 ** (15 + z / 256)
    assert found.maximum.tolist() == [0]
    assert np.all(np.abs(found.powers - wanted) <= wanted * 2.0**-16 + 1)
    assert found.powers[0, -1] == 1 << 15
    assert found.powers[0, : 4 * 256].max() == 0  # below 2**-16


@given(st.lists(st.integers(-30000, 30000), min_size=1, max_size=12), st.integers(1, 12))
def test_blocks_give_the_total_of_one_softmax(scores, size):
    maximum, total = np.full(1, FIRST_MAXIMUM), np.zeros(1, np.int64)
    for first in range(0, len(scores), size):
        block = exponentials(np.array([scores[first : first + size]]), maximum, total)
        maximum, total = block.maximum, block.total
    highest = -(-max(scores) // 256)
    wanted = sum(2.0 ** (15 + s / 256 - highest) for s in scores)
    assert maximum.tolist() == [highest]
    assert abs(total[0] - wanted) <= wanted * 2.0**-15 + 2 * len(scores)


def test_a_hidden_block_changes_nothing():
    maximum, total = np.array([3, FIRST_MAXIMUM]), np.array([77, 0])
    block = exponentials(np.full((2, 4), HIDDEN), maximum, total)
    assert (block.maximum.tolist(), block.total.tolist(), block.shift.tolist()) == ([3, FIRST_MAXIMUM], [77, 0], [0, 0])
    assert block.powers.max() == 0
    p, scale = weighted(block.powers, StoredScales.from_words(np.full(4, 0x8000), 18), 20)
    assert p.max() == 0
    assert scale.mantissa.tolist() == [0, 0]


def test_the_maximum_is_rounded_up_and_rescales_by_a_shift():
    first = exponentials(np.array([[-300, -512]]), np.array([FIRST_MAXIMUM]), np.array([0]))
    assert first.maximum.tolist() == [-1]  # ceil(-300 / 256)
    second = exponentials(np.array([[513, 0]]), first.maximum, first.total)
    assert second.maximum.tolist() == [3]
    assert second.shift.tolist() == [4]
    assert second.total[0] == (first.total[0] >> 4) + second.powers.sum()


def attention_case(seed, form, heads=4, kv_heads=2, d=16, tokens=40):
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(0, s, (tokens, h, d)) for s, h in ((1.5, heads), (1.5, kv_heads), (1.0, kv_heads)))
    v *= np.exp(rng.normal(0, 0.7, (tokens, kv_heads, 1)))  # tokens of different size
    words = [np.rint(x * 2**FRACTION).astype(np.int64) for x in (q, k, v)]
    turn = transformed if form.rotate else lambda x: x
    cache = KvCache.empty(kv_heads, tokens, d)
    cache.append(turn(words[1]), words[2], form)
    exponents = [int(StoredScales.from_words(s, 18).exponent.max()) for s in (cache.key_scales, cache.value_scales)]
    constants = attention_constants(form, d, tokens, FRACTION, *exponents)
    flags = Flags()
    found = attended(turn(words[0]), cache, form, constants, flags) / 2.0**constants.output_fraction
    assert flags.saturated == 0
    kk, vv = (x.repeat(heads // kv_heads, axis=1) for x in (k, v))
    scores = np.einsum("ihd,jhd->hij", q, kk) / d**0.5
    scores = np.where(np.tril(np.ones((tokens, tokens), bool)), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return found, np.einsum("hij,jhd->ihd", p / p.sum(-1, keepdims=True), vv)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.booleans(), st.sampled_from([1, 7, 16, 64]))
def test_attention_is_the_float_one_within_its_quantization(seed, rotate, block):
    found, wanted = attention_case(seed, AttentionFormat(5, 5, rotate, block))
    error = np.sqrt(((found - wanted) ** 2).mean() / (wanted**2).mean())
    assert error < 0.02  # int8 q, 243 levels of K and V, P in 127 steps of a block's largest


def test_more_digits_err_less():
    errors = []
    for digits in (2, 3, 4, 5):
        found, wanted = attention_case(3, AttentionFormat(digits, digits, True, 16))
        errors.append(np.sqrt(((found - wanted) ** 2).mean() / (wanted**2).mean()))
    assert errors == sorted(errors, reverse=True)


def test_tokens_behind_the_context_have_no_effect():
    form, rng = AttentionFormat(4, 3, True, 8), np.random.default_rng(0)
    words = rng.integers(-2000, 2000, (3, 5, 2, 8))
    constants = attention_constants(form, 8, 16, FRACTION, 20, 20)
    clean, dirty = (KvCache.empty(2, 16, 8) for _ in range(2))
    dirty.keys += 40
    dirty.values -= 13
    dirty.key_scales += 0xFFFF
    dirty.value_scales += 0xFFFF
    for cache in (clean, dirty):
        cache.append(words[0], words[1], form)
    query = words[2].repeat(2, axis=1)
    assert attended(query, dirty, form, constants).tolist() == attended(query, clean, form, constants).tolist()


def test_a_token_that_is_not_seen_raises_no_flag():
    keys = StoredScales.from_words(np.array([0x8000, 0xFFFF]), 18)
    flags, query = Flags(), Scale(np.array([2**15]), np.array([-15]))
    z = scores(np.array([[100, 2**23 - 1]]), keys, query, np.array([[True, False]]), 20, 0, flags)
    assert (z[0, 1], flags.saturated) == (HIDDEN, 0)
    scores(np.array([[100, 2**23 - 1]]), keys, query, np.array([[True, True]]), 20, 0, flags)
    assert flags.saturated > 0


def test_formats_that_leave_the_accumulator_are_refused():
    with pytest.raises(InputError, match=r"^values over blocks of 1652 tokens: sums of 1652 products of 4 digits"):
        attention_constants(AttentionFormat(4, 4, True, 1652), 64, 2048, FRACTION, 20, 20)
    with pytest.raises(InputError, match=r"^block must be at least 1 token, not 0$"):
        attention_constants(AttentionFormat(4, 4, True, 0), 64, 2048, FRACTION, 20, 20)
