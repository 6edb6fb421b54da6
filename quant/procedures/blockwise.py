"""Methods whose parameters are learned against the output of the whole transformer block, block by block.

Ref: Shao et al., OmniQuant, arXiv 2308.13137, section 3.1: inputs come from the quantized prefix, targets are the float
block's outputs on the float prefix, the loss is their mean squared difference, AdamW without weight decay. A method may
ask for its code's ``aug_loss``: the float block's outputs on the quantized prefix as a second target.
"""

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from hw.errors import InputError
from quant.llama.blocks import block_linears, block_norms, blocks, embed, working_block
from quant.methods.method import BlockOptions, LearnedWeight
from quant.procedures.batches import batches
from quant.procedures.calibrate import CalibrationBlock, block_hessians, block_peaks, block_samples
from quant.procedures.input_factors import InputFactors, first_factors
from quant.procedures.latent import (
    BlockFunction,
    BlockTensors,
    block_function,
    block_tensors,
    check_blocks,
    rotary_tables,
)
from quant.procedures.reconstruct import by_rate, mixed_precision, run_in_place
from quant.procedures.stopwatch import stage
from quant.procedures.tuned.preprocess import merge_adapters
from quant.procedures.work import Work, Written
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint, write_checkpoint

__all__ = ["fit_blocks"]


def fit_blocks(work: Work) -> Written:
    """Quantize every block, and keep each as a checkpoint; a later call takes it from there.

    Raises:
        InputError: what the method refuses, with the linear's name, or a loss that is not finite.
    """
    model, options = work.loaded.model, work.options
    check_blocks(work.loaded, work.windows.shape[1])
    if options.preprocesses:
        once = options.model_copy(update={"preprocess_steps": 0})
        merge_adapters(work, lambda: fit_blocks(work._replace(options=once, parts=work.parts / "first")).parts)
    windows = work.windows.to(next(model.parameters()).device)
    compiled = windows.device.type == "cuda"
    teach, learn = (block_function(model, int8, compiled) for int8 in (False, options.int8_calibration))
    tables = rotary_tables(model, windows.shape[1])
    with torch.no_grad():
        targets = embed(model, windows)
    inputs, written = targets.clone(), []
    for layer in range(len(blocks(model))):
        with stage("bring block", layer):
            block = working_block(model, layer)
        plain, names = block_tensors(block), list(block_norms(block, layer))
        part = work.parts / f"{layer}.safetensors"
        item = CalibrationBlock(layer, block, block_linears(block, layer), inputs)
        peaks = None
        if options.input_peaks and not part.is_file():
            peaks = block_peaks(model, replace(item, hidden=targets), int8=False)
        with stage("forward", layer):
            run_in_place(teach, targets, tables, plain)
        if not part.is_file():
            tensors = plain._replace(weights=_start(work, item, peaks))
            factors = first_factors(tensors, work.loaded.shape.head_dim) if options.factors_at else None
            where = f"model.layers.{layer}"
            with stage("fit", layer):
                wanted = [targets]
                if options.both_streams:
                    wanted.append(inputs.clone())
                    run_in_place(teach, wanted[1], tables, plain)
                _fit(learn, tables, tensors, factors, inputs, wanted, options, work.seed, where)
                del wanted
            norms = {}
            if factors is not None:
                tensors = factors.folded(tensors)
                gains = tensors.attention_norm, tensors.mlp_norm
                norms = {name: gain.detach().cpu().numpy() for name, gain in zip(names, gains, strict=True)}
            solved = zip(LINEAR_KINDS, tensors.weights, strict=True)
            with stage("write", layer):
                write_checkpoint(part, {(layer, kind): weight.solution() for kind, weight in solved}, norms)
        stored = Checkpoint(part)
        dense = tuple(stored.solution(layer, kind).to(windows.device).dense() for kind in LINEAR_KINDS)
        done, own = plain._replace(weights=dense), stored.norms()
        if own:
            attention, mlp = (torch.from_numpy(own[name]).to(windows.device) for name in names)
            done = done._replace(attention_norm=attention, mlp_norm=mlp)
        with stage("forward", layer):
            run_in_place(learn, inputs, tables, done)
        written.append(part)
        work.progress("quantize", layer + 1, work.loaded.shape.layers)
    return Written(written, {})


@torch.no_grad()
def _start(work: Work, item: CalibrationBlock, peaks: dict[str, Tensor] | None) -> tuple[LearnedWeight, ...]:
    model, int8, tokens = work.loaded.model, work.options.int8_calibration, work.options.sampled_tokens
    with stage("Hessians", item.layer):
        hessians = block_hessians(model, item, int8)
        samples = block_samples(model, item, int8, tokens) if tokens else peaks
    weights = []
    for linear in item.linears:
        options = work.options.for_kind(linear.kind)
        try:
            sample = (samples[linear.kind],) if samples else ()
            weights.append(work.method.learned_weight(linear.module.weight, hessians[linear.kind], options, *sample))
        except InputError as error:
            raise InputError(f"{linear.name}: {error}") from None
    return tuple(weights)


def _fit(
    function: BlockFunction,
    tables: tuple[Tensor, Tensor],
    tensors: BlockTensors,
    factors: InputFactors | None,
    inputs: Tensor,
    targets: list[Tensor],
    options: BlockOptions,
    seed: int,
    where: str,
) -> None:
    """Learn the weights of ``tensors`` and ``factors`` in place, towards each of ``targets``."""
    groups = [pair for weight in tensors.weights for pair in weight.learned(options.block_rate)]
    if factors is not None:
        groups += factors.learned(options.factors_at)
    for parameter, _ in groups:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(by_rate(groups), weight_decay=0.0)
    size = max(1, min(len(inputs), options.block_tokens_per_step // inputs.shape[1]))
    order = list(batches(len(inputs), size, options.epochs, seed))
    fall = partial(_cosine, steps=len(order)) if options.falls else lambda _: 1.0
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, fall)
    for chosen in order:
        with mixed_precision(inputs.device):
            output = function(inputs[chosen], *tables, tensors if factors is None else factors.folded(tensors))
        loss = sum(_distance(output, target[chosen], options.cosine) for target in targets)
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    if options.epochs and not torch.isfinite(loss):
        raise InputError(f"{where}: the block's error must be finite, not {loss.item()}; lower the option 'block_rate'")
    for parameter, _ in groups:
        parameter.requires_grad_(False)


def _distance(output: Tensor, target: Tensor, cosine: bool) -> Tensor:
    """Mean squared difference; with ``cosine`` less the logarithm of the mean over tokens of the cosine's magnitude."""
    squares = torch.nn.functional.mse_loss(output, target)
    if not cosine:
        return squares
    return squares - torch.nn.functional.cosine_similarity(output, target, dim=-1).mean().abs().log()


def _cosine(step: int, steps: int) -> float:
    """Share of the first rate: from 1 to 0 over all steps."""
    return 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
