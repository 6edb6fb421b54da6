"""Round to nearest in balanced-ternary digits: tied planes worth 1, 3, 9, ... of one step per row or group.

``digits`` planes hold the ``3**digits`` integers of -limit..limit. The step of each row (or group) is fitted to the
weights alone: from several starts, rounding and the least-squares step alternate until nothing changes. A table of
embeddings is fitted so after its mean row is taken out and its channels are balanced.
Ref: Lloyd, "Least squares quantization in PCM" (1982), for a uniform grid.
"""

from typing import Annotated, ClassVar, NamedTuple

import torch
from pydantic import Field

from hw.golden import digit_limit
from quant.methods.hessian import check_weights, spans
from quant.methods.method import MethodOptions
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["Options", "TableFit", "digits_solution", "fit_digits", "fit_table", "solve"]

_SPREAD_RANGE = 2.0**-12  # of a channel, to the widest
_STARTS = (0.4, 0.55, 0.7, 0.85, 1.0)  # first steps tried, as a share of max|w| / limit


class Options(MethodOptions):
    """``digits``: planes; ``group``: columns per step, None = the row; ``iterations`` of fitting at most."""

    rows_apart: ClassVar[bool] = True

    digits: Annotated[int, Field(ge=1, le=5)] = 3
    group: Annotated[int, Field(ge=1)] | None = None
    iterations: Annotated[int, Field(ge=1)] = 10


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Quantize one linear; ``hessian`` is not used. See ``quant.registry.Solver``.

    Raises:
        InputError: weights that are not finite.
    """
    check_weights(weight)
    codes, steps = [], []
    for start, stop in spans(0, weight.shape[1], options.group or weight.shape[1]):
        found, step = fit_digits(weight[:, start:stop].float(), options.digits, options.iterations)
        codes.append(found)
        steps.append(step)
    return digits_solution(torch.cat(codes, 1), torch.stack(steps, 1), options.digits, options.group)


def digits_solution(codes: torch.Tensor, steps: torch.Tensor, digits: int, group: int | None) -> LinearSolution:
    """Whole numbers (n, k) within ``digit_limit`` as tied planes, most significant first; ``steps`` (n, groups)."""
    rest, planes = codes, []
    for place in reversed(range(digits)):
        plane = torch.round(rest / 3**place).clamp(-1, 1)
        planes.append(plane)
        rest = rest - plane * 3**place
    return LinearSolution(
        trits=torch.stack(planes).to(torch.int8),
        scales=steps.half()[None],
        group=group,
        scale_kind="row" if group is None else "group",
        ratios=tuple(3**place for place in reversed(range(digits))),
    )


def fit_digits(weight: torch.Tensor, digits: int, iterations: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers (n, k) of ``digits`` balanced-ternary digits and the float16-rounded step (n,) nearest to ``weight``."""
    limit = digit_limit(digits)
    largest = weight.abs().amax(1)
    best_error, best = torch.full_like(largest, torch.inf), torch.zeros_like(largest)
    for start in _STARTS:
        step = start * largest / limit
        for _ in range(iterations):
            codes = _codes(weight, step, limit)
            fitted = (weight * codes).sum(1) / codes.square().sum(1).clamp_min(1)
            if torch.equal(fitted, step):
                break
            step = fitted
        step = as_stored(step)
        error = (weight - step[:, None] * _codes(weight, step, limit)).square().sum(1)
        best = torch.where(error < best_error, step, best)
        best_error = torch.minimum(error, best_error)
    return _codes(weight, best, limit), best


class TableFit(NamedTuple):
    """``W[v, c] ~ steps[v] * spread[c] * codes[v, c] + mean[c]`` of a table ``(vocabulary, n)``, all float32."""

    codes: torch.Tensor
    steps: torch.Tensor
    spread: torch.Tensor
    mean: torch.Tensor


def fit_table(weight: torch.Tensor, digits: int) -> TableFit:
    """A table in digits: mean row out, each channel over the root mean square of what is left of it, a step per row."""
    weight = weight.float()
    mean = weight.mean(0)
    spread = (weight - mean).square().mean(0).sqrt()
    spread = spread.clamp_min(float(spread.max()) * _SPREAD_RANGE or 1.0)
    codes, steps = fit_digits((weight - mean) / spread, digits)
    return TableFit(codes, steps, spread, mean)


def _codes(weight: torch.Tensor, step: torch.Tensor, limit: int) -> torch.Tensor:
    return torch.round(weight / torch.where(step > 0, step, torch.inf)[:, None]).clamp(-limit, limit)
