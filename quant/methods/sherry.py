"""Sherry: three of any four weights are a sign times the group's scale and one is zero, 1.25 bits a weight, trained.

Ref: Sherry, arXiv 2601.07892 (ACL 2026), sections 3.2 and 3.3; code Tencent/AngelSlim, branch ``sherry``,
``Sherry/models/utils_quant.py``, class ``NMQuant``: the smallest magnitude of each four is dropped, the scale is the
mean magnitude of the others over 128 columns, which is the least-squares optimum of both. The code trains so for 10 B
tokens. Differences: the start takes up rounding errors by the Hessian (``feedback``); codes are learned by block
reconstruction and distillation on little text as in ``quant.methods.pt_bitnet_full``, and scales are learned with them;
"Arenas", a residual path through the latent weights whose share falls to zero, is what ``soften`` and
``distill_soften`` do here, weights that harden from latent ones to codes. Columns of a last block of fewer than four
all have signs.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field

from quant.methods.hessian import check_weights, compensate, prepare, spans
from quant.methods.method import ModelOptions
from quant.weights.layouts.three_of_four import BLOCK_COLUMNS
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "keep_three", "kept_scale", "solve"]


class Options(ModelOptions):
    """``group``: columns per scale, a multiple of 4; ``feedback``: later columns take up the errors of earlier ones."""

    rows_apart: ClassVar[bool] = True

    group: Annotated[int, Field(ge=BLOCK_COLUMNS, multiple_of=BLOCK_COLUMNS)] | None = 128
    feedback: bool = True
    damping: Annotated[float, Field(gt=0)] = 0.01


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; ``hessian`` is used for ``feedback`` alone. See ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    k = weight.shape[1]
    if options.feedback:
        work, damped = prepare(weight, hessian, options.damping)
    else:
        check_weights(weight)
        work, damped = weight.detach().float().clone(), None
    trits, scales = torch.zeros_like(work), []
    for start, stop in spans(0, k, options.group or k):
        scale = as_stored(kept_scale(work[:, start:stop]))
        scales.append(scale)
        if damped is None:
            trits[:, start:stop] = keep_three(work[:, start:stop])
            continue

        def nearest(j: int, column: torch.Tensor, scale: torch.Tensor = scale) -> torch.Tensor:
            if j % BLOCK_COLUMNS == 0:  # the block stands as compensated so far; its zero is chosen here
                trits[:, j : j + BLOCK_COLUMNS] = keep_three(work[:, j : j + BLOCK_COLUMNS])
            sign = torch.where(column >= 0, 1.0, -1.0)
            trits[:, j] = sign * trits[:, j].abs()
            return scale * trits[:, j]

        compensate(work, damped.upper, start, stop, nearest)
    kind = "row" if options.group is None else "group"
    scale = torch.stack(scales, 1).half()[None]
    return LinearSolution(trits.to(torch.int8)[None], scale, options.group, kind, layout="three-of-four")


def keep_three(weight: torch.Tensor) -> torch.Tensor:
    """Signs of ``weight`` (n, columns), float; in each four the smallest magnitude, the first of equals, is 0."""
    columns = weight.shape[1]
    signs = torch.where(weight >= 0, 1.0, -1.0)
    blocks = torch.nn.functional.pad(weight.abs(), (0, -columns % BLOCK_COLUMNS), value=-1.0)
    blocks = blocks.unflatten(1, (-1, BLOCK_COLUMNS))
    places = torch.arange(BLOCK_COLUMNS, device=weight.device)
    kept = blocks.argmin(2, keepdim=True) != places
    return signs * kept.flatten(1)[:, :columns]


def kept_scale(weight: torch.Tensor) -> torch.Tensor:
    """Mean magnitude (n,) of the weights that ``keep_three`` keeps, the best scale for these signs."""
    codes = keep_three(weight)
    return (weight * codes).sum(1) / codes.abs().sum(1)
