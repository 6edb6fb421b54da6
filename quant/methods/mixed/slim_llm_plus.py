"""SliM-LLM+: the bits of SliM-LLM's blocks, with ranges that are learned against the transformer block's output.

Ref: Huang et al., arXiv 2405.14917, section 4.1; code Aaronhuang-778/SliM-LLM ``slim-llm-plus/``: OmniQuant's learnable
weight clipping (``quant.methods.omniquant``) on blocks of different widths, 50 epochs at 1e-2, one window a step, and
OmniQuant's ``aug_loss``: the float block's outputs on the quantized prefix are a second target. Signs of 1-bit blocks
stand for ``mean|w|`` times ``sigmoid(f) + 0.5``, f learned from 4 on. Differences: their mean is added back (the code
subtracts it and leaves it so); a range includes zero; scales are float16; bits are those that SliM-LLM's search finds
on the quantized prefix of this very run (the code loads those of a SliM-LLM run before).
"""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from hw.division import ceil_divide
from quant.methods.hessian import prepare
from quant.methods.method import BlockOptions
from quant.methods.mixed.codes import Grid, mixed_solution
from quant.methods.mixed.slim_llm import AllocationOptions, allocated
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["ClippedBlocks", "Options", "learned_weight"]

_FIRST_LOGIT = 4.0
_LEAST_SCALE = 1e-5


class Options(AllocationOptions, BlockOptions):
    """See ``quant.methods.mixed.slim_llm`` for the allocation, ``BlockOptions`` for the learning."""

    epochs: Annotated[int, Field(ge=0)] = 50
    block_tokens_per_step: Annotated[int, Field(ge=1)] = 2048

    @property
    def both_streams(self) -> bool:
        """See ``BlockOptions``."""
        return True


class ClippedBlocks(NamedTuple):
    """A weight whose clipping is learned: ``logits`` (2, n, groups) of both ends, the first alone for signs.

    ``padded``: the weight, float32 (n, groups, columns), zeros after the ``k``th; ``low``, ``high``: ends (n, groups),
    of signs mean and mean magnitude; ``largest``: code of each group, (groups,), 1 where codes are signs.
    """

    logits: torch.Tensor
    padded: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    largest: torch.Tensor
    group: int
    k: int

    def dense(self) -> torch.Tensor:
        """Rounded weight (n, k); gradients pass the rounding straight through, to the scales alone."""
        scale, zero = self._parameters()
        scale, zero, largest = scale[..., None], zero[..., None], self.largest[:, None]
        steps = self.padded / scale
        steps = steps + (steps.round() - steps).detach()
        codes = scale * ((steps + zero).clamp(torch.zeros_like(largest), largest) - zero)
        mean = self.low[..., None]
        signs = torch.where(self.padded >= mean, scale, -scale) + mean
        return torch.where(largest == 1, signs, codes).flatten(1)[:, : self.k]

    def learned(self, rate: float) -> list[tuple[torch.Tensor, float]]:
        """The logits."""
        return [(self.logits, rate)]

    def solution(self) -> LinearSolution:
        """Codes of each block's width."""
        scale, zero = (value.detach() for value in self._parameters())
        signs = self.padded < self.low[..., None]
        steps = torch.round(self.padded / scale[..., None]) + zero[..., None]
        largest = self.largest[:, None]
        codes = torch.where(largest == 1, signs.float(), steps.clamp(torch.zeros_like(largest), largest))
        bits = torch.log2(self.largest + 1).round().int().tolist()
        grids = [
            Grid(width, scale[:, one], self.low[:, one] if width == 1 else zero[:, one])
            for one, width in enumerate(bits)
        ]
        return mixed_solution(codes.flatten(1)[:, : self.k], grids, self.group)

    def _parameters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale (n, groups), float16-rounded with a straight-through gradient, and zero point, 0 for signs."""
        share = torch.sigmoid(self.logits)
        signs = self.largest == 1
        scale = torch.where(
            signs, self.high * (share[0] + 0.5), (share[0] * self.high - share[1] * self.low) / self.largest
        ).clamp_min(_LEAST_SCALE)
        zero = (
            (-share[1].detach() * self.low / scale.detach()).round().clamp(torch.zeros_like(self.largest), self.largest)
        )
        return scale + (as_stored(scale) - scale).detach(), torch.where(signs, 0.0, zero)


def learned_weight(
    weight: torch.Tensor, hessian: torch.Tensor | None, options: Options, inputs: torch.Tensor | None = None
) -> ClippedBlocks:
    """Where ``quant.procedures.blockwise`` starts.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    widths = allocated(work, hessian, damped.upper, options, inputs)
    (n, k), width = work.shape, options.group
    groups = ceil_divide(k, width)
    padded = torch.nn.functional.pad(work, (0, groups * width - k)).view(n, groups, width)
    columns = torch.tensor([min(width, k - first) for first in range(0, k, width)], device=work.device)
    bits = torch.tensor(widths, device=work.device)
    low = torch.where(bits == 1, as_stored(padded.sum(2) / columns), padded.amin(2).clamp_max(0))
    high = torch.where(bits == 1, padded.abs().sum(2) / columns, padded.amax(2).clamp_min(0))
    logits = torch.full((2, n, groups), _FIRST_LOGIT, device=work.device)
    return ClippedBlocks(logits, padded, low, high, (2**bits - 1).float(), width, k)
