"""Calibration block by block: Hessians of each block's linears on the outputs of the blocks already quantized."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hw.errors import InputError
from quant.llama.blocks import (
    DecoderLinear,
    InputsTaken,
    block_inputs,
    block_linears,
    blocks,
    embed,
    int8_activations,
    product_precision,
    quantize_dequantize,
    run_block,
    working_block,
)
from quant.llama.stepped_block import SteppedBlock
from quant.procedures.shared.shards import WHOLE, Shards
from quant.procedures.stopwatch import stage
from quant.recording import FIRST_KINDS, INPUT_OF_KIND

__all__ = [
    "CalibrationBlock",
    "block_hessians",
    "block_peaks",
    "block_samples",
    "calibration_blocks",
    "forward_block",
    "hessians_in_turn",
    "in_passes",
    "token_windows",
]

_TOKENS_PER_PASS = 4096  # tokens that one forward pass of one block takes at a time


@dataclass
class CalibrationBlock:
    """One block whose turn it is: quantize ``linears`` in place before asking for the next.

    ``hidden``: inputs from the quantized prefix, ``(windows, length, hidden)``; ``outputs``: of the quantized block,
    where they are known already.
    """

    layer: int
    block: nn.Module
    linears: list[DecoderLinear]
    hidden: Tensor
    outputs: Tensor | None = None


def token_windows(tokens: Sequence[int], length: int, count: int | None, where: str) -> Tensor:
    """Consecutive windows of a tokenized text: int64 ``(count, length)``, all that fit where ``count`` is None.

    Raises:
        InputError: fewer tokens than asked for.
    """
    available = len(tokens) // length
    wanted = available if count is None else count
    if wanted < 1 or wanted > available:
        raise InputError(
            f"{where}: {wanted or 1} windows of {length} tokens need {max(wanted, 1) * length} tokens, "
            f"not {len(tokens)}; give a longer text or fewer or shorter windows"
        )
    return torch.tensor(tokens[: wanted * length], dtype=torch.int64).view(wanted, length)


@torch.no_grad()
def calibration_blocks(model: PreTrainedModel, windows: Tensor, int8: bool = True) -> Iterator[CalibrationBlock]:
    """Walk the blocks: the caller quantizes each before the next is yielded, so its inputs are those it will see.

    ``windows``: int64 ``(count, length)``; ``int8``: per-token int8 activations at every linear, as the hardware has.
    """
    hidden = embed(model, windows.to(next(model.parameters()).device))
    for layer in range(len(blocks(model))):
        with stage("bring block", layer):
            block = working_block(model, layer)
        item = CalibrationBlock(layer, block, block_linears(block, layer), hidden)
        yield item
        if item.outputs is None:
            with stage("forward", layer):
                item.outputs = forward_block(model, block, hidden, int8)
        hidden = item.outputs


@torch.no_grad()
def forward_block(model: PreTrainedModel, block: nn.Module, hidden: Tensor, int8: bool) -> Tensor:
    """Outputs of one block for all windows: ``(windows, length, hidden)``."""
    with int8_activations(block, int8):
        return torch.cat([run_block(model, block, part) for part in in_passes(hidden)])


@torch.no_grad()
def block_hessians(
    model: PreTrainedModel, item: CalibrationBlock, int8: bool = True, shards: Shards = WHOLE
) -> dict[str, Tensor]:
    """``X^T X`` by linear kind, float32 ``(k, k)``, mean over tokens; linears with one input share one tensor.

    ``shards``: of the windows; every process has all of them.

    Raises:
        InputError: activations that are not finite, named.
    """
    every = [_products(model, item, windows, int8) for windows in shards.split(item.hidden)]
    sums = every[0]
    if shards.count > 1:
        sums = {kind: shards.total([one[kind] for one in every]) for kind in FIRST_KINDS}
    found: dict[str, Tensor] = {}
    for kind, total in sums.items():
        found |= _by_kind(item, INPUT_OF_KIND[kind], total, shards)
    return found


def _products(model: PreTrainedModel, item: CalibrationBlock, windows: Tensor, int8: bool) -> dict[str, Tensor]:
    """``X^T X`` over some windows by the first kind of each input."""
    sums: dict[str, Tensor] = {}
    with int8_activations(item.block, int8), block_inputs(item.linears, last=FIRST_KINDS[-1]) as seen:
        for part in in_passes(windows):
            with suppress(InputsTaken):
                run_block(model, item.block, part)
            for kind in FIRST_KINDS:
                with product_precision(model):
                    product = _product(seen[kind])
                sums[kind] = sums[kind] + product if kind in sums else product
    return sums


@torch.no_grad()
def block_samples(model: PreTrainedModel, item: CalibrationBlock, int8: bool, tokens: int) -> dict[str, Tensor]:
    """Inputs of each linear by its kind, float32 ``(tokens, k)``: evenly out of all windows, or all there are."""
    available = item.hidden.shape[0] * item.hidden.shape[1]
    places = torch.linspace(0, available - 1, min(tokens, available), device=item.hidden.device).round().long()
    found: dict[str, list[Tensor]] = {kind: [] for kind in FIRST_KINDS}
    first = 0
    with int8_activations(item.block, int8), block_inputs(item.linears, last=FIRST_KINDS[-1]) as seen:
        for part in in_passes(item.hidden):
            with suppress(InputsTaken):
                run_block(model, item.block, part)
            count = part.shape[0] * part.shape[1]
            inside = places[(places >= first) & (places < first + count)] - first
            for kind in FIRST_KINDS:
                found[kind].append(seen[kind].flatten(0, -2)[inside].float())
            first += count
    samples = {INPUT_OF_KIND[kind]: torch.cat(parts) for kind, parts in found.items()}
    return {linear.kind: samples[INPUT_OF_KIND[linear.kind]] for linear in item.linears}


@torch.no_grad()
def block_peaks(model: PreTrainedModel, item: CalibrationBlock, int8: bool) -> dict[str, Tensor]:
    """Largest magnitude of each input over all tokens, by linear kind, float32 ``(k,)``."""
    peaks: dict[str, Tensor] = {}
    with int8_activations(item.block, int8), block_inputs(item.linears, last=FIRST_KINDS[-1]) as seen:
        for part in in_passes(item.hidden):
            with suppress(InputsTaken):
                run_block(model, item.block, part)
            for kind in FIRST_KINDS:
                largest, name = seen[kind].flatten(0, -2).abs().amax(0).float(), INPUT_OF_KIND[kind]
                peaks[name] = torch.maximum(peaks[name], largest) if name in peaks else largest
    return {linear.kind: peaks[INPUT_OF_KIND[linear.kind]] for linear in item.linears}


@torch.no_grad()
def hessians_in_turn(model: PreTrainedModel, item: CalibrationBlock, int8: bool = True) -> Iterator[dict[str, Tensor]]:
    """Hessians as of ``block_hessians`` for one input after the other, in one walk through the block.

    Linears replaced before the next input is asked for are what it is computed with; in the end ``item.outputs`` are
    known. Beside the block's inputs and outputs, the inputs of o or of down are held for all windows.

    Raises:
        InputError: activations that are not finite, named.
    """
    steps = SteppedBlock(model, item.block, int8)
    outputs = torch.empty_like(item.hidden)
    inputs, states = in_passes(item.hidden), in_passes(outputs)

    def hessian(name: str, values: Iterable[Tensor]) -> dict[str, Tensor]:
        with product_precision(model):
            total = reduce(add, (_product(quantize_dequantize(x) if int8 else x) for x in values))
        return _by_kind(item, name, total)

    yield hessian("attention_in", map(steps.attention_in, inputs))
    attended = [steps.attention_out(part) for part in inputs]
    yield hessian("attention_out", attended)
    for part, state, value in zip(inputs, states, attended, strict=True):
        state.copy_(steps.after_attention(part, value))
    del attended, value
    yield hessian("mlp_in", map(steps.mlp_in, states))
    gated = [steps.mlp_out(state) for state in states]
    yield hessian("mlp_out", gated)
    for state, value in zip(states, gated, strict=True):
        state.copy_(steps.after_mlp(state, value))
    item.outputs = outputs


def _product(inputs: Tensor) -> Tensor:
    x = inputs.flatten(0, -2)
    return x.T @ x


def _by_kind(item: CalibrationBlock, name: str, total: Tensor, shards: Shards = WHOLE) -> dict[str, Tensor]:
    """The mean over tokens for every linear that reads the input ``name``."""
    readers = [linear for linear in item.linears if INPUT_OF_KIND[linear.kind] == name]
    if not torch.isfinite(total).all():
        raise InputError(f"{readers[0].name}: calibration inputs must be finite; they hold NaN or overflow float32")
    mean = total / (shards.whole(item.hidden.shape[0]) * item.hidden.shape[1])
    return {linear.kind: mean for linear in readers}


def in_passes(hidden: Tensor) -> tuple[Tensor, ...]:
    """Windows ``(windows, length, hidden)`` in the parts, views of them, that one pass through a block takes."""
    return hidden.split(max(1, _TOKENS_PER_PASS // hidden.shape[1]))
