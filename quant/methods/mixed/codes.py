"""Codes of 1 to 4 bits in groups of columns: their quantizers, and the planes of digits that they become.

A code c of 2 bits and more stands for ``scale * (c - zero)``; one of 1 bit is a sign s, for ``scale * s + mean``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from quant.weights.layouts.mixed import DIGITS_OF_WIDTH
from quant.weights.solution import LinearSolution, as_stored
from quant.weights.widths import column_widths

__all__ = ["Grid", "min_max", "mixed_solution", "nearest_codes", "sign_grid", "values_of"]


class Grid(NamedTuple):
    """What the codes of one group of ``bits`` each stand for, row by row.

    ``scale`` (n,), rounded to float16; ``zero`` (n,): the zero point, or of signs the mean, rounded to float16.
    """

    bits: int
    scale: torch.Tensor
    zero: torch.Tensor


def min_max(weight: torch.Tensor, bits: int) -> Grid:
    """The grid that covers a group ``weight`` (n, columns) and zero; -1 to 1 for a row of zeros."""
    low, high = weight.amin(1).clamp_max(0), weight.amax(1).clamp_min(0)
    empty = (low == 0) & (high == 0)
    low, high = torch.where(empty, -1.0, low), torch.where(empty, 1.0, high)
    step = (high - low) / (2**bits - 1)
    return Grid(bits, as_stored(step), torch.round(-low / step))


def sign_grid(weight: torch.Tensor) -> Grid:
    """Mean, and mean magnitude (of the weights, not of their distance from the mean), of each row of (n, columns)."""
    return Grid(1, as_stored(weight.abs().mean(1)), as_stored(weight.mean(1)))


def nearest_codes(weight: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Codes of the weights (n, columns), float: 0 or 1 of signs, 1 where they are below the mean."""
    if grid.bits == 1:
        return (weight < grid.zero[:, None]).float()
    steps = torch.round(weight / torch.where(grid.scale > 0, grid.scale, torch.inf)[:, None])
    return (steps + grid.zero[:, None]).clamp(0, 2**grid.bits - 1)


def values_of(codes: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Weights (n, columns) that the codes stand for."""
    if grid.bits == 1:
        return grid.scale[:, None] * (1 - 2 * codes) + grid.zero[:, None]
    return grid.scale[:, None] * (codes - grid.zero[:, None])


def mixed_solution(
    codes: torch.Tensor, grids: Sequence[Grid], group: int | None, permutation: torch.Tensor | None = None
) -> LinearSolution:
    """Codes (n, k) as planes of balanced-ternary digits; ``grids``: of the groups of ``group`` columns, in order."""
    widths = tuple(grid.bits for grid in grids)
    width = torch.tensor(column_widths(widths, group, codes.shape[1]), device=codes.device)
    rest = torch.where(width == 1, 1 - 2 * codes, codes - (1 << (width - 1)))
    ratios = tuple(3**place for place in reversed(range(max(DIGITS_OF_WIDTH[one] for one in widths))))
    planes = []
    for ratio in ratios:
        planes.append(torch.round(rest / ratio).clamp(-1, 1))
        rest = rest - ratio * planes[-1]
    ones = torch.tensor(widths, device=codes.device) == 1
    zero = torch.stack([grid.zero for grid in grids], 1)
    return LinearSolution(
        trits=torch.stack(planes).to(torch.int8),
        scales=torch.stack([grid.scale for grid in grids], 1).half()[None],
        group=group,
        scale_kind="row" if group is None else "group",
        layout="mixed",
        ratios=ratios,
        offsets=torch.where(ones, zero, 0.0).half(),
        zeros=torch.where(ones, 0.0, zero).to(torch.uint8),
        permutation=permutation,
        widths=widths,
    )
