"""Factors of the channels of K and V, learned with the clipping of the weights that take them up.

A pair of K's channels that RoPE turns together is divided by its factor in the rows of k and multiplied in those of q;
a channel of V is divided in the rows of v and multiplied in the columns of o. Multiplied rows only change what is
stored as their scales; o is rounded after its columns are multiplied.

Ref: the static part of two-dimensional quantization, WKVQuant, arXiv 2402.12065; its shifts are left out: of K they
would cancel in the softmax only without RoPE, of V they would be constants of o's outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from quant.methods.trained.wkvquant import ClippedWeight
from quant.shapes import LINEAR_KINDS, ModelShape
from quant.weights.solution import LinearSolution

__all__ = ["SmoothedBlock", "first_factors"]

_LEAST = 1e-4  # of the largest channel: what one that is always zero counts as


class SmoothedBlock(NamedTuple):
    """The linears of a block, in the order of ``LINEAR_KINDS``, and logarithms of factors.

    ``keys``: ``(kv_heads, d / 2)``, of pairs; ``values``: ``(kv_heads, d)``; ``share``: query heads per key-value head.
    """

    weights: tuple[ClippedWeight, ...]
    keys: Tensor
    values: Tensor
    share: int

    def dense(self) -> tuple[Tensor, ...]:
        """Values (n, k) in the same order, differentiable."""
        return tuple(weight.rounded(*self._factors(kind)) for kind, weight in self._named())

    def solutions(self) -> dict[str, LinearSolution]:
        """What is stored, by kind."""
        with torch.no_grad():
            return {kind: weight.stored(*self._factors(kind)) for kind, weight in self._named()}

    def learned(self, rate: float, factor_rate: float) -> list[tuple[Tensor, float]]:
        """Clipping at one rate, factors at another."""
        clipping = [pair for weight in self.weights for pair in weight.learned(rate)]
        return [*clipping, (self.keys, factor_rate), (self.values, factor_rate)]

    def _named(self) -> list[tuple[str, ClippedWeight]]:
        return list(zip(LINEAR_KINDS, self.weights, strict=True))

    def _factors(self, kind: str) -> tuple[Tensor | None, Tensor | None]:
        """What the rows (n, 1) and the columns (k,) of a linear are multiplied by; None: nothing."""
        if kind in ("q_proj", "k_proj"):
            pairs = torch.cat((self.keys, self.keys), -1)  # RoPE turns channel i with i + d / 2
            logs = -pairs if kind == "k_proj" else pairs.repeat_interleave(self.share, 0)
            return logs.flatten().exp()[:, None], None
        if kind == "v_proj":
            return (-self.values).flatten().exp()[:, None], None
        if kind == "o_proj":
            return None, self.values.repeat_interleave(self.share, 0).flatten().exp()
        return None, None


def first_factors(keys: Tensor, values: Tensor, shape: ModelShape, exponent: float) -> tuple[Tensor, Tensor]:
    """Logarithms to start from: of the largest magnitude to the power ``exponent``, a head's mean taken off.

    ``keys``, ``values``: outputs of k and v before RoPE, ``(tokens, kv_heads * d)``.
    """
    heads = (-1, shape.kv_heads, shape.head_dim)
    pairs = torch.hypot(*keys.reshape(heads).chunk(2, -1))  # a pair's length, which RoPE leaves alone
    return _logs(pairs.amax(0), exponent), _logs(values.reshape(heads).abs().amax(0), exponent)


def _logs(largest: Tensor, exponent: float) -> Tensor:
    floored = largest.clamp_min(_LEAST * float(largest.max()) or 1.0)
    logs = exponent * floored.log()
    return logs - logs.mean(-1, keepdim=True)
