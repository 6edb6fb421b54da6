"""PT2-LLM: asymmetric ternary blocks, fitted in turns, aligned with the activations, columns reordered by similarity.

Ref: arXiv 2510.03267 (no official code): iterative ternary fitting (section 3.2), activation-aware grid alignment
(section 3.3, eq. 12), structural similarity-based reordering (section 3.4), then GPTQ's compensation. Differences: eq.
13 of the paper puts ``t * t`` where eq. 12 has ``t C t'``; eq. 12 is solved here. Offset and scale are rounded to
float16 before errors are taken. ``feedback="column"`` also lets the columns of a block take up each other's errors,
with the fitted grid fixed; the paper fits the block as a whole.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from quant.methods.hessian import compensate, prepare, push_error
from quant.methods.method import WeightOnlyOptions
from quant.methods.twn import TWN_THRESHOLD
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "align_grid", "fit_ternary", "most_similar", "solve"]

_MOST_FITS = 50  # iterations of the ternary fit; about 10 are needed


class Options(WeightOnlyOptions):
    """``reorder``: choose each block's columns by similarity (costs a permutation of the inputs)."""

    group: Annotated[int, Field(ge=1)] = 128
    reorder: bool = True
    align: bool = True
    feedback: Literal["block", "column"] = "block"
    damping: Annotated[float, Field(gt=0)] = 0.01


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; see ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    inverse = damped.upper.double().T @ damped.upper.double()
    remaining = torch.arange(work.shape[1], device=work.device)
    order, trits, scales, offsets = [], [], [], []
    while len(remaining):
        width = min(options.group, len(remaining))
        picked = most_similar(work, width) if options.reorder else torch.arange(width, device=work.device)
        rest = torch.ones(len(remaining), dtype=torch.bool, device=work.device)
        rest[picked] = False
        arranged = torch.cat([picked, rest.nonzero().flatten()])
        work, inverse, remaining = work[:, arranged], inverse[arranged][:, arranged], remaining[arranged]

        block = work[:, :width].clone()
        levels, scale, offset = fit_ternary(block)
        if options.align:
            columns = remaining[:width]
            scale, offset = align_grid(block, levels, scale, offset, hessian[columns][:, columns].float())
        scale, offset = as_stored(scale), as_stored(offset)

        # Rows of the Cholesky factor that belong to this block, the others' conditional inverse after it.
        corner = torch.linalg.cholesky(inverse[:width, :width], upper=True)
        panel = torch.linalg.solve_triangular(corner.T, inverse[:width], upper=False)
        if options.feedback == "block":
            push_error(work, panel.float(), 0, width, scale[:, None] * levels + offset[:, None])
        else:
            levels = _feed_back(work, panel.float(), scale, offset, width)
        order.append(remaining[:width])
        trits.append(levels.to(torch.int8))
        scales.append(scale)
        offsets.append(offset)
        across = panel[:, width:]
        inverse = inverse[width:, width:] - across.T @ across
        work, remaining = work[:, width:], remaining[width:]
    return LinearSolution(
        trits=torch.cat(trits, 1)[None],
        scales=torch.stack(scales, 1).half()[None],
        group=options.group,
        scale_kind="group",
        offsets=torch.stack(offsets, 1).half(),
        permutation=torch.cat(order) if options.reorder else None,
    )


def most_similar(weight: torch.Tensor, count: int) -> torch.Tensor:
    """Ascending indices of the ``count`` columns of ``weight`` (n, k) with the largest cosine to the mean column."""
    mean = weight.mean(1)
    cosine = (mean @ weight) / weight.norm(dim=0).clamp_min(torch.finfo(torch.float32).tiny)
    return cosine.topk(count).indices.sort().values


def fit_ternary(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Levels (n, columns) in -1..1, scale and offset (n,) with least ``|w - scale * level - offset|**2``, in turns.

    Starts from the row's mean and TWN's threshold; alternates the closed form of scale and offset with rounding. The
    error never grows.
    """
    columns = weight.shape[1]
    offset = weight.mean(1)
    centred = weight - offset[:, None]
    levels = torch.sign(centred) * (centred.abs() > TWN_THRESHOLD * centred.abs().mean(1, keepdim=True))
    scale = (levels * centred).sum(1) / levels.abs().sum(1).clamp_min(1)
    for _ in range(_MOST_FITS):
        a, b, c, d = (weight * levels).sum(1), levels.sum(1), weight.sum(1), levels.square().sum(1)
        determinant = columns * d - b * b
        solvable = determinant > 0.5  # an integer; zero when all levels of a row are equal
        divisor = determinant.clamp_min(1)
        scale = torch.where(solvable, (columns * a - b * c) / divisor, scale)
        offset = torch.where(solvable, (d * c - b * a) / divisor, offset)
        step = torch.where(scale > 0, scale, torch.inf)
        previous, levels = levels, torch.round((weight - offset[:, None]) / step[:, None]).clamp(-1, 1)
        if torch.equal(previous, levels):
            break
    return levels, scale, offset


def align_grid(
    weight: torch.Tensor, levels: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, hessian: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and offset (n,) with the least output error for fixed levels; a row whose system is singular keeps its own.

    ``hessian``: ``X^T X`` of the block's inputs, (columns, columns).
    """
    product = levels @ hessian
    total = hessian.sum(0)
    tt, t1, ones = (product * levels).sum(1), product.sum(1), total.sum()
    wt, w1 = (product * weight).sum(1), weight @ total
    determinant = tt * ones - t1 * t1
    solvable = determinant > 1e-6 * tt * ones
    divisor = torch.where(solvable, determinant, 1.0)
    aligned_scale = torch.where(solvable, (ones * wt - t1 * w1) / divisor, scale)
    return aligned_scale, torch.where(solvable, (tt * w1 - t1 * wt) / divisor, offset)


def _feed_back(
    work: torch.Tensor, panel: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, width: int
) -> torch.Tensor:
    """Levels (n, width) chosen one column at a time on the compensated weights."""
    levels = torch.empty_like(work[:, :width])
    step = torch.where(scale != 0, scale, torch.inf)

    def nearest(j: int, column: torch.Tensor) -> torch.Tensor:
        levels[:, j] = torch.round((column - offset) / step).clamp(-1, 1)
        return scale * levels[:, j] + offset

    compensate(work, panel, 0, width, nearest)
    return levels
