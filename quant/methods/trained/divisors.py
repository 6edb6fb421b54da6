"""Rounding by learned divisors: a weight goes to another integer because it is divided by more or less than its step.

``q = clip(round(W / (s exp(E))), low, high)`` and the weight is ``s q``. The step s of a row (or group) and the
exponents E (n, k) are learned together; at inference s and q are all there is, so nothing of E is stored. Gradients
pass the rounding straight through and stop at the clip: a weight more than half a step beyond the last integer moves
with s alone.

Ref: Lee et al., FlexRound, arXiv 2306.00317, section 3; Lee et al., LRQ, arXiv 2407.11534, section 2; code
onliwad101/FlexRound_LRQ 59d4665 ``quant/UniformAffineQuantizer.py``. As there: the range of a start is searched, by
``mean |W - s q|**2.4``; Adam, one learning rate for everything, falling to zero by a cosine. Differences: 1 to 5
balanced-ternary digits in place of 2 to 8 bits ("2bit", with a zero point that is searched and stays, is the code's own
quantizer); a step per 128 columns, where the code has one per row (``group=null``); s is rounded to float16, straight
through, while it is learned; the loss is a mean over all elements, where the code sums over tokens, which scales it.
"""

from typing import Annotated, Literal, NamedTuple, Protocol

import torch
from pydantic import Field, model_validator

from hw.division import ceil_divide
from hw.golden import digit_limit
from quant.methods.digits import digits_solution
from quant.methods.hessian import check_weights
from quant.methods.method import BlockOptions
from quant.methods.two_bit import two_bit_solution
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["DividedWeight", "DivisorOptions", "Exponents", "first_steps"]

_NORM = 2.4  # of the error that a start is chosen by
_LARGEST = 3  # two-bit codes 0..3
_LEAST_STEP = 1e-6


class DivisorOptions(BlockOptions):
    """``levels``: "ternary" integers of ``digits`` balanced-ternary digits, or four of "2bit" with a zero point.

    ``group``: columns per step, None = the row, as published; ``grid``: ranges that are tried for the first step.
    """

    levels: Literal["ternary", "2bit"] = "ternary"
    digits: Annotated[int, Field(ge=1, le=5)] = 1
    group: Annotated[int, Field(ge=1)] | None = 128
    grid: Annotated[int, Field(ge=1)] = 100
    block_rate: Annotated[float, Field(gt=0)] = 6e-4
    block_tokens_per_step: Annotated[int, Field(ge=1)] = 2048

    @model_validator(mode="after")
    def _digits_of_ternary(self) -> "DivisorOptions":
        if self.levels == "2bit" and self.digits != 1:
            raise ValueError(f"option 'digits' must be left out with levels=2bit, not {self.digits}")
        return self

    @property
    def falls(self) -> bool:
        """See ``BlockOptions``."""
        return True


class Exponents(Protocol):
    """A named tuple of what the exponents E (n, k) are made of."""

    def matrix(self) -> torch.Tensor:
        """E, or what broadcasts to it."""
        ...


