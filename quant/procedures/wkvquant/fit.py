"""Blocks learned one after the other over a quantized cache, towards the float model's outputs some blocks later.

Ref: Yue et al., WKVQuant, arXiv 2402.12065: inputs from the quantized prefix, whose attention finds its past quantized;
the block's outputs go through the next float blocks, and so do those of the float block on the float prefix; the loss
is the mean absolute difference of the two.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from hw.errors import InputError
from quant.llama.blocks import block_linears, blocks, embed, working_block
from quant.procedures.batches import batches
from quant.procedures.latent import (
    BlockFunction,
    BlockTensors,
    block_function,
    block_tensors,
    check_blocks,
    rms_norm,
    rotary_tables,
)
from quant.procedures.reconstruct import by_rate, mixed_precision, run_in_place
from quant.procedures.stopwatch import stage
from quant.procedures.wkvquant.past_only import PastOnly
from quant.procedures.wkvquant.smoothing import SmoothedBlock, first_factors
from quant.procedures.work import Work, Written
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint, write_checkpoint

__all__ = ["fit_across_blocks"]


def fit_across_blocks(work: Work) -> Written:
    """Quantize every block, and keep each as a checkpoint; a later call takes it from there.

    Raises:
        InputError: what the method refuses, with the linear's name, a group that does not divide a head, biases of q, k
            or v, or a loss that is not finite.
    """
    model, options, shape = work.loaded.model, work.options, work.loaded.shape
    check_blocks(work.loaded, work.windows.shape[1])
    group = options.kv_group or shape.head_dim
    if shape.head_dim % group:
        raise InputError(f"option 'kv_group' must divide the head size {shape.head_dim}, not {group}")
    windows = work.windows.to(next(model.parameters()).device)
    compiled = windows.device.type == "cuda"
    teach = block_function(model, False, compiled)
    learn = block_function(model, options.int8_calibration, compiled, attention=PastOnly(options.kv_bits, group))
    tables = rotary_tables(model, windows.shape[1])
    with torch.no_grad():
        targets = embed(model, windows)
    inputs, written, count = targets.clone(), [], len(blocks(model))
    for layer in range(count):
        with stage("bring block", layer):
            plain = block_tensors(working_block(model, layer))
            behind = [
                block_tensors(working_block(model, later))
                for later in range(layer + 1, min(layer + 1 + options.cross_blocks, count))
            ]
        with stage("forward", layer):
            run_in_place(teach, targets, tables, plain)
        part = work.parts / f"{layer}.safetensors"
        if not part.is_file():
            block = _start(work, layer, plain, inputs)
            with stage("forward", layer):
                wanted = targets.clone()
                for tensors in behind:
                    run_in_place(teach, wanted, tables, tensors)
            with stage("fit", layer):
                _fit(partial(_through, learn, teach, tables, plain, behind), block, inputs, wanted, work, layer)
            del wanted
            with stage("write", layer):
                write_checkpoint(part, {(layer, kind): one for kind, one in block.solutions().items()})
        stored = Checkpoint(part)
        dense = tuple(stored.solution(layer, kind).to(windows.device).dense() for kind in LINEAR_KINDS)
        with stage("forward", layer):
            run_in_place(learn, inputs, tables, plain._replace(weights=dense))
        written.append(part)
        work.progress("quantize", layer + 1, count)
    return Written(written, {})


@torch.no_grad()
def _start(work: Work, layer: int, plain: BlockTensors, inputs: Tensor) -> SmoothedBlock:
    """Weights and factors of one block before it learns."""
    shape, options = work.loaded.shape, work.options
    weights = []
    for linear in block_linears(blocks(work.loaded.model)[layer], layer):
        if linear.kind in ("q_proj", "k_proj", "v_proj") and linear.module.bias is not None:
            raise InputError(
                f"{linear.name}: factors of K and V must meet no bias, which no checkpoint holds; give another method"
            )
        weight = plain.weights[LINEAR_KINDS.index(linear.kind)]
        try:
            weights.append(work.method.learned_weight(weight, None, options.for_kind(linear.kind)))
        except InputError as error:
            raise InputError(f"{linear.name}: {error}") from None
    eps = work.loaded.model.config.rms_norm_eps
    normed = rms_norm(inputs, plain.attention_norm, eps).flatten(0, 1)
    keys, values = (normed @ plain.weights[LINEAR_KINDS.index(kind)].T for kind in ("k_proj", "v_proj"))
    factors = first_factors(keys, values, shape, options.smooth)
    return SmoothedBlock(tuple(weights), *factors, shape.heads // shape.kv_heads)


def _through(
    learn: BlockFunction,
    teach: BlockFunction,
    tables: tuple[Tensor, Tensor],
    plain: BlockTensors,
    behind: Sequence[BlockTensors],
    block: SmoothedBlock,
    hidden: Tensor,
) -> Tensor:
    """Outputs of the block that learns, gone through the float ones behind it."""
    with mixed_precision(hidden.device):
        hidden = learn(hidden, *tables, plain._replace(weights=block.dense()))
        for tensors in behind:
            hidden = teach(hidden, *tables, tensors)
    return hidden


def _fit(
    through: Callable[[SmoothedBlock, Tensor], Tensor],
    block: SmoothedBlock,
    inputs: Tensor,
    wanted: Tensor,
    work: Work,
    layer: int,
) -> None:
    """Learn clipping and factors of one block in place; ``through``: from its inputs to where outputs are compared."""
    options = work.options
    learned = block.learned(options.block_rate, options.factor_rate)
    for tensor, _ in learned:
        tensor.requires_grad_(True)
    optimizer = torch.optim.AdamW(by_rate(learned), weight_decay=0.0)
    size = max(1, min(len(inputs), options.block_tokens_per_step // inputs.shape[1]))
    for chosen in batches(len(inputs), size, options.epochs, work.seed):
        loss = torch.nn.functional.l1_loss(through(block, inputs[chosen]), wanted[chosen])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if options.epochs and not torch.isfinite(loss):
        raise InputError(
            f"model.layers.{layer}: the error must be finite, not {loss.item()}; lower the option 'block_rate'"
        )
    for tensor, _ in learned:
        tensor.requires_grad_(False)
