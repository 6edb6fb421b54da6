"""Asymmetric 2-bit codes ``scale * (code - zero)``: parameters of a group, and the two binary planes they become."""

import torch

from quant.weights.solution import LinearSolution, as_stored

__all__ = ["clip_search", "min_max", "quantize_codes", "two_bit_solution"]

_LARGEST = 3  # codes 0..3

# GPTQ's own clip search: shrink both ends together in steps of 1 % down to 20 %, judged by |error|**2.4.
_CLIP_STEPS, _CLIP_GRID, _CLIP_NORM = 80, 100, 2.4


def min_max(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale (n,), rounded to float16, and zero point (n,) in 0..3 that cover a group ``weight`` (n, columns) and zero.

    Ref: IST-DASLab/gptq ``quant.py``, ``Quantizer.find_params``, per channel, asymmetric.
    """
    return _parameters(*_ends(weight))


def clip_search(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As ``min_max`` with both ends shrunk by the factor, per row, that gives the least sum of ``|error|**2.4``.

    Ref: IST-DASLab/gptq ``quant.py``, option ``mse``.
    """
    low, high = _ends(weight)
    best_scale, best_zero = _parameters(low, high)
    best = torch.full_like(low, torch.inf)
    for step in range(_CLIP_STEPS):
        shrink = 1 - step / _CLIP_GRID
        scale, zero = _parameters(shrink * low, shrink * high)
        value = scale[:, None] * (quantize_codes(weight, scale[:, None], zero[:, None]) - zero[:, None])
        error = (value - weight).abs().pow(_CLIP_NORM).sum(1)
        better = error < best
        best = torch.where(better, error, best)
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
    return best_scale, best_zero


def quantize_codes(weight: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """Nearest code of each weight, float 0..3; the zero point's code where the scale underflowed to zero."""
    steps = torch.round(weight / torch.where(scale > 0, scale, torch.inf))
    return (steps + zero).clamp(0, _LARGEST)


def two_bit_solution(
    codes: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, group: int | None
) -> LinearSolution:
    """Codes (n, k) in 0..3 as two binary planes worth 2 and 1; ``scales`` and ``zeros`` (n, groups)."""
    codes = codes.to(torch.int8)
    return LinearSolution(
        trits=torch.stack([codes >> 1, codes & 1]),
        scales=scales.half()[None],
        group=group,
        scale_kind="row" if group is None else "group",
        layout="bits",
        ratios=(2, 1),
        zeros=zeros.to(torch.uint8),
    )


def _ends(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and largest weight of each row, zero included; -1 and 1 for a row of zeros."""
    low, high = weight.amin(1).clamp_max(0), weight.amax(1).clamp_min(0)
    empty = (low == 0) & (high == 0)
    return torch.where(empty, -1.0, low), torch.where(empty, 1.0, high)


def _parameters(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = (high - low) / _LARGEST
    return as_stored(scale), torch.round(-low / scale)
