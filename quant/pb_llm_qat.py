"""PB-LLM with training: salient weights frozen at 8 bits, the signs of all others trained, the scale always optimal.

Ref: Shang et al., arXiv 2310.00034, sections 3.3 and 3.4; code hahnyuan/PB-LLM ``quant/outlier_quantizer.py``: latent
weights with a straight-through sign, one scale per tensor, recomputed from them in each step and not differentiated, a
cosine schedule. For fixed signs b of the weights w the optimal scale is ``w.b / b.b = mean|w|``. Differences: the loss
is the linear's own output error over the calibration inputs, through the Hessian, where the official code trains the
language model for thousands of steps; the 8-bit weights have a proper minimum (the official code rounds it to an
integer, which clips); the best state met is kept; scales are float16.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field

from quant.hessian import output_error, prepare
from quant.pb_llm import EightBit, salient_weights
from quant.registry import MethodOptions
from quant.solution import LinearSolution, Outliers, as_stored

__all__ = ["Options", "solve"]


class Options(MethodOptions):
    """``learning_rate`` of Adam at its start, in first scales; ``scale``: one per tensor (official) or per row."""

    salient_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    metric: Literal["hessian", "magnitude"] = "hessian"
    scale: Literal["tensor", "row"] = "tensor"
    steps: Annotated[int, Field(ge=0)] = 200
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    damping: Annotated[float, Field(gt=0)] = 0.01


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; see ``quant.registry.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    saliency = work.abs()
    if options.metric == "hessian":
        saliency = work.square() / damped.upper.diagonal().square()
    salient = salient_weights(saliency, options.salient_fraction)
    eight_bit = EightBit(work)
    codes = torch.where(salient, eight_bit.codes(work.T).T, 0.0)
    outliers = Outliers(salient, codes.to(torch.uint8), eight_bit.scale.half(), eight_bit.zero.to(torch.uint8))

    signs, scale = _train(work, damped.matrix, salient, outliers.dense(), options)
    return LinearSolution(
        trits=torch.where(salient, 0.0, signs).to(torch.int8)[None],
        scales=scale.half()[None],
        group=None,
        scale_kind=options.scale,
        layout="signs",
        outliers=outliers,
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
