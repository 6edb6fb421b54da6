"""Causal attention that finds the past of K and V quantized and the newest token in full precision, for training.

Ref: Yue et al., WKVQuant, arXiv 2402.12065: past-only quantization, and the dynamic part of its two-dimensional
quantization, a scale and a minimum per group of a token's channels. The values are those of ``quant.kv.attention`` with
the format ``wkvquant``; gradients pass the rounding straight through.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from quant.kv.quantizers import grouped

__all__ = ["PastOnly"]


class PastOnly(NamedTuple):
    """Attention as a function; ``bits`` of an element, ``group``: channels per scale, which divide a head."""

    bits: int
    group: int

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Outputs ``(batch, heads, tokens, d)``, of operands of that shape."""
        past_keys, past_values = self._stored(keys), self._stored(values)
        tokens = queries.shape[-2]
        newest = torch.eye(tokens, dtype=torch.bool, device=queries.device)
        own = (queries * keys).sum(-1, keepdim=True)  # each query by its own token's key
        scores = torch.where(newest, own, queries @ past_keys.mT) * queries.shape[-1] ** -0.5
        later = torch.ones_like(newest).triu(1)
        chances = scores.masked_fill(later, -torch.inf).softmax(-1)
        mine = chances.diagonal(dim1=-2, dim2=-1)[..., None]
        return torch.where(newest, 0.0, chances) @ past_values + mine * values

    def _stored(self, x: Tensor) -> Tensor:
        value = grouped(x.detach().float(), self.bits, self.group)
        return x + (value - x).detach()
