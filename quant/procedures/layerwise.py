"""Methods that solve one linear at a time, block by block, each on the outputs of the quantized blocks before it."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import torch

from hw.errors import InputError
from quant.llama.blocks import LoadedModel, add_bias, block_norms
from quant.methods.method import MethodOptions
from quant.procedures.calibrate import (
    CalibrationBlock,
    block_hessians,
    block_samples,
    calibration_blocks,
    hessians_in_turn,
)
from quant.procedures.linears import solve_linears
from quant.procedures.refit import FloatStream
from quant.procedures.shared.shards import Shards
from quant.procedures.stopwatch import stage
from quant.procedures.work import Work, Written
from quant.weights.checkpoint import Checkpoint, write_checkpoint
from quant.weights.solution import LinearSolution

__all__ = ["solve_blocks"]

Key = TypeVar("Key")
Solutions = dict[tuple[int, str], LinearSolution]


@torch.no_grad()
def solve_blocks(work: Work) -> Written:
    """Quantize every block, in place, and keep each as a checkpoint; a later call takes it from there.

    Raises:
        InputError: what the method refuses, with the linear's name.
    """
    loaded, options, solve, shards = work.loaded, work.options, work.method.solve, work.shards._replace(local=True)
    if len(work.windows) % shards.count:
        raise InputError(
            f"calibration_windows must be a multiple of the {shards.count} shards, not {len(work.windows)}; give "
            f"--calibration-windows {max(1, len(work.windows) // shards.count) * shards.count}"
        )
    windows = shards.held(work.windows)
    stream = FloatStream(loaded.model, windows, options.refit_share, shards) if options.refit_share else None
    written = []
    for item in calibration_blocks(loaded.model, windows, options.int8_calibration):
        part = work.parts / f"{item.layer}.safetensors"
        if shards.agreed(part.is_file()):
            if stream:
                stream.skip_block(item)
            _put_block(item, Checkpoint(part))
        else:
            gains, biases = {}, {}
            if stream:
                solutions, gains, biases = stream.solve_block(item, solve, options)
            else:
                solutions = _solve_block(loaded, item, solve, options, shards)
            if shards.leads:
                with stage("write", item.layer):
                    write_checkpoint(part, solutions, _arrays(gains), _arrays(biases))
        written.append(part)
        work.progress("quantize", item.layer + 1, loaded.shape.layers)
    if stream:
        written.append(work.parts / "norm.safetensors")
        gains = stream.last_gains(item.outputs)
        if shards.leads:
            write_checkpoint(written[-1], {}, {"norm": gains.cpu().numpy()})
    return Written(written, {})


def _arrays(tensors: Mapping[Key, torch.Tensor]) -> dict[Key, np.ndarray]:
    return {name: value.cpu().numpy() for name, value in tensors.items()}


def _put_block(item: CalibrationBlock, stored: Checkpoint) -> None:
    """What an earlier run found for a block, in its place."""
    biases = stored.biases()
    for linear in item.linears:
        found = stored.solution(linear.layer, linear.kind).to(linear.module.weight.device)
        linear.module.weight.copy_(found.dense())
        if (constants := biases.get((linear.layer, linear.kind))) is not None:
            add_bias(linear.module, torch.from_numpy(constants))
    gains = block_norms(item.block, item.layer)
    for name, value in stored.norms().items():
        gains[name].copy_(torch.from_numpy(value))


def _solve_block(
    loaded: LoadedModel,
    item: CalibrationBlock,
    solve: Callable[..., LinearSolution],
    options: MethodOptions,
    shards: Shards,
) -> Solutions:
    """Solutions of one block's linears, put in their place."""
    found: Solutions = {}
    rounds, samples = _hessians(loaded, item, options, shards), None
    if options.sampled_tokens:
        samples = block_samples(loaded.model, item, options.int8_calibration, options.sampled_tokens)
    while True:
        with stage("Hessians", item.layer):
            hessians = next(rounds, None)
        if hessians is None:
            return found
        wanted = [linear for linear in item.linears if linear.kind in hessians]
        with stage("solve", item.layer):
            for linear, solution in solve_linears(wanted, hessians, solve, options, samples, shards):
                linear.module.weight.copy_(solution.dense())
                found[linear.layer, linear.kind] = solution


def _hessians(
    loaded: LoadedModel, item: CalibrationBlock, options: MethodOptions, shards: Shards
) -> Iterator[dict[str, torch.Tensor]]:
    """By linear kind: of all inputs at once, or of each after the linears before it are replaced."""
    if options.inputs_in_turn:
        yield from hessians_in_turn(loaded.model, item, options.int8_calibration)
    else:
        yield block_hessians(loaded.model, item, options.int8_calibration, shards)
