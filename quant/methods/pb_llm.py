"""PB-LLM after training: the most salient weights stay at 8 bits, all others become two values per row.

Ref: Shang et al., arXiv 2310.00034, section 3; code hahnyuan/PB-LLM ``gptq_pb/{gptq,low_quant,high_quant}.py`` ("xnor"
low branch, asymmetric 8-bit min-max high branch, one mask before compensation). Differences: parameters are rounded to
float16 before errors are taken; ``sign(0)`` is +1; ``scale_over="binary"`` is ours.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from quant.methods.hessian import compensate, prepare, spans
from quant.methods.method import WeightOnlyOptions
from quant.weights.side_data import Outliers
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["EightBit", "Options", "salient_weights", "solve"]

_LARGEST = 255  # 8-bit codes


class Options(WeightOnlyOptions):
    """``salient_fraction`` of all weights of a group keep 8 bits; ``group`` None is the official default.

    ``scale_over``: what mean and magnitude of the binary weights are averaged over; "all" counts the salient places as
    zeros, which the official code does (and doubts in a comment), "binary" leaves them out.
    """

    salient_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    metric: Literal["hessian", "magnitude"] = "hessian"
    group: Annotated[int, Field(ge=1)] | None = None
    scale_over: Literal["all", "binary"] = "all"
    damping: Annotated[float, Field(gt=0)] = 0.01


class EightBit:
    """Asymmetric 8-bit min-max quantizer of each row of ``weight`` (n, k); ``scale`` float16-rounded, ``zero`` (n,)."""

    def __init__(self, weight: torch.Tensor) -> None:
        low, high = weight.amin(1).clamp_max(0), weight.amax(1).clamp_min(0)
        exact = torch.where(low == high, 1.0, (high - low) / _LARGEST)
        self.scale = as_stored(exact)
        self.zero = torch.round(-low / exact)

    def codes(self, column: torch.Tensor) -> torch.Tensor:
        """Nearest codes 0..255, float (n,)."""
        return (torch.round(column / self.scale) + self.zero).clamp(0, _LARGEST)

    def values(self, codes: torch.Tensor) -> torch.Tensor:
        """What the codes stand for, (n,)."""
        return self.scale * (codes - self.zero)


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; see ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    n, k = work.shape
    eight_bit = EightBit(work)
    salient = torch.zeros_like(work, dtype=torch.bool)
    means, scales = [], []
    for start, stop in spans(0, k, options.group or k):
        part = work[:, start:stop]
        saliency = part.abs()
        if options.metric == "hessian":
            saliency = part.square() / damped.upper.diagonal()[start:stop].square()
        salient[:, start:stop] = salient_weights(saliency, options.salient_fraction)
        mean, scale = _two_values(part, ~salient[:, start:stop], options.scale_over)
        means.append(as_stored(mean))
        scales.append(as_stored(scale))
    signs = torch.zeros(n, k, dtype=torch.int8, device=work.device)
    codes = torch.zeros(n, k, dtype=torch.uint8, device=work.device)

    def quantize(j: int, column: torch.Tensor) -> torch.Tensor:
        group = j // (options.group or k)
        kept = salient[:, j]
        sign = torch.where(column >= means[group], 1.0, -1.0)
        code = eight_bit.codes(column)
        signs[:, j] = torch.where(kept, 0.0, sign).to(torch.int8)
        codes[:, j] = torch.where(kept, code, 0.0).to(torch.uint8)
        return torch.where(kept, eight_bit.values(code), means[group] + scales[group] * sign)

    compensate(work, damped.upper, 0, k, quantize)
    return LinearSolution(
        trits=signs[None],
        scales=torch.stack(scales, 1).half()[None],
        group=options.group,
        scale_kind="row" if options.group is None else "group",
        layout="signs",
        offsets=torch.stack(means, 1).half(),
        outliers=Outliers(salient, codes, eight_bit.scale.half(), eight_bit.zero.to(torch.uint8)),
    )


def salient_weights(saliency: torch.Tensor, fraction: float) -> torch.Tensor:
    """The ``fraction`` of all elements with the largest ``saliency``, one threshold for all rows: bool, same shape."""
    flat = saliency.flatten()
    threshold = flat.sort().values[min(int(flat.numel() * (1 - fraction)), flat.numel() - 1)]
    return saliency > threshold


def _two_values(weight: torch.Tensor, binary: torch.Tensor, scale_over: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and mean distance from it, of the ``binary`` weights of each row: two of (n,)."""
    kept = weight * binary
    if scale_over == "all":
        mean = kept.mean(1)
        return mean, (kept - mean[:, None]).abs().mean(1)
    count = binary.sum(1).clamp_min(1)
    mean = kept.sum(1) / count
    return mean, ((weight - mean[:, None]).abs() * binary).sum(1) / count
