"""Factors of the inputs of a block's linears, learned with the weights and folded into what makes these inputs.

The inputs of q, k and v and those of gate and up are multiplied by the gains of a norm, those of down by the rows of
up, those of o by the rows of v: so a factor per input channel costs nothing, neither bits nor work, where the linears
that read an input share it. A row of v serves several query heads; its factor is theirs together.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from quant.procedures.latent import BlockTensors
from quant.shapes import LINEAR_KINDS

__all__ = ["InputFactors", "first_factors"]

_PLACE = {kind: place for place, kind in enumerate(LINEAR_KINDS)}


class InputFactors(NamedTuple):
    """Of the inputs of attention, of o by the rows of v, of the MLP, and of down by the rows of up.

    ``free``: which of each are learned; the others stay 1.
    """

    factors: tuple[Tensor, Tensor, Tensor, Tensor]
    free: tuple[Tensor, Tensor, Tensor, Tensor]

    def learned(self, rate: float) -> list[tuple[Tensor, float]]:
        """All factors."""
        return [(factor, rate) for factor in self.factors]

    def folded(self, tensors: BlockTensors) -> BlockTensors:
        """The block whose norms, v and up have taken the factors up, differentiable in them."""
        attention, v_rows, mlp, up_rows = (
            torch.where(free, factor, 1.0) for factor, free in zip(self.factors, self.free, strict=True)
        )
        weights = list(tensors.weights)
        for kind, rows in (("v_proj", v_rows), ("up_proj", up_rows)):
            weights[_PLACE[kind]] = weights[_PLACE[kind]].scaled_rows(rows)
        return tensors._replace(
            weights=tuple(weights),
            attention_norm=tensors.attention_norm * attention,
            mlp_norm=tensors.mlp_norm * mlp,
        )


def first_factors(tensors: BlockTensors, head_dim: int) -> InputFactors:
    """Ones; columns that a linear keeps apart (``kept``, bool (k,)) and rows with a bias stay so."""
    free = {kind: ~weight.kept for kind, weight in zip(LINEAR_KINDS, tensors.weights, strict=True)}
    kv_heads = len(tensors.weights[_PLACE["v_proj"]].signs) // head_dim
    v_rows = free["o_proj"].view(kv_heads, -1, head_dim).all(1).flatten()
    v_free, up_free = (tensors.biases[_PLACE[kind]] is None for kind in ("v_proj", "up_proj"))
    places = (free["q_proj"], v_rows & v_free, free["gate_proj"], free["down_proj"] & up_free)
    return InputFactors(tuple(torch.ones(len(one), device=one.device) for one in places), places)
