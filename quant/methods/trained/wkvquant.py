"""WKVQuant: weights with learned clipping for a cache of few bits, whose channels are balanced by learned factors.

Ref: Yue et al., WKVQuant: Quantizing Weight and Key/Value Cache for Large Language Models Gains More, arXiv 2402.12065:
past-only quantization of the cache, two-dimensional quantization of K and V, and cross-block reconstruction, the mean
absolute error of the outputs five float blocks later. No official code is known. The clipping of weights is OmniQuant's
(arXiv 2308.13137, equation 2): the ends of a group's range times a sigmoid, straight-through rounding.

Differences and choices of our own: 1 to 5 balanced-ternary digits in place of 4 bits, so one clipping per group, which
starts at the least squared error; float16 scales; factors of K's and V's channels without shifts, K's per pair of RoPE
(``quant.procedures.wkvquant``); rates and epochs are those of OmniQuant, as the paper's are not known. Perplexity over
the cache is measured with ``--kv wkvquant:4``.
"""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from hw.division import ceil_divide
from hw.golden import digit_limit
from quant.methods.digits import digits_solution, fit_digits
from quant.methods.hessian import check_weights, spans
from quant.methods.method import BlockOptions, Procedure
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["ClippedWeight", "Options", "learned_weight"]

_SMALLEST_SHARE, _LARGEST_SHARE = 0.02, 0.98  # of a group's range, at the start
_LEAST_STEP = 1e-6


class Options(BlockOptions):
    """``digits`` of weights in groups of ``group``, None = the row; ``kv_bits`` of K and V in groups of ``kv_group``.

    ``kv_group``: channels per scale and minimum, None = a head. ``cross_blocks``: float blocks behind the one that
    learns, at whose end outputs are compared. ``factor_rate`` of the factors of K and V, which start at their largest
    magnitude to the power ``smooth``.
    """

    digits: Annotated[int, Field(ge=1, le=5)] = 3
    group: Annotated[int, Field(ge=1)] | None = 128
    kv_bits: Annotated[int, Field(ge=2, le=16)] = 4
    kv_group: Annotated[int, Field(ge=1)] | None = None
    cross_blocks: Annotated[int, Field(ge=0)] = 5
    smooth: Annotated[float, Field(ge=0, le=1)] = 0.5
    factor_rate: Annotated[float, Field(gt=0)] = 1e-3
    block_rate: Annotated[float, Field(gt=0)] = 5e-3
    block_tokens_per_step: Annotated[int, Field(ge=1)] = 2048

    @property
    def procedure(self) -> Procedure:
        """See ``MethodOptions``."""
        return "crossblock"


class ClippedWeight(NamedTuple):
    """A weight (n, k) whose clipping is learned: ``logits`` (n, groups) of the share of each group's range."""

    weight: torch.Tensor
    logits: torch.Tensor
    digits: int
    group: int | None

    def dense(self) -> torch.Tensor:
        """Its value (n, k)."""
        return self.rounded()

    def learned(self, rate: float) -> list[tuple[torch.Tensor, float]]:
        """The logits."""
        return [(self.logits, rate)]

    def solution(self) -> LinearSolution:
        """Digits and scales."""
        return self.stored()

    def rounded(self, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> torch.Tensor:
        """The value of the weight whose ``columns`` (k,) are multiplied before rounding, ``rows`` (n, 1) after it."""
        codes, scales = self._parts(rows, columns)
        return self._spread(scales + (as_stored(scales) - scales).detach()) * codes

    def stored(self, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> LinearSolution:
        """What is stored of the same."""
        codes, scales = self._parts(rows, columns)
        return digits_solution(codes.detach(), scales.detach(), self.digits, self.group)

    def _parts(self, rows: torch.Tensor | None, columns: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole numbers (n, k) and scales (n, groups), not yet rounded; differentiable."""
        weight = self.weight if columns is None else self.weight * columns
        limit = digit_limit(self.digits)
        steps = (torch.sigmoid(self.logits) * self._largest(weight) / limit).clamp_min(_LEAST_STEP)
        codes = weight / self._spread(steps)
        codes = (codes + (codes.round() - codes).detach()).clamp(-limit, limit)
        return codes, steps if rows is None else steps * rows

    def _largest(self, weight: torch.Tensor) -> torch.Tensor:
        """Largest magnitude of every group: (n, groups)."""
        n, k = weight.shape
        width = self.group or k
        padded = torch.nn.functional.pad(weight, (0, ceil_divide(k, width) * width - k))
        return padded.view(n, -1, width).abs().amax(2)

    def _spread(self, values: torch.Tensor) -> torch.Tensor:
        """Of each group, (n, groups), to each weight, (n, k)."""
        k = self.weight.shape[1]
        return values.repeat_interleave(self.group or k, 1)[:, :k]


def learned_weight(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> ClippedWeight:
    """Where ``quant.procedures.wkvquant`` starts. ``hessian`` is not used.

    Raises:
        InputError: weights that are not finite.
    """
    check_weights(weight)
    work = weight.detach().float().clone()
    shares = []
    for start, stop in spans(0, work.shape[1], options.group or work.shape[1]):
        _, step = fit_digits(work[:, start:stop], options.digits)
        largest = work[:, start:stop].abs().amax(1)
        shares.append(step * digit_limit(options.digits) / torch.where(largest > 0, largest, 1.0))
    share = torch.stack(shares, 1).clamp(_SMALLEST_SHARE, _LARGEST_SHARE)
    return ClippedWeight(work, torch.logit(share), options.digits, options.group)
