"""Shifts that depend on how large a layer's values get, found by running the layer itself on sample tokens.

Three numbers of a layer are measured, each with an octave to spare: the largest exponents of the stored scales of K and
of V, and the largest magnitude of up. A value beyond saturates and raises the flag.
"""

import numpy as np

from hw.token.attention import AttentionFormat, KvCache, attention_constants
from hw.token.decoder import FRACTION, Layer, attention_output, gate_and_up, heads, mlp_output
from hw.token.formats import FACTOR_BITS, WORD_BITS, bit_length, saturated
from hw.token.linear import with_fraction
from hw.token.scales import KV_BIAS, StoredScales

__all__ = ["calibrated"]

_COARSE_FRACTION = 2  # of up while its range is measured: up to 16 383


def calibrated(
    layer: Layer, x: np.ndarray, rotary: np.ndarray, form: AttentionFormat, context: int
) -> tuple[Layer, np.ndarray]:
    """The layer with constants for values as large as those of the samples, and what it makes of them.

    ``x``: residual words of sample windows ``(windows, length, n)``, each from position 0; ``context``: the longest
    that the layer will meet. ``layer.attention`` and ``layer.up_fraction`` are replaced; ``layer.up`` must be of
    ``layer.up_fraction`` fraction bits.
    """
    windows = []
    for window in x:
        query, key, value = heads(window, layer, rotary[: len(window)], form)
        cache = KvCache.empty(key.shape[1], len(window), key.shape[2])
        cache.append(key, value, form)
        windows.append((query, cache))
    largest_key, largest_value = (
        max(int(StoredScales.from_words(words, KV_BIAS).exponent.max()) for words in scales)
        for scales in ([c.key_scales for _, c in windows], [c.value_scales for _, c in windows])
    )
    constants = attention_constants(form, key.shape[2], context, FRACTION, largest_key, largest_value)
    layer = layer._replace(attention=constants)
    added = [attention_output(query, layer, cache, form) for query, cache in windows]
    x = saturated(x + np.stack(added), WORD_BITS)
    coarse = layer._replace(up=with_fraction(layer.up, _COARSE_FRACTION - layer.up_fraction))
    largest = max(int(np.abs(gate_and_up(window, coarse)[1]).max()) for window in x)
    fraction = FACTOR_BITS - 2 - int(bit_length(np.int64(largest))) + _COARSE_FRACTION
    up = with_fraction(layer.up, fraction - layer.up_fraction)
    layer = layer._replace(up=up, up_fraction=fraction)
    added = [mlp_output(*gate_and_up(window, layer), layer) for window in x]
    return layer, saturated(x + np.stack(added), WORD_BITS)
