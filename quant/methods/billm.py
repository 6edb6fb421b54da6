"""BiLLM: per block of columns a few salient ones get two residual signs, the rest one sign and one of two zones.

Ref: Huang et al., arXiv 2402.04291, sections 3.2 and 3.3; code Aaronhuang-778/BiLLM ``bigptq.py``, ``binary.py``,
``utils/{autosearch,mask,structure}.py``. As in that code, the choice of columns and of the split looks at the saliency
``w**2 / diag(U)**2`` where the paper's text looks at the weights (``search="weight"`` does), and errors move to later
blocks only. Differences: parameters are rounded to float16 before errors are taken; the two means of the salient
columns are stored as their sum; ``sign(0)`` is +1.
"""

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field

from quant.methods.hessian import prepare, push_error, spans
from quant.methods.method import WeightOnlyOptions
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Binarized", "Options", "binarize", "choose_split", "choose_zones", "solve"]


class Options(WeightOnlyOptions):
    """``group``: columns per block; up to ``most_salient - 1`` columns of each may become salient."""

    group: Annotated[int, Field(ge=2)] = 128
    most_salient: Annotated[int, Field(ge=2)] = 50
    search: Literal["saliency", "weight"] = "saliency"
    damping: Annotated[float, Field(gt=0)] = 0.01


class Binarized(NamedTuple):
    """``mean + sum over orders of scale[i] * sign[i]`` on a mask; ``mean`` (n,), lists of (n,) and of (n, columns)."""

    mean: torch.Tensor
    scale: list[torch.Tensor]
    sign: list[torch.Tensor]

    def values(self, mask: torch.Tensor) -> torch.Tensor:
        """The approximation inside ``mask``, zero outside: (n, columns)."""
        total = self.mean[:, None] + sum(a[:, None] * s for a, s in zip(self.scale, self.sign, strict=True))
        return total * mask


def binarize(weight: torch.Tensor, mask: torch.Tensor, order: int) -> Binarized:
    """Residual binarization of the masked weights of each row: ``order`` times mean, mean distance, sign of the rest.

    ``weight``: (n, columns); ``mask``: bool, broadcastable to it. Rows without masked weights get zeros.
    """
    count = mask.expand_as(weight).sum(1).clamp_min(1)
    mean = torch.zeros_like(weight[:, 0])
    scales, signs = [], []
    rest = weight * mask
    for _ in range(order):
        shift = (rest * mask).sum(1) / count
        rest = rest - shift[:, None]
        scale = (rest.abs() * mask).sum(1) / count
        sign = torch.where(rest >= 0, 1.0, -1.0)
        rest = rest - scale[:, None] * sign
        mean = mean + shift
        scales.append(scale)
        signs.append(sign)
    return Binarized(mean, scales, signs)


