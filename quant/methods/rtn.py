"""Absmean round-to-nearest: ``t = clip(round(w / mean|w|), -1, 1)``, without calibration.

Ref: Ma et al., The Era of 1-bit LLMs (BitNet b1.58), arXiv 2402.17764, section 2. The paper has one scale per
tensor; here the mean may also be taken per row or per group of columns.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from quant.methods.hessian import spans
from quant.methods.method import MethodOptions
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "solve"]


class Options(MethodOptions):
    """``scale``: what one absmean is taken over; ``group``: columns per scale for "group"."""

    scale: Literal["tensor", "row", "group"] = "group"
    group: Annotated[int, Field(ge=1)] = 128


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; ``hessian`` is not used. See ``quant.methods.method.Solver``."""
    n, k = weight.shape
    weight = weight.float()
    if options.scale == "tensor":
        scales = weight.abs().mean().expand(n, 1)
    elif options.scale == "row":
        scales = weight.abs().mean(1, keepdim=True)
    else:
        pieces = [weight[:, start:stop].abs().mean(1) for start, stop in spans(0, k, options.group)]
        scales = torch.stack(pieces, 1)
    scales = as_stored(scales)
    group = options.group if options.scale == "group" else None
    per_weight = scales[:, torch.arange(k, device=weight.device) // (group or k)]
    trits = torch.round(weight / torch.where(per_weight > 0, per_weight, torch.inf)).clamp(-1, 1)
    return LinearSolution(trits.to(torch.int8)[None], scales.half()[None], group, options.scale)