class DividedWeight(NamedTuple):
    """A weight whose divisors are learned.

    ``weight``: float32 (n, k); ``first``: steps (n, groups) at the start, times ``exp(shift)`` (n, groups) now;
    ``exponents``: a named tuple of learned tensors; ``zeros``: (n, groups), of "2bit"; None:
    ``digits`` balanced-ternary digits.
    """

    weight: torch.Tensor
    first: torch.Tensor
    shift: torch.Tensor
    exponents: Exponents
    zeros: torch.Tensor | None
    digits: int
    group: int | None

    def steps(self) -> torch.Tensor:
        """(n, groups), differentiable."""
        return self.first * self.shift.exp()

    def codes(self) -> torch.Tensor:
        """Integers (n, k), whole numbers in float, zero points taken off; differentiable straight through."""
        shift = self._spread(self.shift) + self.exponents.matrix()
        steps = self.weight / (self._spread(self.first) * shift.exp())
        steps = steps + (steps.round() - steps).detach()
        if self.zeros is None:
            return steps.clamp(-digit_limit(self.digits), digit_limit(self.digits))
        zeros = self._spread(self.zeros)
        return torch.clamp(steps, -zeros, _LARGEST - zeros)

    def dense(self) -> torch.Tensor:
        """Its value (n, k): the steps rounded to float16, times the integers."""
        steps = self.steps()
        return self._spread(steps + (as_stored(steps) - steps).detach()) * self.codes()

    def learned(self, rate: float) -> list[tuple[torch.Tensor, float]]:
        """Steps and exponents at one rate."""
        return [(tensor, rate) for tensor in (self.shift, *self.exponents)]

    def solution(self) -> LinearSolution:
        """Integers and steps alone."""
        codes, steps = self.codes().detach(), self.steps().detach()
        if self.zeros is None:
            return digits_solution(codes, steps, self.digits, self.group)
        return two_bit_solution(codes + self._spread(self.zeros), steps, self.zeros, self.group)

    def _spread(self, values: torch.Tensor) -> torch.Tensor:
        """Of each group, (n, groups), to each weight, (n, k)."""
        k = self.weight.shape[1]
        return values.repeat_interleave(self.group or k, 1)[:, :k]


def first_steps(
    weight: torch.Tensor, hessian: torch.Tensor | None, exponents: Exponents, options: DivisorOptions
) -> DividedWeight:
    """Where learning starts: rounding to nearest with the best of ``options.grid`` ranges, exponents without effect.

    Inputs that were always zero, of which ``hessian`` tells, get weight zero.

    Raises:
        InputError: weights that are not finite.
    """
    check_weights(weight)
    work = weight.detach().float().clone()
    if hessian is not None:
        work[:, hessian.diagonal() == 0] = 0
    n, k = work.shape
    width = options.group or k
    groups = ceil_divide(k, width)
    padded = torch.nn.functional.pad(work, (0, groups * width - k)).view(n, groups, width)
    if options.levels == "ternary":
        first, zeros = _search(padded, digit_limit(options.digits), options.grid), None
    else:
        first, zeros = _search_two_bit(padded, options.grid)
    return DividedWeight(work, first, torch.zeros_like(first), exponents, zeros, options.digits, options.group)


def _search(padded: torch.Tensor, limit: int, grid: int) -> torch.Tensor:
    """Steps (n, groups) that err least: ``max|w| i / (grid limit)`` for i in 1..grid, in float16."""
    largest = padded.abs().amax(2)
    best = torch.zeros_like(largest)
    best_error = torch.full_like(largest, torch.inf)
    for i in range(1, grid + 1):
        step = as_stored((largest * (i / grid) / limit).clamp_min(_LEAST_STEP))
        error = _error(padded, step, -limit, limit)
        best = torch.where(error < best_error, step, best)
        best_error = torch.minimum(error, best_error)
    return best


def _search_two_bit(padded: torch.Tensor, grid: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps and zero points that err least: ``(max - min) i / (3 grid)`` for i in 1..grid, each with all four zeros."""
    extent = padded.amax(2).clamp_min(0) - padded.amin(2).clamp_max(0)
    best, best_zero = torch.zeros_like(extent), torch.zeros_like(extent)
    best_error = torch.full_like(extent, torch.inf)
    for i in range(1, grid + 1):
        step = as_stored((extent * (i / grid) / _LARGEST).clamp_min(_LEAST_STEP))
        for zero in range(_LARGEST + 1):
            error = _error(padded, step, -zero, _LARGEST - zero)
            best = torch.where(error < best_error, step, best)
            best_zero = torch.where(error < best_error, float(zero), best_zero)
            best_error = torch.minimum(error, best_error)
    return best, best_zero


def _error(padded: torch.Tensor, step: torch.Tensor, low: int, high: int) -> torch.Tensor:
    codes = torch.round(padded / step[..., None]).clamp(low, high)
    return (codes * step[..., None] - padded).abs().pow(_NORM).sum(2)