def choose_zones(matrix: torch.Tensor, most_salient: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Salient columns, bool (columns,), and the high zone of the others, bool (n, columns), from ``matrix``."""
    ranking = matrix.abs().sum(0).argsort(descending=True)
    ordered = matrix[:, ranking]
    gains = [
        _residual_gain(ordered[:, :count]) + _residual_gain(ordered[:, count:])
        for count in range(1, min(most_salient, matrix.shape[1]))
    ]
    salient = torch.zeros(matrix.shape[1], dtype=torch.bool, device=matrix.device)
    if gains:
        salient[ranking[: int(torch.stack(gains).argmax()) + 1]] = True
    return salient, choose_split(matrix, salient)


def choose_split(matrix: torch.Tensor, salient: torch.Tensor) -> torch.Tensor:
    """The high zone, bool (n, columns): of 81 quantiles of the magnitudes, the split with the least squared error."""
    values = matrix * ~salient
    magnitude = values.abs()
    quantiles = torch.linspace(0.1, 0.9, 81, device=matrix.device)
    ordered = magnitude.flatten().sort().values
    position = quantiles.double() * (ordered.numel() - 1)
    left = position.long()
    fraction = (position - left).to(ordered.dtype)
    splits = torch.lerp(ordered[left], ordered[(left + 1).clamp_max(ordered.numel() - 1)], fraction)

    ordinary = (~salient).to(matrix.dtype).expand_as(matrix)
    total, count = values.sum(1), ordinary.sum(1)
    gains = []
    for split in splits:
        high = (magnitude >= split) * ordinary
        high_total, high_count = (values * high).sum(1), high.sum(1)
        high_mean = high_total / high_count.clamp_min(1)
        low_mean = (total - high_total) / (count - high_count).clamp_min(1)
        distance = (values - torch.lerp(low_mean[:, None], high_mean[:, None], high)).abs() * ordinary
        high_distance = (distance * high).sum(1)
        low_distance = distance.sum(1) - high_distance
        gains.append(
            _gain(high_count, high_mean, high_distance) + _gain(count - high_count, low_mean, low_distance),
        )
    split = splits[int(torch.stack(gains).argmax())]
    return (magnitude >= split) & ~salient


def _residual_gain(weight: torch.Tensor) -> torch.Tensor:
    """By how much binarizing all of ``weight`` (n, columns) twice lowers the sum of its squares."""
    count = torch.full_like(weight[:, 0], weight.shape[1])
    gain = torch.zeros((), dtype=torch.float64, device=weight.device)
    for _ in range(2):
        mean = weight.mean(1)
        weight = weight - mean[:, None]
        magnitude = weight.abs()
        gain = gain + _gain(count, mean, magnitude.sum(1))
        weight = torch.where(weight >= 0, 1.0, -1.0) * (magnitude - magnitude.mean(1, keepdim=True))
    return gain


def _gain(count: torch.Tensor, mean: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """By how much mean and mean distance lower the sum of squares of ``count`` weights of each row, over all rows.

    ``distance``: sum of the distances from the mean. The sum of squares falls by ``count * mean**2`` and then by
    ``distance**2 / count``.
    """
    count, mean, distance = count.double(), mean.double(), distance.double()
    return (count * mean.square() + distance.square() / count.clamp_min(1)).sum()


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; see ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    planes, scales, offsets = [], [], []
    for start, stop in spans(0, work.shape[1], options.group):
        block = work[:, start:stop]
        matrix = block
        if options.search == "saliency":
            matrix = block.square() / damped.upper.diagonal()[start:stop].square()
        salient, high = choose_zones(matrix, options.most_salient)
        block_planes, block_scales, offset = _fit_zones(block, salient, high)
        push_error(work, damped.upper, start, stop, torch.einsum("pn,pnc->nc", block_scales, block_planes) + offset)
        planes.append(block_planes.to(torch.int8))
        scales.append(block_scales)
        offsets.append(offset)
    return LinearSolution(
        trits=torch.cat(planes, 2),
        scales=torch.stack(scales, 2).half(),
        group=options.group,
        scale_kind="group",
        layout="zones",
        offsets=torch.cat(offsets, 1).half(),
    )


def _fit_zones(
    block: torch.Tensor, salient: torch.Tensor, high: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Planes (6, n, columns) in the order of the layout "zones", their scales (6, n), the low zone's mean (n, 1)."""
    low = ~high & ~salient
    in_low, in_high, in_salient = binarize(block, low, 1), binarize(block, high, 1), binarize(block, salient, 2)
    offset = as_stored(in_low.mean)
    scales = torch.stack(
        [
            in_low.scale[0],
            in_high.scale[0],
            in_salient.scale[0],
            in_salient.scale[1],
            in_high.mean - offset,
            in_salient.mean - offset,
        ]
    )
    columns = salient.expand_as(block).float()
    planes = torch.stack(
        [
            in_low.sign[0] * low,
            in_high.sign[0] * high,
            in_salient.sign[0] * columns,
            in_salient.sign[1] * columns,
            high.float(),
            columns,
        ]
    )
    return planes, as_stored(scales), offset[:, None]
