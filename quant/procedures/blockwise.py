"""Methods whose parameters are learned against the output of the whole transformer block, block by block.

Ref: Shao et al., OmniQuant, arXiv 2308.13137, section 3.1: inputs come from the quantized prefix, targets are the float
block's outputs on the float prefix, the loss is their mean squared difference, AdamW without weight decay.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from hw.errors import InputError
from quant.llama.blocks import LoadedModel, block_linears, blocks, embed, working_block
from quant.pipeline import Progress
from quant.procedures.calibrate import CalibrationBlock, block_hessians
from quant.procedures.latent import BlockFunction, BlockTensors, block_function, block_tensors, rotary_tables
from quant.procedures.reconstruct import mixed_precision, run_in_place
from quant.registry import WeightOnlyOptions
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint, write_checkpoint
from quant.weights.solution import LinearSolution

__all__ = ["BlockOptions", "LearnedWeight", "fit_blocks"]


class BlockOptions(WeightOnlyOptions):
    """``objective``: what learning lowers, the "linear"'s own output error or that of the transformer "block".

    For "block": ``epochs`` over the calibration text, in steps of ``block_tokens_per_step`` at ``block_rate``.
    """

    objective: Literal["linear", "block"] = "linear"
    epochs: Annotated[int, Field(ge=0)] = 20
    block_rate: Annotated[float, Field(gt=0)] = 0.01
    block_tokens_per_step: Annotated[int, Field(ge=1)] = 8192


class LearnedWeight(Protocol):
    """A weight (n, k) under way, a tuple of tensors as ``quant.procedures.latent.LatentWeight`` is."""

    def dense(self) -> Tensor:
        """Its value, differentiable in what is learned."""
        ...

    def learned(self, rate: float) -> tuple[Tensor, float]:
        """What is learned, and its learning rate where the option says ``rate``."""
        ...

    def solution(self) -> LinearSolution:
        """What is stored."""
        ...


def fit_blocks(
    loaded: LoadedModel,
    start: Callable[[Tensor, Tensor, BlockOptions], LearnedWeight],
    options: BlockOptions,
    windows: Tensor,
    parts: Path,
    seed: int,
    progress: Progress,
) -> list[Path]:
    """Quantize every block; the paths of their checkpoints in ``parts``, from which a later call goes on.

    ``start(weight, hessian, options)``: the method's first state of one linear; ``windows``: calibration tokens, int64
    ``(count, length)``.

    Raises:
        InputError: what the method refuses, or a loss that is not finite.
    """
    model = loaded.model
    windows = windows.to(next(model.parameters()).device)
    compiled = windows.device.type == "cuda"
    teach, learn = (block_function(model, int8, compiled) for int8 in (False, options.int8_calibration))
    tables = rotary_tables(model, windows.shape[1])
    with torch.no_grad():
        targets = embed(model, windows)
    inputs, written = targets.clone(), []
    for layer in range(len(blocks(model))):
        block = working_block(model, layer)
        plain = block_tensors(block)
        run_in_place(teach, targets, tables, plain)
        part = parts / f"{layer}.safetensors"
        if not part.is_file():
            item = CalibrationBlock(layer, block, block_linears(block, layer), inputs)
            weights = _start(loaded, item, start, options)
            _fit(
                learn, tables, plain._replace(weights=weights), inputs, targets, options, seed, f"model.layers.{layer}"
            )
            solved = zip(LINEAR_KINDS, weights, strict=True)
            write_checkpoint(part, {(layer, kind): weight.solution() for kind, weight in solved})
        stored = Checkpoint(part)
        dense = tuple(stored.solution(layer, kind).to(windows.device).dense() for kind in LINEAR_KINDS)
        run_in_place(learn, inputs, tables, plain._replace(weights=dense))
        written.append(part)
        progress("quantize", layer + 1, loaded.shape.layers)
    return written


@torch.no_grad()
def _start(
    loaded: LoadedModel, item: CalibrationBlock, start: Callable[..., LearnedWeight], options: BlockOptions
) -> tuple[LearnedWeight, ...]:
    hessians, weights = block_hessians(loaded.model, item, options.int8_calibration), []
    for linear in item.linears:
        try:
            weights.append(start(linear.module.weight, hessians[linear.kind], options))
        except InputError as error:
            raise InputError(f"{linear.name}: {error}") from None
    return tuple(weights)


def _fit(
    function: BlockFunction,
    tables: tuple[Tensor, Tensor],
    tensors: BlockTensors,
    inputs: Tensor,
    targets: Tensor,
    options: BlockOptions,
    seed: int,
    where: str,
) -> None:
    """Learn the weights of ``tensors`` in place."""
    groups = [weight.learned(options.block_rate) for weight in tensors.weights]
    for parameter, _ in groups:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW([{"params": [p], "lr": rate} for p, rate in groups], weight_decay=0.0)
    for chosen in _steps(len(inputs), options, inputs.shape[1], seed):
        with mixed_precision(inputs.device):
            output = function(inputs[chosen], *tables, tensors)
        loss = torch.nn.functional.mse_loss(output, targets[chosen])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if options.epochs and not torch.isfinite(loss):
        raise InputError(f"{where}: the block's error must be finite, not {loss.item()}; lower the option 'block_rate'")
    for parameter, _ in groups:
        parameter.requires_grad_(False)


def _steps(windows: int, options: BlockOptions, length: int, seed: int) -> Iterator[list[int]]:
    """Windows of each step, in random order within an epoch; a rest that is no whole step waits for the next epoch."""
    batch = max(1, min(windows, options.block_tokens_per_step // length))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(options.epochs):
        order = torch.randperm(windows, generator=generator).tolist()
        for first in range(0, windows - batch + 1, batch):
            yield order[first : first + batch]
