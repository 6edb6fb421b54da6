"""RoSTE: a rotation at those sites where it lowers the error of rounding, then all weights trained straight through.

Ref: Wei et al., RoSTE: An Efficient Quantization-Aware Supervised Fine-Tuning Approach for Large Language Models, ICML
2025, arXiv 2502.09003v3, sections 3 and 4. The lower level chooses per site between no rotation and a randomized
Hadamard matrix by ``E = ||Q(W) - W||^2 + mean over tokens of ||Q(x) - x||^2``, once, from two passes (all or none
rotated); the upper level trains the rotated weights, gradients passing Q as if it were the identity.

Differences: ternary weights (TWN's threshold and scale of every group, taken anew in every step) and int8 activations
in place of 4 bits; sites are those that weights take up, the residual stream (one decision) and the values of each
layer's heads: rotating the input of down, or q and k behind RoPE, takes adders at run time that the array lacks
(``quant.rewrite.online_rotation``; q and k in the cache are the choice of ``--kv``); K and V stay float while training;
linears alone are trained, on the calibration text. Each linear counts for one site: v and o for the values of their
layer, all others for the stream.
"""

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field

from hw.division import ceil_divide
from quant.methods.hessian import check_weights
from quant.methods.method import TunedOptions
from quant.methods.twn import TWN_THRESHOLD
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "StraightWeight", "learned_weight", "ternary"]


class Options(TunedOptions):
    """``rotated``: sites, "chosen" by the error as published, "none" or "all"; ``draw``: seed of the matrices.

    ``activations``: weight of the activations' error in the choice, 1 as published; ``group``: columns per scale,
    None = the row; ``rate`` is of the weights themselves.
    """

    rotated: Literal["chosen", "none", "all"] = "chosen"
    draw: Annotated[int, Field(ge=0, lt=2**63 - 1)] = 0
    activations: Annotated[float, Field(ge=0)] = 1.0
    group: Annotated[int, Field(ge=1)] | None = 128
    rate: Annotated[float, Field(gt=0)] = 1e-4


class StraightWeight(NamedTuple):
    """``latent`` float32 (n, k): what is trained; its value is rounded, its gradient is the value's."""

    latent: torch.Tensor
    group: int | None

    def dense(self) -> torch.Tensor:
        """Its value (n, k)."""
        latent = self.latent.detach()
        codes, scales = ternary(latent, self.group)
        k = latent.shape[1]
        value = scales.repeat_interleave(self.group or k, 1)[:, :k] * codes
        return self.latent + (value - latent)

    def learned(self, rate: float) -> list[tuple[torch.Tensor, float]]:
        """The latent weight."""
        return [(self.latent, rate)]

    def solution(self) -> LinearSolution:
        """Trits and scales."""
        codes, scales = ternary(self.latent.detach(), self.group)
        return LinearSolution(
            codes.to(torch.int8)[None], scales.half()[None], self.group, "row" if self.group is None else "group"
        )


def learned_weight(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> StraightWeight:
    """Where ``quant.procedures.tuned.tune`` starts: the weight itself. ``hessian`` is not used.

    Raises:
        InputError: weights that are not finite.
    """
    check_weights(weight)
    return StraightWeight(weight.detach().float().clone(), options.group)


def ternary(weight: torch.Tensor, group: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """TWN's trits (n, k), as float, and scales (n, groups), rounded to float16.

    Of each group the threshold is 0.75 of the mean magnitude, the scale the mean magnitude of what lies beyond it.
    """
    n, k = weight.shape
    width = group or k
    groups = ceil_divide(k, width)
    padded = torch.nn.functional.pad(weight, (0, groups * width - k)).view(n, groups, width)
    magnitude = padded.abs()
    counts = torch.full((groups,), float(width), device=weight.device)
    counts[-1] = k - width * (groups - 1)
    beyond = magnitude > (TWN_THRESHOLD * magnitude.sum(2) / counts)[..., None]
    scales = as_stored((magnitude * beyond).sum(2) / beyond.sum(2).clamp_min(1))
    return (padded.sign() * beyond).flatten(1)[:, :k], scales
