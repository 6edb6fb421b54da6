"""Calibration block by block: Hessians of each block's linears on the outputs of the blocks already quantized."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hw.errors import InputError
from quant.llama import (
    DecoderLinear,
    InputsTaken,
    block_inputs,
    block_linears,
    blocks,
    embed,
    int8_activations,
    run_block,
    working_block,
)
from quant.recording import FIRST_KINDS, INPUT_OF_KIND
from quant.stopwatch import stage

__all__ = ["INPUTS", "CalibrationBlock", "block_hessians", "calibration_blocks", "forward_block", "token_windows"]

INPUTS = tuple(INPUT_OF_KIND[kind] for kind in FIRST_KINDS)  # in the order in which a token meets them

_TOKENS_PER_PASS = 4096  # tokens that one forward pass of one block takes at a time


class CalibrationBlock(NamedTuple):
    """One block whose turn it is: quantize ``linears`` in place before asking for the next."""

    layer: int
    block: nn.Module
    linears: list[DecoderLinear]
    hidden: Tensor  # (windows, length, hidden), from the quantized prefix


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
        yield CalibrationBlock(layer, block, block_linears(block, layer), hidden)
        with stage("forward", layer):
            hidden = forward_block(model, block, hidden, int8)


@torch.no_grad()
def forward_block(model: PreTrainedModel, block: nn.Module, hidden: Tensor, int8: bool) -> Tensor:
    """Outputs of one block for all windows: ``(windows, length, hidden)``."""
    with int8_activations(block, int8):
        return torch.cat([run_block(model, block, part) for part in _parts(hidden)])


@torch.no_grad()
def block_hessians(
    model: PreTrainedModel, item: CalibrationBlock, int8: bool = True, inputs: Sequence[str] = INPUTS
) -> dict[str, Tensor]:
    """``X^T X`` by linear kind, float32 ``(k, k)``, mean over tokens; linears with one input share one tensor.

    ``inputs``: which of the block's distinct inputs are wanted, names of ``quant.recording.INPUT_OF_KIND``.

    Raises:
        InputError: activations that are not finite, named.
    """
    wanted = [kind for kind in FIRST_KINDS if INPUT_OF_KIND[kind] in inputs]
    sums: dict[str, Tensor] = {}
    with int8_activations(item.block, int8), block_inputs(item.linears, last=wanted[-1]) as seen:
        for part in _parts(item.hidden):
            with suppress(InputsTaken):
                run_block(model, item.block, part)
            for kind in wanted:
                x = seen[kind].flatten(0, -2)
                product = x.T @ x
                sums[kind] = sums[kind] + product if kind in sums else product
    tokens = item.hidden.shape[0] * item.hidden.shape[1]
    for linear in item.linears:
        if linear.kind in sums and not torch.isfinite(sums[linear.kind]).all():
            raise InputError(f"{linear.name}: calibration inputs must be finite; they hold NaN or overflow float32")
    by_input = {INPUT_OF_KIND[kind]: total / tokens for kind, total in sums.items()}
    return {kind: by_input[name] for kind, name in INPUT_OF_KIND.items() if name in by_input}


def _parts(hidden: Tensor) -> Iterator[Tensor]:
    return iter(hidden.split(max(1, _TOKENS_PER_PASS // hidden.shape[1])))
