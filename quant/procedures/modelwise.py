"""PT-BitNet at full strength: closed form, then reconstruction block by block, then distillation of the whole model."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hw.artifact import atomic_path, sha256_json
from quant.llama.blocks import LoadedModel, block_linears, blocks, embed, streams, working_block
from quant.llama.generate import generate_windows
from quant.methods.pt_bitnet import Options, solve
from quant.pipeline import Progress
from quant.procedures.calibrate import CalibrationBlock, block_hessians
from quant.procedures.distill import Corpus, distill
from quant.procedures.latent import BlockTensors, block_function, block_tensors, latent_weight, rotary_tables
from quant.procedures.linears import solve_linears
from quant.procedures.reconstruct import TrainingPlan, reconstruct, run_in_place
from quant.procedures.stopwatch import stage
from quant.procedures.unfinished_blocks import read_window, write_window
from quant.shapes import LINEAR_KINDS
from quant.source import weights_sha256
from quant.weights.checkpoint import write_checkpoint

__all__ = ["GENERATED_LENGTH", "distill_blocks", "full_strength", "reconstruct_blocks"]

GENERATED_LENGTH = 512  # tokens that the model writes in one go; distillation packs them into longer windows

_log = logging.getLogger(__name__)


def full_strength(
    loaded: LoadedModel,
    options: Options,
    windows: Tensor,
    parts: Path,
    texts_folder: Path,
    seed: int,
    progress: Progress,
) -> tuple[list[Path], dict[str, np.ndarray]]:
    """Quantize all blocks: the paths of their checkpoints, and retrained norm gains by name.

    ``windows``: calibration tokens, int64 ``(count, length)``. Each reconstructed block is kept in ``parts``, and a
    later call goes on after it with the same bits; text that the model wrote is kept in ``texts_folder``. The model
    itself stays as it is: it is the teacher.

    Raises:
        InputError: what a solver refuses, or a loss that is not finite.
    """
    model = loaded.model
    windows = windows.to(next(model.parameters()).device)
    generated = windows[:0]
    if options.distill_steps and options.generated_windows:
        generated = _generated(loaded, windows, options.generated_windows, texts_folder, seed, progress)
    student = list(reconstruct_blocks(loaded, options, windows, parts, seed, progress))
    last_norm = model.model.norm.weight.detach().clone()
    if options.distill_steps:
        distill_blocks(loaded, options, student, last_norm, windows, generated, seed, progress)
    return _write_blocks(student, parts), _norms(student, last_norm)


def distill_blocks(
    loaded: LoadedModel,
    options: Options,
    student: list[BlockTensors],
    last_norm: Tensor,
    windows: Tensor,
    generated: Tensor,
    seed: int,
    progress: Progress,
) -> None:
    """Distill the model into ``student`` and ``last_norm``; both texts are tokens, int64 ``(windows, any length)``.

    Raises:
        InputError: a loss that is not finite.
    """
    length = min(options.distill_length, windows.numel() // 2)
    real, written = (
        tokens.flatten()[: tokens.numel() // length * length].view(-1, length) for tokens in (windows, generated)
    )
    with stage("bring teacher", 0):
        teacher = _teacher(loaded)
    plan = TrainingPlan(
        epochs=1,
        rate=options.distill_rate,
        tokens_per_step=options.distill_tokens_per_step,
        seed=seed,
        soften=options.distill_soften,
        range_penalty=options.range_penalty,
    )
    distill(
        loaded.model,
        teacher,
        student,
        last_norm,
        Corpus(real, written, options.real_share),
        options.distill_steps,
        plan,
        lambda done, total: progress("distill", done, total),
    )


def reconstruct_blocks(
    loaded: LoadedModel, options: Options, windows: Tensor, parts: Path, seed: int, progress: Progress
) -> Iterator[BlockTensors]:
    """Blocks in order, each solved in closed form and trained; with frozen codes where distillation keeps them.

    ``windows``: calibration tokens on the model's device. The states of all of them are held twice, of the float and of
    the quantized prefix; once more for a moment where ``options.window`` blocks are trained together. A block enters
    training in closed form, on the inputs that the drafts before it give, and stays a draft until it is the first.

    Raises:
        InputError: what a solver refuses, or a loss that is not finite.
    """
    model = loaded.model
    compiled = windows.device.type == "cuda"
    teach, learn = (block_function(model, int8, compiled) for int8 in (False, True))
    tables = rotary_tables(model, windows.shape[1])
    plan = TrainingPlan(options.epochs, options.block_rate, options.block_tokens_per_step, seed, options.soften)
    with torch.no_grad():
        targets = embed(model, windows)
    inputs, count, taught = targets.clone(), len(blocks(model)), 0
    window: list[BlockTensors] = []
    for layer in range(count):
        part = parts / f"{layer}.window.safetensors"
        for entering in range(taught, min(layer + options.window, count)):
            with stage("bring block", entering):
                block = working_block(model, entering)
            with stage("forward", entering):
                run_in_place(teach, targets, tables, block_tensors(block))
            if not part.is_file():
                states = inputs.clone() if window else inputs
                for tensors in window:
                    run_in_place(learn, states, tables, tensors)
                item = CalibrationBlock(entering, block, block_linears(block, entering), states)
                window.append(_closed_form(loaded, item, options))
            taught = entering + 1
        if part.is_file():
            window = read_window(part, options, windows.device)
        else:
            where = f"model.layers.{layer}"
            if options.epochs:
                with stage("reconstruct", layer):
                    error = reconstruct(learn, tables, window, inputs, targets, plan, where)
                _log.info("%s: relative error %.5f", where, error)
            if options.distilled == "scales":
                window[0] = window[0].freeze()
            with stage("write", layer):
                write_window(part, window)
        done, *window = window
        with stage("forward", layer):
            run_in_place(learn, inputs, tables, done)
        yield done
        progress("reconstruct", layer + 1, loaded.shape.layers)


def _teacher(loaded: LoadedModel) -> list[BlockTensors]:
    """The float blocks on the device; a streamed model's on a GPU in bfloat16, in which they multiply anyway."""
    device = loaded.model.model.embed_tokens.weight.device
    halved = streams(loaded.model) and device.type == "cuda"
    found = []
    for layer in range(len(blocks(loaded.model))):
        tensors = block_tensors(working_block(loaded.model, layer))
        if halved:
            tensors = tensors._replace(weights=tuple(weight.to(torch.bfloat16) for weight in tensors.weights))
        found.append(tensors)
    return found


