"""Other weights for the same function: channels balanced between a linear and what feeds it.

``balance`` divides every input channel of a linear by a factor and multiplies the linear's column by it. The division
goes into what produces the channel: the gain of the norm, the rows of v (for o), the rows of up (for down). It only
changes numbers, as ``quant.llama.rotation`` does, so the hardware runs the result as it runs the original.

Ref: AWQ (arXiv 2306.00978) section 3.2; SmoothQuant (arXiv 2211.10438) equation 4. Module names are those of
transformers' LLaMA relatives, as in ``quant.llama.blocks``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hw.progress import StageReport
from quant.llama.blocks import block_inputs, block_linears, block_norms, blocks, run_block
from quant.llama.rotation import READERS, store
from quant.procedures.calibrate import CalibrationBlock, calibration_blocks, in_passes
from quant.recording import FIRST_KINDS, INPUT_OF_KIND
from quant.shapes import ModelShape

__all__ = ["Exponents", "balance", "weight_kurtosis"]


class Exponents(NamedTuple):
    """How strongly factors follow the magnitudes of activations (AWQ: between 0 and 1) and of weights (SmoothQuant)."""

    activations: float
    weights: float = 0.0


_LEAST = 1e-4  # of the mean over channels: what a channel that is always zero counts as


@torch.no_grad()
def balance(
    model: PreTrainedModel, shape: ModelShape, windows: Tensor, exponents: Exponents, progress: StageReport
) -> None:
    """Balance in place: ``x / s`` and ``W diag(s)`` with one factor s per input channel.

    ``s = mean|x|^activations / rms(w)^weights``, times what makes the largest the inverse of the smallest; w: the
    channel's column in all linears that read it. Query heads that share a key-value head share its factors, of the
    means over them. ``windows``: calibration tokens, int64 ``(count, length)``.
    """
    for item in calibration_blocks(model, windows, int8=False):
        progress("balance", item.layer, shape.layers)
        found = _mean_magnitudes(model, item)
        _balance_block(blocks(model)[item.layer], item.layer, found, shape, exponents)
    progress("balance", shape.layers, shape.layers)


@torch.no_grad()
def weight_kurtosis(model: PreTrainedModel) -> float:
    """Mean over the decoder linears of ``E[w^4] / E[w^2]^2``: 3 for Gaussian weights, more with outliers."""
    found = []
    for layer, block in enumerate(blocks(model)):
        for linear in block_linears(block, layer):
            squares = linear.module.weight.float().square()
            found.append((squares.square().mean() / squares.mean().square()).item())
    return sum(found) / len(found)


def _mean_magnitudes(model: PreTrainedModel, item: CalibrationBlock) -> dict[str, Tensor]:
    """``mean|x|`` over tokens of each of a block's four inputs, float32 ``(k,)``; sets ``item.outputs``."""
    sums: dict[str, Tensor] = {}
    outputs = []
    with block_inputs(item.linears) as seen:
        for part in in_passes(item.hidden):
            outputs.append(run_block(model, item.block, part))
            for kind in FIRST_KINDS:
                magnitudes = seen[kind].abs().flatten(0, -2).sum(0)
                sums[kind] = sums[kind] + magnitudes if kind in sums else magnitudes
    item.outputs = torch.cat(outputs)
    tokens = item.hidden.shape[0] * item.hidden.shape[1]
    return {INPUT_OF_KIND[kind]: total / tokens for kind, total in sums.items()}


def _balance_block(
    block: nn.Module, layer: int, magnitudes: dict[str, Tensor], shape: ModelShape, exponents: Exponents
) -> None:
    modules = {linear.kind: linear.module for linear in block_linears(block, layer)}

    def measured(kinds: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Mean square of each column of these linears, mean magnitude of its input: ``(k,)``."""
        weights = [modules[kind].weight.double() for kind in kinds]
        return torch.cat(weights).square().mean(0), magnitudes[INPUT_OF_KIND[kinds[0]]].to(weights[0])

    heads = (shape.kv_heads, shape.heads // shape.kv_heads, shape.head_dim)  # query heads by key-value head
    shared = _factors(*(values.reshape(heads).mean(1).flatten() for values in measured(["o_proj"])), exponents)
    repeated = shared.reshape(shape.kv_heads, 1, -1).expand(heads).flatten()
    _move(modules["v_proj"], modules["o_proj"], shared, repeated)
    factors = _factors(*measured(["down_proj"]), exponents)
    _move(modules["up_proj"], modules["down_proj"], factors, factors)
    for kinds, gain in zip(READERS, block_norms(block, layer).values(), strict=True):
        factors = _factors(*measured(kinds), exponents)
        store(gain, gain.double() / factors)
        for kind in kinds:
            store(modules[kind].weight, modules[kind].weight.double() * factors)


def _move(producer: nn.Linear, reader: nn.Linear, divisors: Tensor, factors: Tensor) -> None:
    """Divide the outputs of one linear and multiply the columns of the one that reads them."""
    store(producer.weight, producer.weight.double() / divisors[:, None])
    if producer.bias is not None:
        store(producer.bias, producer.bias.double() / divisors)
    store(reader.weight, reader.weight.double() * factors)


def _factors(squares: Tensor, magnitudes: Tensor, exponents: Exponents) -> Tensor:
    """Balancing factors, float64: their largest times their smallest is 1."""
    raised = _floored(magnitudes) ** exponents.activations / _floored(squares).sqrt() ** exponents.weights
    return raised / (raised.max() * raised.min()).sqrt()


def _floored(values: Tensor) -> Tensor:
    """What is almost zero as a small share of the mean; ones where all are zero."""
    return values.clamp_min(_LEAST * values.mean()) if values.any() else torch.ones_like(values)
