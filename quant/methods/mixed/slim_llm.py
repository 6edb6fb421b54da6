"""SliM-LLM: blocks of columns have a bit more or less by their salience, then GPTQ with ranges fitted to what matters.

Ref: Huang et al., arXiv 2405.14917, sections 3.2 and 3.3; code Aaronhuang-778/SliM-LLM ``slim-llm/``. As in that code a
range contains zero, signs of 1-bit blocks stand for the row's mean plus and minus its mean magnitude, and salience is
taken twice: damped by an absolute 0.01 for the search of how many blocks trade, by ``damping`` for which. Differences:
scales and means are rounded to float16 before errors are taken; ``sign(0)`` is +1; the search looks at
``search_tokens`` tokens, evenly out of all windows, instead of all; fewer than four blocks trade nothing (the code
breaks off).
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from quant.methods.hessian import compensate, damp, prepare, spans
from quant.methods.method import WeightOnlyOptions
from quant.methods.mixed.allocation import block_salience, exchanged, exchanges
from quant.methods.mixed.codes import Grid, mixed_solution, nearest_codes, sign_grid, values_of
from quant.methods.mixed.salient_range import fit_range
from quant.weights.solution import LinearSolution

__all__ = ["Options", "allocated", "solve"]

# The code adds 0.01 to a Hessian of twice the mean over sequences; ours is the mean over the 2048 tokens of each.
_SEARCH_DAMPING = 0.01 / (2 * 2048)


class AllocationOptions(WeightOnlyOptions):
    """``bits``: mean over the blocks of ``group`` columns; ``search_tokens`` judge how many of them trade a bit."""

    bits: Annotated[int, Field(ge=2, le=3)] = 2
    group: Annotated[int, Field(ge=1)] = 128
    search_tokens: Annotated[int, Field(ge=1)] = 4096
    damping: Annotated[float, Field(gt=0)] = 0.01

    @property
    def sampled_tokens(self) -> int:
        """See ``MethodOptions``."""
        return self.search_tokens


class Options(AllocationOptions):
    """``balance``: how often the error of a salient weight counts; ``ranges`` "min-max": as they are, not fitted."""

    ranges: Literal["fitted", "min-max"] = "fitted"
    balance: Annotated[float, Field(ge=0)] = 1.0


def solve(
    weight: torch.Tensor, hessian: torch.Tensor | None, options: Options, inputs: torch.Tensor | None = None
) -> LinearSolution:
    """Quantize one linear; see ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    widths = allocated(work, hessian, damped.upper, options, inputs)
    codes, grids = torch.zeros_like(work), []
    for (start, stop), bits in zip(spans(0, work.shape[1], options.group), widths, strict=True):
        block = work[:, start:stop]
        if bits == 1:
            grid = sign_grid(block)
        else:
            sensitivity = block.square() / damped.upper.diagonal()[start:stop].square()
            grid = fit_range(block, sensitivity, bits, options.balance, *(() if options.ranges == "fitted" else (0.0,)))
        grids.append(grid)

        def nearest(j: int, column: torch.Tensor, grid: Grid = grid) -> torch.Tensor:
            code = nearest_codes(column[:, None], grid)
            codes[:, j] = code[:, 0]
            return values_of(code, grid)[:, 0]

        compensate(work, damped.upper, start, stop, nearest)
    return mixed_solution(codes, grids, options.group)


def allocated(
    work: torch.Tensor,
    hessian: torch.Tensor,
    upper: torch.Tensor,
    options: AllocationOptions,
    inputs: torch.Tensor | None,
) -> list[int]:
    """Bits of each block of columns of the weights ``work`` (n, k); ``upper``: of the damped Hessian."""
    k = work.shape[1]
    lightly = damp(hessian + _SEARCH_DAMPING * torch.eye(k, device=work.device), k, 0.0).upper
    salience = block_salience(work, lightly, options.group)
    pairs = exchanges(work, salience, inputs, hessian.float(), options.bits, options.group)
    return exchanged(block_salience(work, upper, options.group), options.bits, pairs)