def _generated(loaded: LoadedModel, windows: Tensor, count: int, folder: Path, seed: int, progress: Progress) -> Tensor:
    """Windows that the model writes, or wrote for an earlier job."""
    length = min(GENERATED_LENGTH, loaded.shape.max_positions)
    source = hashlib.sha256(windows.cpu().numpy().tobytes()).hexdigest()
    key = sha256_json({"weights": weights_sha256(loaded.path), "slice": source, "size": [count, length], "seed": seed})
    path = folder / f"generated-{key[:12]}.safetensors"
    if not path.is_file():
        tokens = generate_windows(
            loaded.model, windows, count, length, seed, lambda done, total: progress("generate text", done, total)
        )
        with atomic_path(path) as temporary:
            save_file({"tokens": tokens.int().cpu()}, temporary)
    return load_file(path)["tokens"].long().to(windows.device)


@torch.no_grad()
def _closed_form(loaded: LoadedModel, item: CalibrationBlock, options: Options) -> BlockTensors:
    with stage("Hessians", item.layer):
        hessians = block_hessians(loaded.model, item)
    with stage("solve", item.layer):
        solved = {
            linear.kind: latent_weight(linear.module.weight, solution, options.rank)
            for linear, solution in solve_linears(item.linears, hessians, solve, options)
        }
    plain = block_tensors(item.block)
    return BlockTensors(
        weights=tuple(solved[kind] for kind in LINEAR_KINDS),
        biases=plain.biases,
        attention_norm=plain.attention_norm.detach().clone(),
        mlp_norm=plain.mlp_norm.detach().clone(),
    )


def _write_blocks(student: list[BlockTensors], parts: Path) -> list[Path]:
    """A checkpoint for each block, one block's integers on the host at a time."""
    written = []
    for layer, tensors in enumerate(student):
        solved = zip(LINEAR_KINDS, tensors.weights, strict=True)
        written.append(parts / f"{layer}.safetensors")
        write_checkpoint(written[-1], {(layer, kind): weight.solution() for kind, weight in solved})
    return written


def _norms(student: list[BlockTensors], last_norm: Tensor) -> dict[str, np.ndarray]:
    gains = {"norm": last_norm}
    for layer, tensors in enumerate(student):
        gains[f"layers.{layer}.input_layernorm"] = tensors.attention_norm
        gains[f"layers.{layer}.post_attention_layernorm"] = tensors.mlp_norm
    return {name: gain.detach().cpu().numpy() for name, gain in gains.items()}
