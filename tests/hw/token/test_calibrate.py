"""Claims: the samples' largest value of up uses the multiplier's bits but an octave and the sign."""

import numpy as np
import pytest

from hw.token.attention import AttentionFormat, KvCache
from hw.token.calibrate import calibrated
from hw.token.decoder import attention_output, gate_and_up, heads
from hw.token.formats import FACTOR_BITS
from hw.token.table import looked_up
from tests.hw.token.random_models import random_model


@pytest.mark.parametrize("seed", [1, 7, 12])
def test_up_has_an_octave_to_spare(seed):
    model, form = random_model(seed), AttentionFormat()
    x = looked_up(np.arange(11), model.embedding)[None]
    layer, _ = calibrated(model.layers[0], x, model.rotary, form, 24)
    query, key, value = heads(x[0], layer, model.rotary[:11], form)
    cache = KvCache.empty(key.shape[1], 11, key.shape[2])
    cache.append(key, value, form)
    behind = x[0] + attention_output(query, layer, cache, form)
    largest = int(np.abs(gate_and_up(behind, layer)[1]).max())
    assert 2 ** (FACTOR_BITS - 3) * 0.9 < largest < 2 ** (FACTOR_BITS - 2) * 1.1
