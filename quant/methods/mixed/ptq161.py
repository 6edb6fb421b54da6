"""PTQ1.61: a fifth of the input channels at 4 bits, all other weights signs whose scales are learned by blocks.

Ref: PTQ1.61, arXiv 2502.13179 (ACL 2025), sections 3.2 and 3.3; code zjq0455/PTQ1.61 ``quantize/blockptq.py`` and
``models/int_llama_layer.py``: channels with the largest activations of the float model keep min-max codes of 4 bits,
whose range is that of the whole row; the others are ``r1 r2' * (alpha sign(w - mu) + mu)`` with ``alpha = mean|w|``,
``mu = mean(w)`` (the paper's formula has no mu), of which alpha, r1 and r2 are learned against the float block's
outputs on the float and on the quantized prefix: squared errors, and logarithms of cosines; AdamW, a window a step.
Its preprocessing (section 3.4) is ``quant.procedures.tuned.preprocess``, off by default.
Differences: linears that read one input share r2, which is folded into what makes the input
(``quant.procedures.input_factors``), and in the code each linear has its own; ``sign(0)`` is +1; windows come in random
order; products of scales are float16.
"""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from hw.errors import InputError
from quant.methods.hessian import check_weights
from quant.methods.method import BlockOptions
from quant.methods.mixed.codes import Grid, min_max, mixed_solution, nearest_codes
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["MaskedBinary", "Options", "kept_channels", "learned_weight"]

_HIGH_BITS = 4
_LEAST_PEAK = 1e-5


class Options(BlockOptions):
    """``kept``: share of the input channels at 4 bits; ``block_rate`` of alpha, ``factor_rate`` of r1 and r2.

    A comment in the code has 9e-5 and 9e-3 for OPT and LLaMA-2. ``preprocess_steps``, 0 for none: steps of two windows
    in which a change of ``preprocess_rank`` of the float weights is learned at ``preprocess_rate`` on the model that a
    first pass quantized (10 000 in the paper), on the calibration text and ``preprocess_windows`` of 512 tokens that
    the model writes; a second pass then quantizes the changed weights.
    """

    kept: Annotated[float, Field(gt=0, le=0.4)] = 0.2
    epochs: Annotated[int, Field(ge=0)] = 20
    block_rate: Annotated[float, Field(gt=0)] = 5e-4
    factor_rate: Annotated[float, Field(gt=0)] = 1e-3
    block_tokens_per_step: Annotated[int, Field(ge=1)] = 2048
    preprocess_steps: Annotated[int, Field(ge=0)] = 0
    preprocess_rank: Annotated[int, Field(ge=1)] = 64
    preprocess_rate: Annotated[float, Field(gt=0)] = 1e-4
    preprocess_windows: Annotated[int, Field(ge=0)] = 4096

    @property
    def preprocesses(self) -> bool:
        """See ``BlockOptions``."""
        return self.preprocess_steps > 0

    @property
    def both_streams(self) -> bool:
        """See ``BlockOptions``."""
        return True

    @property
    def cosine(self) -> bool:
        """See ``BlockOptions``."""
        return True

    @property
    def input_peaks(self) -> bool:
        """See ``BlockOptions``."""
        return True

    @property
    def factors_at(self) -> float:
        """See ``BlockOptions``."""
        return self.factor_rate


class MaskedBinary(NamedTuple):
    """A weight (n, k) whose scales are learned: ``alpha`` and ``r1``, both (n,).

    ``signs`` (n, k), 0 at kept columns; ``mean`` (n,); ``kept`` bool (k,); ``codes`` (n, k): 4-bit codes less their
    zero point, 0 elsewhere; ``step`` and ``zero`` (n,) of them; ``rate``: of r1.
    """

    alpha: torch.Tensor
    r1: torch.Tensor
    signs: torch.Tensor
    mean: torch.Tensor
    kept: torch.Tensor
    codes: torch.Tensor
    step: torch.Tensor
    zero: torch.Tensor
    rate: float

    def dense(self) -> torch.Tensor:
        """Its value, differentiable in alpha, r1 and a factor of the rows."""
        low = (self.r1 * self.alpha)[:, None] * self.signs + (self.r1 * self.mean)[:, None]
        return torch.where(self.kept, self.step[:, None] * self.codes, low)

    def learned(self, rate: float) -> list[tuple[torch.Tensor, float]]:
        """Alpha at ``rate``, r1 at its own."""
        return [(self.alpha, rate), (self.r1, self.rate)]

    def scaled_rows(self, factors: torch.Tensor) -> "MaskedBinary":
        """The same with its rows times ``factors`` (n,)."""
        return self._replace(r1=self.r1 * factors, step=self.step * factors)

    def solution(self) -> LinearSolution:
        """Columns of signs, then those of 4-bit codes; a scale that went negative turns its signs or codes."""
        order = torch.cat([(~self.kept).nonzero().flatten(), self.kept.nonzero().flatten()])
        signs = self.signs * torch.where(self.r1 * self.alpha < 0, -1.0, 1.0).detach()[:, None]
        turned = (self.step < 0).detach()
        raw = self.codes + self.zero[:, None]
        largest = 2**_HIGH_BITS - 1
        raw = torch.where(turned[:, None], largest - raw, raw)
        zero = torch.where(turned, largest - self.zero, self.zero)
        codes = torch.where(self.kept, raw, (signs < 0).float())[:, order]
        scale, offset, step = (
            value.detach() for value in ((self.r1 * self.alpha).abs(), self.r1 * self.mean, self.step)
        )
        grids = [Grid(1, as_stored(scale), as_stored(offset)), Grid(_HIGH_BITS, as_stored(step.abs()), zero)]
        return mixed_solution(codes, grids, int((~self.kept).sum()), order)


def kept_channels(peaks: torch.Tensor, share: float) -> torch.Tensor:
    """Channels with a peak at least as large as the one at index ``floor(share k)``, from the largest: bool (k,).

    So many and one more, or more where peaks are equal.
    """
    peaks = peaks.clamp_min(_LEAST_PEAK)
    return peaks >= peaks.sort(descending=True).values[int(share * len(peaks))]


def learned_weight(
    weight: torch.Tensor, hessian: torch.Tensor | None, options: Options, peaks: torch.Tensor
) -> MaskedBinary:
    """Where ``quant.procedures.blockwise`` starts; ``peaks`` (k,): largest magnitudes of the inputs.

    Raises:
        InputError: weights that are not finite, or peaks of which too many are equal.
    """
    check_weights(weight)
    weight, kept = weight.detach().float(), kept_channels(peaks, options.kept)
    if (count := int(kept.sum())) > len(kept) // 2:
        raise InputError(
            f"option 'kept': at most half of the {len(kept)} input channels must be at 4 bits, not the {count} whose "
            "largest activations are equal; give other calibration text"
        )
    used = (weight != 0) & ~kept
    share = used.sum(1).clamp_min(1)
    mean = (weight * used).sum(1) / share
    alpha = (weight * used).abs().sum(1) / share
    high = min_max(weight, _HIGH_BITS)
    codes = nearest_codes(weight, high) - high.zero[:, None]
    return MaskedBinary(
        alpha=alpha,
        r1=torch.ones_like(alpha),
        signs=torch.where(weight >= mean[:, None], 1.0, -1.0) * ~kept,
        mean=mean,
        kept=kept,
        codes=codes * kept,
        step=high.scale,
        zero=high.zero,
        rate=options.factor_rate,
    )
