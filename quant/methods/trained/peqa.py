"""PEQA: integers frozen where rounding to nearest put them, one scale per row tuned on the language model's own loss.

Ref: Kim et al., Memory-Efficient Fine-Tuning of Compressed Large Language Models via sub-4-bit Integer Quantization,
NeurIPS 2023, arXiv 2305.14152, section 3: ``W = (s0 + ds) Q`` with Q and s0 of least squared error, and ds alone
learned, so that the integers of all tasks are one image. No official code is known. Differences: 1 to 5
balanced-ternary digits in place of 3 or 4 bits with a zero point (Lloyd's alternation of ``quant.methods.digits`` finds
Q and s0); ds is learned as a share of s0 and rounded to float16, straight through; the rate warms up before it falls
linearly. To tune a finished run of any method to another text, and to swap tasks: ``quant.tasks``.
"""

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field

from quant.methods.digits import digits_solution, fit_digits
from quant.methods.hessian import check_weights, spans
from quant.methods.method import TunedOptions
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "ScaledWeight", "learned_weight"]


class Options(TunedOptions):
    """``digits``: planes; ``group``: columns per scale, None = the row, as published.

    ``calibrated``: the activations while tuning: "A16" float, as in the paper; "A8" int8, as on the hardware.
    ``rate`` is in shares of the scale.
    """

    digits: Annotated[int, Field(ge=1, le=5)] = 1
    group: Annotated[int, Field(ge=1)] | None = None
    rate: Annotated[float, Field(gt=0)] = 2e-3
    calibrated: Literal["A16", "A8"] = "A16"

    @property
    def int8_calibration(self) -> bool:
        """See ``MethodOptions``."""
        return self.calibrated == "A8"

    @property
    def decay(self) -> Literal["linear", "cosine"]:
        """See ``TunedOptions``."""
        return "linear"


class ScaledWeight(NamedTuple):
    """A weight whose scales are tuned: ``codes`` int8 (n, k), ``first`` (n, groups) times ``1 + change``."""

    codes: torch.Tensor
    first: torch.Tensor
    change: torch.Tensor
    digits: int
    group: int | None

    def scales(self) -> torch.Tensor:
        """(n, groups), differentiable."""
        return self.first * (1 + self.change)

    def dense(self) -> torch.Tensor:
        """Its value (n, k), with scales rounded to float16."""
        scales = self.scales()
        scales = scales + (as_stored(scales) - scales).detach()
        k = self.codes.shape[1]
        return scales.repeat_interleave(self.group or k, 1)[:, :k] * self.codes

    def learned(self, rate: float) -> list[tuple[torch.Tensor, float]]:
        """The change of scales."""
        return [(self.change, rate)]

    def solution(self) -> LinearSolution:
        """Integers and scales."""
        return digits_solution(self.codes.float(), self.scales().detach(), self.digits, self.group)


def learned_weight(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> ScaledWeight:
    """Where ``quant.procedures.tuned.tune`` starts: rounding to nearest. ``hessian`` is not used.

    Raises:
        InputError: weights that are not finite.
    """
    check_weights(weight)
    codes, steps = [], []
    for start, stop in spans(0, weight.shape[1], options.group or weight.shape[1]):
        found, step = fit_digits(weight[:, start:stop].float(), options.digits)
        codes.append(found)
        steps.append(step)
    first = torch.stack(steps, 1)
    return ScaledWeight(
        torch.cat(codes, 1).to(torch.int8), first, torch.zeros_like(first), options.digits, options.group
    )
