"""A whole decoder layer in integers: norm, q k v, RoPE, WHT, attention, output, norm, gate and up, SiLU, down.

The residual stream and every vector of a branch are fixed-point words; each linear sees int8 activations.
"""

from typing import NamedTuple

import numpy as np

from hw.formats import INT8_LIMIT
from hw.token.attention import AttentionConstants, AttentionFormat, KvCache, attended
from hw.token.formats import FACTOR_BITS, OPERAND_BITS, WORD_BITS, Flags, saturated
from hw.token.hadamard import transformed
from hw.token.linear import LinearPart, outputs
from hw.token.norm import Norm, normalized
from hw.token.quantize import quantized
from hw.token.rope import rotated
from hw.token.silu import gated

__all__ = ["FRACTION", "Layer", "Parts", "attention_output", "decoded", "gate_and_up", "heads", "mlp_output"]

FRACTION = 10  # fraction bits of the residual stream, q, k, v, gate and h

Parts = tuple[LinearPart, ...]


class Layer(NamedTuple):
    """Constants and weights of one layer; ``up_fraction``: fraction bits of up's words, 17 bits wide."""

    input_norm: Norm
    q: Parts
    k: Parts
    v: Parts
    o: Parts
    post_norm: Norm
    gate: Parts
    up: Parts
    down: Parts
    attention: AttentionConstants
    up_fraction: int


def decoded(
    x: np.ndarray, layer: Layer, cache: KvCache, rotary: np.ndarray, form: AttentionFormat, flags: Flags | None = None
) -> np.ndarray:
    """Residual words ``(m, n)`` of m new tokens through one layer; their K and V are appended to ``cache``.

    ``rotary``: rows ``(m, 2, d / 2)`` of the RoPE table at the tokens' positions.
    """
    query, key, value = heads(x, layer, rotary, form, flags)
    cache.append(key, value, form, flags)
    x = saturated(x + attention_output(query, layer, cache, form, flags), WORD_BITS, flags)
    return saturated(x + mlp_output(*gate_and_up(x, layer, flags), layer, flags), WORD_BITS, flags)


def heads(
    x: np.ndarray, layer: Layer, rotary: np.ndarray, form: AttentionFormat, flags: Flags | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words of q, k (both rotated) and v of residual words ``(m, n)``: each ``(m, its heads, d)``."""
    q8, scale = normalized(x, layer.input_norm)
    d = 2 * rotary.shape[-1]
    query, key, value = (
        outputs(q8, scale, parts, OPERAND_BITS, flags).reshape(len(x), -1, d) for parts in (layer.q, layer.k, layer.v)
    )
    query, key = rotated(query, rotary), rotated(key, rotary)
    return (transformed(query), transformed(key), value) if form.rotate else (query, key, value)


def attention_output(
    query: np.ndarray, layer: Layer, cache: KvCache, form: AttentionFormat, flags: Flags | None = None
) -> np.ndarray:
    """What attention adds to the residual stream: words ``(m, n)``."""
    o = attended(query, cache, form, layer.attention, flags)
    q8, scale = quantized(o.reshape(len(o), -1), INT8_LIMIT)
    return outputs(q8, scale.times_power(-layer.attention.output_fraction), layer.o, WORD_BITS, flags)


def gate_and_up(x: np.ndarray, layer: Layer, flags: Flags | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Words ``(m, intermediate)`` of gate and of up."""
    q8, scale = normalized(x, layer.post_norm)
    return outputs(q8, scale, layer.gate, OPERAND_BITS, flags), outputs(q8, scale, layer.up, FACTOR_BITS, flags)


def mlp_output(gate: np.ndarray, up: np.ndarray, layer: Layer, flags: Flags | None = None) -> np.ndarray:
    """What the MLP adds to the residual stream: words ``(m, n)``."""
    q8, scale = quantized(gated(gate, up, FRACTION, layer.up_fraction, flags), INT8_LIMIT)
    return outputs(q8, scale.times_power(-FRACTION), layer.down, WORD_BITS, flags)
