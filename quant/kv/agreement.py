"""How far the attention outputs of each head are from those of float attention on the same q, K and V."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["HeadAgreement", "WorstHead"]


class WorstHead(NamedTuple):
    """The head whose outputs differ most."""

    layer: int
    head: int
    cosine: float


class HeadAgreement:
    """Cosines between outputs and float outputs, averaged over tokens, head by head."""

    def __init__(self) -> None:
        self._sums: dict[int, Tensor] = {}
        self._counts: dict[int, int] = {}

    def add(self, layer: int, outputs: Tensor, reference: Tensor) -> None:
        """Outputs of one layer, both ``(batch, heads, tokens, d)``."""
        cosines = torch.nn.functional.cosine_similarity(outputs, reference, dim=-1)
        sums = cosines.double().sum((0, 2))
        self._sums[layer] = self._sums.get(layer, 0) + sums
        self._counts[layer] = self._counts.get(layer, 0) + cosines.shape[0] * cosines.shape[2]

    @property
    def cosines(self) -> Tensor:
        """float64 ``(layers, heads)``, on the host."""
        return torch.stack([self._sums[layer].cpu() / self._counts[layer] for layer in sorted(self._sums)])

    @property
    def mean(self) -> float:
        """Over all heads of all layers."""
        return self.cosines.mean().item()

    @property
    def worst(self) -> WorstHead:
        """The smallest of all."""
        found = self.cosines
        layer, head = divmod(int(found.argmin()), found.shape[1])
        return WorstHead(sorted(self._sums)[layer], head, found[layer, head].item())
