"""Where a rotation lowers the error of rounding: RoSTE's choice, site by site, from one pass of the float model.

Ref: Wei et al., RoSTE, arXiv 2502.09003v3, section 4; see ``quant.methods.trained.roste`` for sites and differences.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from quant.llama.blocks import (
    LoadedModel,
    block_inputs,
    block_linears,
    block_norms,
    quantize_dequantize,
    run_block,
)
from quant.llama.rotation import READERS, WRITERS, by_head, rotations
from quant.procedures.calibrate import CalibrationBlock, calibration_blocks, in_passes

__all__ = ["Sites", "site_errors"]

Rounding = Callable[[Tensor], Tensor]


class Errors(NamedTuple):
    """Of one site, unrotated and rotated."""

    plain: float
    rotated: float

    @property
    def rotates(self) -> bool:
        """Whether the rotation lowers it; where both are equal, it does not."""
        return self.rotated < self.plain


class Sites(NamedTuple):
    """Errors of the residual stream and of every layer's values."""

    stream: Errors
    values: list[Errors]

    @property
    def chosen_values(self) -> list[int]:
        """Layers whose values are to be rotated."""
        return [layer for layer, errors in enumerate(self.values) if errors.rotates]


@torch.no_grad()
def site_errors(loaded: LoadedModel, windows: Tensor, seed: int, rounding: Rounding, activations: float) -> Sites:
    """Errors of all sites; the model stays as it is.

    ``windows``: int64 ``(count, length)``; ``seed``: of the matrices; ``rounding``: of weights (n, k);
    ``activations``: what the activations' error, int8 per token and summed over a vector, counts.

    Raises:
        InputError: a size without Hadamard matrix, named.
    """
    shape = loaded.shape
    stream, values = rotations(shape, seed)
    streams, found = [0.0, 0.0], []
    for item in calibration_blocks(loaded.model, windows, int8=False):
        gains = [gain.double() for gain in block_norms(item.block, item.layer).values()]
        weights = {linear.kind: linear.module.weight.double() for linear in block_linears(item.block, item.layer)}
        for kinds, gain in zip(READERS, gains, strict=True):
            weights |= {kind: weights[kind] * gain for kind in kinds}
        turned = {kind: stream(weights[kind]) for kinds in READERS for kind in kinds}
        turned |= {kind: stream(weights[kind].T).T for kind in WRITERS}
        turned["v_proj"] = by_head(values, turned["v_proj"].T, shape.head_dim).T
        turned["o_proj"] = by_head(values, turned["o_proj"], shape.head_dim)
        kinds_of_values = ("v_proj", "o_proj")
        errors = [
            {kind: _squares(rounding(w.float()) - w.float()) for kind, w in both.items()} for both in (weights, turned)
        ]
        seen = _activation_errors(loaded, item, gains, (stream, lambda x: by_head(values, x, shape.head_dim)))
        found.append(
            Errors(
                *(
                    sum(one[kind] for kind in kinds_of_values) + activations * act
                    for one, act in zip(errors, seen.values, strict=True)
                )
            )
        )
        for which in range(2):
            others = sum(error for kind, error in errors[which].items() if kind not in kinds_of_values)
            streams[which] += others + activations * seen.stream[which]
    return Sites(Errors(*streams), found)


class _Seen(NamedTuple):
    """Mean squared int8 error of a token's vectors, unrotated and rotated: of inputs from the stream, of o's."""

    stream: tuple[float, float]
    values: tuple[float, float]


def _activation_errors(
    loaded: LoadedModel, item: CalibrationBlock, gains: list[Tensor], turns: tuple[Rounding, Rounding]
) -> _Seen:
    """Of one block's inputs; sets ``item.outputs``."""
    sums = torch.zeros((2, 2), dtype=torch.float64, device=item.hidden.device)
    outputs = []
    with block_inputs(item.linears) as seen:
        for part in in_passes(item.hidden):
            outputs.append(run_block(loaded.model, item.block, part))
            inputs = [(0, _without(seen[kinds[0]], gain)) for kinds, gain in zip(READERS, gains, strict=True)]
            for site, x in [*inputs, (1, seen["o_proj"].float())]:
                for which, one in enumerate((x, turns[site](x))):
                    sums[site, which] += (quantize_dequantize(one) - one).double().square().sum()
    item.outputs = torch.cat(outputs)
    stream, values = (sums / (item.hidden.shape[0] * item.hidden.shape[1])).tolist()
    return _Seen(tuple(stream), tuple(values))


def _without(x: Tensor, gain: Tensor) -> Tensor:
    """A norm's outputs before its gains; 0 where a gain is 0."""
    return torch.where(gain != 0, x.double() / torch.where(gain != 0, gain, 1.0), 0.0).float()


def _squares(difference: Tensor) -> float:
    return difference.double().square().sum().item()
