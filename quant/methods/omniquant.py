"""OmniQuant's learnable weight clipping: 2-bit groups whose ends are learned against the output error.

Ref: Shao et al., arXiv 2308.13137, section 3.2, eq. 2; code OpenGVLab/OmniQuant ``quantize/quantizer.py``: both ends
of a group times a sigmoid that starts at ``sigmoid(4) = 0.98``, straight-through rounding, a zero point without
gradient, AdamW. With the objective "block" the loss is the transformer block's, as in the paper
(``quant.procedures.blockwise``; a step takes four windows, one there). With "linear" it is the linear's own output
error over the calibration inputs, through the Hessian; each row keeps the best clipping that it met, and the rate is
5e-2 (1e-2 there, for far more steps). Differences in both: a group's range includes zero, so that the zero point is
one of the four codes; scales are float16. Learnable equivalent transformation is not part of it.
"""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from hw.division import ceil_divide
from quant.methods.hessian import output_error, prepare
from quant.methods.method import ObjectiveOptions
from quant.methods.two_bit import quantize_codes, two_bit_solution
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["ClippedWeight", "Options", "learned_weight", "rounded", "solve"]

_FIRST_LOGIT = 4.0
_LARGEST = 3  # codes 0..3
_LEAST_SCALE = 1e-5


class Options(ObjectiveOptions):
    """``steps`` of AdamW at ``learning_rate`` on two logits per group, for the objective "linear"."""

    group: Annotated[int, Field(ge=1)] | None = 128
    steps: Annotated[int, Field(ge=0)] = 100
    learning_rate: Annotated[float, Field(gt=0)] = 0.05
    damping: Annotated[float, Field(gt=0)] = 0.01


@torch.enable_grad()
def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; see ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    n, k = work.shape
    first = _first(work, options.group)
    padded, low, high = first.padded, first.low, first.high
    energy = output_error(work, damped.matrix).sum()

    logits = first.logits.requires_grad_(True)
    optimizer = torch.optim.AdamW([logits], lr=options.learning_rate, weight_decay=0.0)
    best_error = torch.full((n,), torch.inf, device=work.device)
    best_logits = logits.detach().clone()
    for step in range(options.steps + 1):
        scale, zero = _parameters(logits, low, high)
        difference = rounded(padded, scale, zero).view(n, -1)[:, :k] - work
        pull = difference.detach() @ damped.matrix
        error = (pull * difference.detach()).sum(1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_logits[:, better] = logits.detach()[:, better]
        if step < options.steps:
            optimizer.zero_grad()
            difference.backward(pull * (2 / energy.clamp_min(1e-30)))  # the gradient of the error over its scale
            optimizer.step()

    return first._replace(logits=best_logits).solution()


class ClippedWeight(NamedTuple):
    """A weight whose clipping is learned: ``logits`` (2, n, groups) of both ends.

    ``padded``: the weight, float32 (n, groups, columns), zeros after the ``k``th; ``low``, ``high``: ends (n, groups).
    """

    logits: torch.Tensor
    padded: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    group: int | None
    k: int

    def dense(self) -> torch.Tensor:
        """Rounded weight (n, k)."""
        scale, zero = _parameters(self.logits, self.low, self.high)
        return rounded(self.padded, scale, zero).flatten(1)[:, : self.k]

    def learned(self, rate: float) -> list[tuple[torch.Tensor, float]]:
        """The logits."""
        return [(self.logits, rate)]

    def solution(self) -> LinearSolution:
        """Two-bit codes."""
        scale, zero = (value.detach() for value in _parameters(self.logits, self.low, self.high))
        codes = quantize_codes(self.padded, scale[..., None], zero[..., None]).flatten(1)[:, : self.k]
        return two_bit_solution(codes, scale, zero, self.group)


def learned_weight(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> ClippedWeight:
    """Where ``quant.procedures.blockwise`` starts.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    return _first(prepare(weight, hessian, options.damping)[0], options.group)


def _first(work: torch.Tensor, group: int | None) -> ClippedWeight:
    n, k = work.shape
    width = group or k
    groups = ceil_divide(k, width)
    padded = torch.nn.functional.pad(work, (0, groups * width - k)).view(n, groups, width)
    low, high = padded.amin(2).clamp_max(0), padded.amax(2).clamp_min(0)
    return ClippedWeight(torch.full((2, n, groups), _FIRST_LOGIT, device=work.device), padded, low, high, group, k)


def _parameters(logits: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale (n, groups), float16-rounded with a straight-through gradient, and zero point, from the clipped ends."""
    share = torch.sigmoid(logits)
    scale = ((share[0] * high - share[1] * low) / _LARGEST).clamp_min(_LEAST_SCALE)
    zero = (-share[1].detach() * low / scale.detach()).round().clamp(0, _LARGEST)
    return scale + (as_stored(scale) - scale).detach(), zero


def rounded(padded: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """Weights (n, groups, group) after 2-bit rounding; ``scale`` and ``zero`` (n, groups).

    The gradient passes the rounding straight through: to the scale it is ``round(w / s) - w / s`` where a weight lies
    within the codes, ``code - zero`` where it is clipped.
    """
    steps = padded / scale[..., None]
    steps = steps + (steps.round() - steps).detach()
    return scale[..., None] * ((steps + zero[..., None]).clamp(0, _LARGEST) - zero[..., None])
