"""SliM-LLM's salience-weighted quantizer calibration: a group's range, widened or narrowed for what matters.

Ref: arXiv 2405.14917, section 3.3; code Aaronhuang-778/SliM-LLM ``slim-llm/utils/mixed_quantizer.py`` and
``utils/salient_mask.py``: each row takes the factor of its range, of 1 and 50 steps each to 1.1 and 0.9, with the least
sum of ``|error|**2.4``, salient weights counted ``balance`` times. With ``balance`` 1, as published, the mask tells
nothing apart.
"""

import torch

from quant.methods.mixed.codes import Grid, min_max, nearest_codes, values_of
from quant.weights.solution import as_stored

__all__ = ["fit_range", "salient_places"]

_NORM = 2.4
_REACH, _STEPS = 0.1, 50  # how far the factor of the range goes from 1, up and down, and in how many steps
_DEVIATIONS = 2.0  # from the mean sensitivity, beyond which weights are salient


def fit_range(
    weight: torch.Tensor, sensitivity: torch.Tensor, bits: int, balance: float, reach: float = _REACH
) -> Grid:
    """The grid of codes of ``bits``, 2 and more, of a group ``weight`` (n, columns).

    ``sensitivity``: ``w**2 / U_jj**2`` of each weight; ``reach`` 0 leaves the range as it is.
    """
    best = start = min_max(weight, bits)
    counted = torch.where(salient_places(sensitivity), balance, 1.0)
    least = torch.full_like(start.scale, torch.inf)
    low, high = weight.amin(1).clamp_max(0), weight.amax(1).clamp_min(0)
    span = torch.where((low == 0) & (high == 0), 2.0, high - low)
    ways = [1 + sign * reach * step / _STEPS for sign in (1, -1) for step in range(1, _STEPS + 1)]
    for factor in [1.0, *ways] if reach else [1.0]:
        grid = start._replace(scale=as_stored(factor * span / (2**bits - 1)))
        difference = values_of(nearest_codes(weight, grid), grid) - weight
        error = (counted * difference.abs().pow(_NORM)).sum(1)
        better = error < least
        least = torch.where(better, error, least)
        best = best._replace(scale=torch.where(better, grid.scale, best.scale))
    return best


def salient_places(sensitivity: torch.Tensor) -> torch.Tensor:
    """Weights at least as sensitive as the least of those 2 standard deviations from the mean of all: bool."""
    distance = (sensitivity - sensitivity.mean()) / sensitivity.std()
    far = distance.abs() > _DEVIATIONS
    if not far.any():
        return torch.zeros_like(far)
    return sensitivity >= sensitivity[far].min()
