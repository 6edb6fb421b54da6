"""GPTQ: round column by column to ternary or 2-bit codes, pushing each error into the columns to come.

Ref: Frantar et al., arXiv 2210.17323; code IST-DASLab/gptq ``gptq.py``. Differences: scales are rounded to float16
before the errors are taken; inside a block the parameters of a group that starts there are found on the compensated
weights (the official code reads the block as it was at its start, which matters for groups below 128); the ternary
levels are symmetric with a least-squares or TWN scale (the official "trits" put the levels at the row's extremes).
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from quant.methods.hessian import compensate, prepare, spans
from quant.methods.method import WeightOnlyOptions
from quant.methods.twn import TWN_THRESHOLD
from quant.methods.two_bit import clip_search, min_max, quantize_codes, two_bit_solution
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "least_squares_scale", "solve", "twn_scale"]


class Options(WeightOnlyOptions):
    """``scale`` is for ternary levels, ``clip`` for 2-bit levels; ``damping`` in means of the Hessian's diagonal."""

    rows_apart: ClassVar[bool] = True

    levels: Literal["ternary", "2bit"] = "ternary"
    group: Annotated[int, Field(ge=1)] | None = 128
    scale: Literal["least-squares", "twn"] = "least-squares"
    clip: Literal["search", "min-max"] = "search"
    damping: Annotated[float, Field(gt=0)] = 0.01


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; see ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    if options.levels == "2bit":
        return _solve_two_bit(work, damped.upper, options)
    return _solve_ternary(work, damped.upper, options)


def least_squares_scale(weight: torch.Tensor) -> torch.Tensor:
    """Scale (n,) of the ternary values nearest to each row of ``weight`` (n, columns), the exact optimum.

    With the m largest magnitudes kept, the best scale is their mean and the error falls by ``sum**2 / m``: try all m.
    """
    sums = weight.abs().sort(1, descending=True).values.cumsum(1)
    counts = torch.arange(1, weight.shape[1] + 1, device=weight.device)
    best = (sums.square() / counts).argmax(1, keepdim=True)
    return (sums.gather(1, best) / (best + 1)).squeeze(1)


def twn_scale(weight: torch.Tensor) -> torch.Tensor:
    """Scale (n,): mean magnitude of the weights above ``0.75 * mean|w|`` of each row.

    Ref: Li et al., Ternary Weight Networks, arXiv 1605.04711, section 2.3.
    """
    magnitude = weight.abs()
    kept = magnitude > TWN_THRESHOLD * magnitude.mean(1, keepdim=True)
    return (magnitude * kept).sum(1) / kept.sum(1).clamp_min(1)


def _solve_ternary(work: torch.Tensor, upper: torch.Tensor, options: Options) -> LinearSolution:
    n, k = work.shape
    trits = torch.empty(n, k, dtype=torch.int8, device=work.device)
    find = least_squares_scale if options.scale == "least-squares" else twn_scale
    scales = []
    for start, stop in spans(0, k, options.group or k):
        scale = as_stored(find(work[:, start:stop]))
        scales.append(scale)

        def nearest(j: int, column: torch.Tensor, scale: torch.Tensor = scale) -> torch.Tensor:
            levels = torch.sign(column) * (column.abs() > scale / 2)
            trits[:, j] = levels.to(torch.int8)
            return levels * scale

        compensate(work, upper, start, stop, nearest)
    kind = "row" if options.group is None else "group"
    return LinearSolution(trits[None], torch.stack(scales, 1).half()[None], options.group, kind)


def _solve_two_bit(work: torch.Tensor, upper: torch.Tensor, options: Options) -> LinearSolution:
    n, k = work.shape
    codes = torch.empty(n, k, dtype=torch.int8, device=work.device)
    find = clip_search if options.clip == "search" else min_max
    scales, zeros = [], []
    for start, stop in spans(0, k, options.group or k):
        scale, zero = find(work[:, start:stop])
        scales.append(scale)
        zeros.append(zero)

        def nearest(j: int, column: torch.Tensor, scale: torch.Tensor = scale, zero: torch.Tensor = zero):
            code = quantize_codes(column, scale, zero)
            codes[:, j] = code.to(torch.int8)
            return scale * (code - zero)

        compensate(work, upper, start, stop, nearest)
    return two_bit_solution(codes, torch.stack(scales, 1), torch.stack(zeros, 1), options.group)
