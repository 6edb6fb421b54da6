"""PTQTP: every group of weights as two ternary planes with a scale each, fitted to the weights alone.

Ref: arXiv 2509.16989, section 3 (no official code): start from signs, then alternate the ridge-regularized 2 x 2
least-squares scales and the best of nine code pairs of every weight. ``tied`` keeps the scales at 3 : 1, nine equal
steps (github.com/matteo-grella/fucina, docs/PTQTP.md). Differences: scales are made non-negative, the larger first, and
rounded to float16 before the last choice of codes; the iteration ends when no code changes.
"""

from typing import Annotated

import torch
from pydantic import Field

from quant.methods.hessian import check_weights, spans
from quant.methods.method import MethodOptions
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "fit_free", "fit_tied", "solve"]

_FIRST_RIDGE, _LAST_RIDGE, _WORST_CONDITION = 1e-8, 1.0, 1e6
_TIED_STARTS = (0.5, 0.65, 0.8, 0.95)  # first steps tried, as a share of max|w| / 4
_PAIRS = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]


class Options(MethodOptions):
    """``tied``: one scale s per group for planes worth 3 s and s; otherwise a scale per plane."""

    group: Annotated[int, Field(ge=1)] | None = 128
    tied: bool = False
    iterations: Annotated[int, Field(ge=1)] = 50


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; ``hessian`` is not used. See ``quant.methods.method.Solver``.

    Raises:
        InputError: weights that are not finite.
    """
    check_weights(weight)
    fit = fit_tied if options.tied else fit_free
    planes, scales = [], []
    for start, stop in spans(0, weight.shape[1], options.group or weight.shape[1]):
        block_planes, block_scales = fit(weight[:, start:stop].float(), options.iterations)
        planes.append(block_planes)
        scales.append(block_scales)
    return LinearSolution(
        trits=torch.cat(planes, 2).to(torch.int8),
        scales=torch.stack(scales, 2).half(),
        group=options.group,
        scale_kind="row" if options.group is None else "group",
        ratios=(3, 1) if options.tied else None,
    )


def fit_free(weight: torch.Tensor, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes (2, n, columns) and float16-rounded scales (2, n) that approximate ``weight`` (n, columns)."""
    planes = torch.sign(weight).repeat(2, 1, 1)
    for _ in range(iterations):
        scales = _ridge_scales(weight, planes)
        previous, planes = planes, _nearest_pairs(weight, scales)
        if torch.equal(previous, planes):
            break
    scales = _ridge_scales(weight, planes).abs().sort(0, descending=True).values
    scales = as_stored(scales)
    return _nearest_pairs(weight, scales), scales


def fit_tied(weight: torch.Tensor, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes (2, n, columns) worth 3 and 1 and the float16-rounded step (1, n): codes -4..4 nearest to ``weight``."""
    largest = weight.abs().amax(1)
    best_error = torch.full_like(largest, torch.inf)
    best_step = torch.zeros_like(largest)
    for start in _TIED_STARTS:
        step = start * largest / 4
        for _ in range(iterations):
            codes = _codes(weight, step)
            fitted = (weight * codes).sum(1) / codes.square().sum(1).clamp_min(1)
            if torch.equal(fitted, step):
                break
            step = fitted
        step = as_stored(step)
        error = (weight - step[:, None] * _codes(weight, step)).square().sum(1)
        best_step = torch.where(error < best_error, step, best_step)
        best_error = torch.minimum(error, best_error)
    codes = _codes(weight, best_step)
    coarse = torch.round(codes / 3)
    return torch.stack([coarse, codes - 3 * coarse]), best_step[None]


def _codes(weight: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    return torch.round(weight / torch.where(step > 0, step, torch.inf)[:, None]).clamp(-4, 4)


def _ridge_scales(weight: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """Least-squares scales (2, n) of fixed planes; the ridge grows tenfold per row until the 2 x 2 system is tame."""
    first, second = planes
    a, b, c = first.square().sum(1), (first * second).sum(1), second.square().sum(1)
    ridge = torch.full_like(a, _FIRST_RIDGE)
    spread = ((a - c).square() + 4 * b.square()).sqrt()
    while ridge.max() < _LAST_RIDGE:
        condition = (a + c + 2 * ridge + spread) / (a + c + 2 * ridge - spread).clamp_min(1e-30)
        wild = (condition > _WORST_CONDITION) & (ridge < _LAST_RIDGE)
        if not wild.any():
            break
        ridge = torch.where(wild, 10 * ridge, ridge)
    a, c = a + ridge, c + ridge
    u, v = (weight * first).sum(1), (weight * second).sum(1)
    determinant = a * c - b * b
    return torch.stack([(c * u - b * v) / determinant, (a * v - b * u) / determinant])


def _nearest_pairs(weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The best of the nine code pairs of every weight: float (2, n, columns)."""
    pairs = torch.tensor(_PAIRS, dtype=weight.dtype, device=weight.device)  # (9, 2)
    levels, order = (pairs @ scales).T.sort(dim=1, stable=True)  # (n, 9)
    borders = (levels[:, 1:] + levels[:, :-1]) / 2
    found = order.gather(1, torch.searchsorted(borders.contiguous(), weight.contiguous()))
    return pairs.T[:, found]
