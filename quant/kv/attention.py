"""Attention over a quantized cache in one pass over a window: every query finds what stepping token by token leaves it.

What a query finds quantized are always the first tokens, and how they were rounded does not depend on the query. So
scores and outputs are those of the quantized K and V, but for a strip of the newest tokens that are still in full
precision: none, the token itself, or a residual.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hw.formats import INT8_LIMIT
from quant.kv.formats import KvFormat
from quant.kv.quantizers import grouped, integers, stored, transform

__all__ = ["attend"]

_ROWS = 512  # queries at once: their scores of all heads are held together


class _Cache(NamedTuple):
    """Quantized K and V, ``(batch, kv_heads, tokens, d)``.

    ``value_scales``: ``(batch, kv_heads, tokens)`` where V is integers whose scales are folded into the probabilities
    before these are rounded; None where V is real and probabilities stay real.
    """

    keys: Tensor
    values: Tensor
    value_scales: Tensor | None


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    visible: Tensor,
    scale: float,
    form: KvFormat,
    softcap: float | None = None,
) -> Tensor:
    """Outputs of all heads: queries ``(batch, heads, tokens, d)``, K and V ``(batch, kv_heads, tokens, d)``.

    ``visible``: bool ``(1 or batch, 1, tokens, tokens)``, whether a query (row) sees a token; never one after itself.
    ``scale``: of the scores; ``softcap``: scores become ``softcap * tanh(score / softcap)``. float32 like the inputs.
    """
    batch, heads, tokens, d = queries.shape
    kv_heads = keys.shape[1]
    if form.rotate:
        queries, keys = transform(queries), transform(keys)
    cache = _cache(keys, values, form)
    queries = queries.view(batch, kv_heads, heads // kv_heads, tokens, d)
    rounded = queries
    if form.limits:
        q, steps = integers(queries, INT8_LIMIT)
        rounded = q * steps[..., None]
    rounded, queries = rounded * scale, queries * scale
    outputs = []
    for first in range(0, tokens, _ROWS):
        end = min(first + _ROWS, tokens)
        rows = slice(first, end)
        scores = _products(rounded[..., rows, :], cache.keys[:, :, :end])
        newest = form.keys_quantized(first)
        if newest < end:
            exact = _products(queries[..., rows, :], keys[:, :, newest:end])
            strip = scores[..., newest:]
            strip.copy_(torch.where(_in_full(form.keys_quantized, first, end, newest, exact), exact, strip))
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        scores.masked_fill_(~visible[:, :, None, rows, :end], -torch.inf)
        chances = scores.softmax(-1)
        outputs.append(_outputs(chances, cache, values, form, first, end))
    return torch.cat(outputs, -2).view(batch, heads, tokens, d)


def _cache(keys: Tensor, values: Tensor, form: KvFormat) -> _Cache:
    """Every token as the cache holds it once it is quantized; ``keys`` come rotated."""
    if form.limits:
        (k, k_scale), (v, v_scale) = (integers(x, limit) for x, limit in zip((keys, values), form.limits, strict=True))
        return _Cache(k * stored(k_scale)[..., None], v, stored(v_scale))
    group = form.group or keys.shape[-1]
    quantized = grouped(values, form.bits, group)
    if not form.residual:
        return _Cache(grouped(keys, form.bits, group), quantized, None)
    whole = keys.shape[-2] // group * group  # tokens beyond are in nobody's past as quantized ones
    by_channel = grouped(keys[..., :whole, :].mT, form.bits, group).mT
    return _Cache(torch.cat((by_channel, keys[..., whole:, :]), -2), quantized, None)


def _outputs(chances: Tensor, cache: _Cache, values: Tensor, form: KvFormat, first: int, end: int) -> Tensor:
    """What queries ``first`` to ``end`` sum up: ``(batch, kv_heads, group, end - first, end)`` -> the same by d."""
    newest, recent = form.values_quantized(first), None
    if newest < end:
        in_full = _in_full(form.values_quantized, first, end, newest, chances)
        recent = chances[..., newest:] * in_full
        chances[..., newest:] *= ~in_full
    if cache.value_scales is None:
        output = _sums(chances, cache.values[:, :, :end])
    else:
        weights = chances * cache.value_scales[:, :, None, None, :end]
        step = weights.amax(-1, keepdim=True) / form.levels
        weights = torch.round(weights.div_(torch.where(step > 0, step, 1.0)))
        output = _sums(weights, cache.values[:, :, :end]) * step
    return output if recent is None else output + _sums(recent, values[:, :, newest:end])


def _in_full(quantized: Callable[[Tensor], Tensor], first: int, end: int, newest: int, like: Tensor) -> Tensor:
    """Which tokens from ``newest`` each query finds in full precision: bool ``(end - first, end - newest)``."""
    counts = quantized(torch.arange(first, end, device=like.device))
    return torch.arange(newest, end, device=like.device) >= counts[:, None]


def _products(queries: Tensor, keys: Tensor) -> Tensor:
    """``(b, h, g, t, d)`` by ``(b, h, n, d)`` -> ``(b, h, g, t, n)``."""
    group, rows = queries.shape[2:4]
    return (queries.flatten(2, 3) @ keys.mT).unflatten(2, (group, rows))


def _sums(weights: Tensor, values: Tensor) -> Tensor:
    """``(b, h, g, t, n)`` by ``(b, h, n, d)`` -> ``(b, h, g, t, d)``."""
    group, rows = weights.shape[2:4]
    return (weights.flatten(2, 3) @ values).unflatten(2, (group, rows))
