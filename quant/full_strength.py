"""PT-BitNet at full strength: closed form, then reconstruction block by block, then distillation of the whole model."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hw.artifact import atomic_path, sha256_json
from hw.errors import InputError
from quant.calibrate import CalibrationBlock, block_hessians
from quant.distill import distill, generate_windows
from quant.latent import (
    BlockFunction,
    BlockTensors,
    LatentWeight,
    block_function,
    block_tensors,
    latent_weight,
    rotary_tables,
    to_solution,
)
from quant.llama import LoadedModel, block_linears, blocks, embed
from quant.pipeline import Progress
from quant.pt_bitnet import Options, solve
from quant.reconstruct import TrainingPlan, mixed_precision, reconstruct_block
from quant.shapes import LINEAR_KINDS
from quant.solution import LinearSolution
from quant.source import weights_sha256

__all__ = ["full_strength"]

_TOKENS_PER_PASS = 16384
_GENERATED_LENGTH = 512  # tokens that the model writes in one go; distillation packs them into longer windows

_log = logging.getLogger(__name__)


def full_strength(
    loaded: LoadedModel,
    options: Options,
    windows: Tensor,
    parts: Path,
    texts_folder: Path,
    seed: int,
    progress: Progress,
) -> tuple[dict[tuple[int, str], LinearSolution], dict[str, np.ndarray]]:
    """Quantize all blocks: solutions by ``(layer, kind)``, and retrained norm gains by name.

    ``windows``: calibration tokens, int64 ``(count, length)``. Each reconstructed block is kept in ``parts``, and a
    later call goes on after it with the same bits; text that the model wrote is kept in ``texts_folder``. The model
    itself stays as it is: it is the teacher.

    Raises:
        InputError: what a solver refuses, or a loss that is not finite.
    """
    model = loaded.model
    windows = windows.to(next(model.parameters()).device)
    student = _reconstruct(loaded, options, windows, parts, seed, progress)
    last_norm = model.model.norm.weight.detach().clone()
    if options.distill_steps:
        length = min(options.distill_length, windows.numel() // 2)
        real = windows.flatten()[: windows.numel() // length * length].view(-1, length)
        count = options.generated_windows
        generated = real[:0]
        if count:
            generated = _generated(loaded, windows, count, texts_folder, seed, progress)
            generated = generated.flatten()[: generated.numel() // length * length].view(-1, length)
        plan = TrainingPlan(1, options.distill_rate, options.distill_tokens_per_step, seed)
        teacher = [block_tensors(block) for block in blocks(model)]
        steps, share = options.distill_steps, options.real_share
        distill(
            model,
            teacher,
            student,
            last_norm,
            real,
            generated,
            steps,
            share,
            plan,
            lambda d, t: progress("distill", d, t),
        )
    solutions, norms = {}, {"norm": last_norm.detach().cpu().numpy()}
    for layer, tensors in enumerate(student):
        for kind, weight in zip(LINEAR_KINDS, tensors.weights, strict=True):
            solutions[layer, kind] = _on_cpu(to_solution(weight, options.group))
        norms[f"layers.{layer}.input_layernorm"] = tensors.attention_norm.detach().cpu().numpy()
        norms[f"layers.{layer}.post_attention_layernorm"] = tensors.mlp_norm.detach().cpu().numpy()
    return solutions, norms


def _generated(loaded: LoadedModel, windows: Tensor, count: int, folder: Path, seed: int, progress: Progress) -> Tensor:
    """Windows that the model writes, or wrote for an earlier job."""
    length = min(_GENERATED_LENGTH, loaded.shape.max_positions)
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


def _reconstruct(
    loaded: LoadedModel, options: Options, windows: Tensor, parts: Path, seed: int, progress: Progress
) -> list[BlockTensors]:
    model = loaded.model
    compiled = windows.device.type == "cuda"
    teach, learn = (block_function(model, int8, compiled) for int8 in (False, True))
    tables = rotary_tables(model, windows.shape[1])
    plan = TrainingPlan(options.epochs, options.block_rate, options.block_tokens_per_step, seed)
    with torch.no_grad():
        hidden = embed(model, windows)
    student_hidden, student = hidden, []
    for layer, block in enumerate(blocks(model)):
        targets = _run(teach, hidden, tables, block_tensors(block))
        part = parts / f"{layer}.latent.safetensors"
        if part.is_file():
            tensors = _read_part(part, block_tensors(block), options.group, windows.device)
        else:
            tensors = _closed_form(loaded, layer, student_hidden, options)
            where = f"model.layers.{layer}"
            if options.epochs:
                error = reconstruct_block(learn, tables, tensors, student_hidden, targets, plan, where)
                _log.info("%s: relative error %.5f", where, error)
            _write_part(part, tensors)
        student.append(tensors)
        student_hidden, hidden = _run(learn, student_hidden, tables, tensors), targets
        progress("reconstruct", layer + 1, loaded.shape.layers)
    return student


@torch.no_grad()
def _closed_form(loaded: LoadedModel, layer: int, hidden: Tensor, options: Options) -> BlockTensors:
    block = blocks(loaded.model)[layer]
    linears = block_linears(block, layer)
    hessians = block_hessians(loaded.model, CalibrationBlock(layer, block, linears, hidden))
    weights = []
    for linear in linears:
        try:
            solution = solve(linear.module.weight, hessians[linear.kind], options)
        except InputError as error:
            raise InputError(f"{linear.name}: {error}") from None
        weights.append(latent_weight(linear.module.weight, solution))
    plain = block_tensors(block)
    return BlockTensors(
        weights=tuple(weights),
        biases=plain.biases,
        attention_norm=plain.attention_norm.detach().clone(),
        mlp_norm=plain.mlp_norm.detach().clone(),
    )


@torch.no_grad()
def _run(function: BlockFunction, hidden: Tensor, tables: tuple[Tensor, Tensor], tensors: BlockTensors) -> Tensor:
    """One block over all windows, a few at a time."""
    parts = hidden.split(max(1, _TOKENS_PER_PASS // hidden.shape[1]))
    with mixed_precision(hidden.device):
        return torch.cat([function(part, *tables, tensors) for part in parts])


def _write_part(path: Path, tensors: BlockTensors) -> None:
    stored = {"attention_norm": tensors.attention_norm, "mlp_norm": tensors.mlp_norm}
    for kind, weight in zip(LINEAR_KINDS, tensors.weights, strict=True):
        stored |= {f"{kind}.latent": weight.latent, f"{kind}.scales": weight.scales}
        if weight.powers is not None:
            stored[f"{kind}.powers"] = weight.powers
    with atomic_path(path) as temporary:
        save_file({name: value.detach().contiguous() for name, value in stored.items()}, temporary)


def _read_part(path: Path, plain: BlockTensors, group: int | None, device: torch.device) -> BlockTensors:
    stored = load_file(path, device=str(device))
    latents = [stored[f"{kind}.latent"] for kind in LINEAR_KINDS]
    weights = tuple(
        LatentWeight(latent, stored[f"{kind}.scales"], group or latent.shape[1], stored.get(f"{kind}.powers"))
        for kind, latent in zip(LINEAR_KINDS, latents, strict=True)
    )
    return BlockTensors(weights, plain.biases, stored["attention_norm"], stored["mlp_norm"])


def _on_cpu(solution: LinearSolution) -> LinearSolution:
    return LinearSolution(solution.trits.cpu(), solution.scales.cpu(), solution.group, solution.scale_kind)
