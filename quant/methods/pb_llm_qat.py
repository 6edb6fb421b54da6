"""PB-LLM with training: salient weights frozen at 8 bits, the signs of all others trained, the scale always optimal.

Ref: Shang et al., arXiv 2310.00034, sections 3.3 and 3.4; code hahnyuan/PB-LLM ``quant/outlier_quantizer.py``: latent
weights with a straight-through sign, one scale per tensor, recomputed from them in each step and not differentiated,
a cosine schedule. For fixed signs b of the weights w the optimal scale is ``w.b / b.b = mean|w|``. Differences: the
official code trains the language model for thousands of steps; here, for the objective "linear", the loss is the
linear's own output error over the calibration inputs, through the Hessian, and the best state met is kept; for
"block" it is the transformer block's (``quant.procedures.blockwise``, a constant rate). The 8-bit weights have a
proper minimum (the official code rounds it to an integer, which clips); scales are float16.
"""

import math
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field

from quant.methods.hessian import DampedHessian, output_error, prepare
from quant.methods.method import ObjectiveOptions
from quant.methods.pb_llm import EightBit, salient_weights
from quant.weights.side_data import Outliers
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "SignWeight", "learned_weight", "solve"]


class Options(ObjectiveOptions):
    """``scale``: one per tensor (official) or per row; rates in first scales.

    ``steps`` of Adam, at ``learning_rate`` in the beginning, are for the objective "linear".
    """

    salient_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    metric: Literal["hessian", "magnitude"] = "hessian"
    scale: Literal["tensor", "row"] = "tensor"
    steps: Annotated[int, Field(ge=0)] = 200
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    block_rate: Annotated[float, Field(gt=0)] = 0.002
    damping: Annotated[float, Field(gt=0)] = 0.01


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; see ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    frozen = _frozen(work, damped, options)
    return _solution(frozen, *_train(work, damped.matrix, frozen.mask, frozen.dense(), options), options.scale)


class SignWeight(NamedTuple):
    """A weight whose signs are learned through ``latent`` (n, k), except where it is ``salient``.

    ``frozen``: values of the salient weights, which ``codes``, ``steps`` and ``zeros`` store as in ``Outliers``;
    ``kind``: see ``Options.scale``.
    """

    latent: torch.Tensor
    salient: torch.Tensor
    frozen: torch.Tensor
    codes: torch.Tensor
    steps: torch.Tensor
    zeros: torch.Tensor
    kind: str

    def _scale(self) -> torch.Tensor:
        return as_stored(_optimal_scale(self.latent.detach(), self.salient, self.kind))

    def _signs(self) -> torch.Tensor:
        return torch.where(self.latent.detach() >= 0, 1.0, -1.0)

    def dense(self) -> torch.Tensor:
        """Value (n, k); gradients pass the sign as if it were the latent weight, and none reaches the scale."""
        through = self._signs() + self.latent - self.latent.detach()
        return torch.where(self.salient, self.frozen, self._scale() * through)

    def learned(self, rate: float) -> list[tuple[torch.Tensor, float]]:
        """The latent weights, whose rate is in scales."""
        return [(self.latent, rate * self._scale().mean().item())]

    def solution(self) -> LinearSolution:
        """Signs, scales and outliers."""
        outliers = Outliers(self.salient, self.codes, self.steps, self.zeros)
        return _solution(outliers, self._signs(), self._scale(), self.kind)


def learned_weight(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> SignWeight:
    """Where ``quant.procedures.blockwise`` starts.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    frozen = _frozen(work, damped, options)
    return SignWeight(work, frozen.mask, frozen.dense(), frozen.codes, frozen.scale, frozen.zero, options.scale)


def _frozen(work: torch.Tensor, damped: DampedHessian, options: Options) -> Outliers:
    """The salient weights at 8 bits."""
    saliency = work.abs()
    if options.metric == "hessian":
        saliency = work.square() / damped.upper.diagonal().square()
    salient = salient_weights(saliency, options.salient_fraction)
    eight_bit = EightBit(work)
    codes = torch.where(salient, eight_bit.codes(work.T).T, 0.0)
    return Outliers(salient, codes.to(torch.uint8), eight_bit.scale.half(), eight_bit.zero.to(torch.uint8))


def _solution(frozen: Outliers, signs: torch.Tensor, scale: torch.Tensor, kind: str) -> LinearSolution:
    return LinearSolution(
        trits=torch.where(frozen.mask, 0.0, signs).to(torch.int8)[None],
        scales=scale.half()[None],
        group=None,
        scale_kind=kind,
        layout="signs",
        outliers=frozen,
    )


def _train(
    work: torch.Tensor, hessian: torch.Tensor, salient: torch.Tensor, frozen: torch.Tensor, options: Options
) -> tuple[torch.Tensor, torch.Tensor]:
    """Signs (n, k) and scale (n, 1) with the least output error met in ``steps`` of Adam on the latent weights."""
    latent = work.clone()
    rate = options.learning_rate * _optimal_scale(latent, salient, options.scale).mean().item()
    optimizer = torch.optim.Adam([latent], lr=rate)
    energy = output_error(work, hessian).sum().clamp_min(1e-30)
    best = (torch.inf, latent, latent[:, :1])
    for step in range(options.steps + 1):
        scale = as_stored(_optimal_scale(latent, salient, options.scale))
        signs = torch.where(latent >= 0, 1.0, -1.0)
        difference = torch.where(salient, frozen, scale * signs) - work
        pull = difference @ hessian
        error = (pull * difference).sum().item()
        if error < best[0]:
            best = (error, signs, scale)
        if step < options.steps:
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / options.steps)) / 2
            latent.grad = torch.where(salient, 0.0, pull * scale * (2 / energy))  # through the sign as if it were w
            optimizer.step()
    return best[1], best[2]


def _optimal_scale(latent: torch.Tensor, salient: torch.Tensor, kind: str) -> torch.Tensor:
    """Mean magnitude of the binary weights, of the whole tensor or of each row: (n, 1)."""
    magnitude = latent.abs() * ~salient
    if kind == "tensor":
        return (magnitude.sum() / (~salient).sum().clamp_min(1)).expand(len(latent), 1).clone()
    return magnitude.sum(1, keepdim=True) / (~salient).sum(1, keepdim=True).clamp_min(1)
