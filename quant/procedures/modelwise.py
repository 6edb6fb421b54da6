"""Methods that are trained as a whole: solved in closed form, reconstructed block by block, distilled at the end."""

import hashlib
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hw.artifact import atomic_path, sha256_json
from hw.errors import InputError
from quant.llama.blocks import LoadedModel, block_linears, blocks, embed, streams, working_block
from quant.llama.generate import generate_windows, generation_settings
from quant.methods.method import GENERATED_LENGTH
from quant.procedures.calibrate import CalibrationBlock, block_hessians
from quant.procedures.distill import Corpus, Tables, distill
from quant.procedures.latent import (
    BlockTensors,
    block_function,
    block_tensors,
    check_blocks,
    latent_weight,
    rotary_tables,
)
from quant.procedures.linears import solve_linears
from quant.procedures.reconstruct import TrainingPlan, reconstruct, run_in_place
from quant.procedures.stopwatch import stage
from quant.procedures.unfinished_blocks import read_window, write_window
from quant.procedures.work import Work, Written
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import write_checkpoint
from quant.weights.solution import LinearSolution

__all__ = ["distill_blocks", "reconstruct_blocks", "train_model"]

_log = logging.getLogger(__name__)


def train_model(work: Work) -> Written:
    """Quantize all blocks, whose norms are retrained too; the options are ``quant.methods.method.ModelOptions``.

    Each reconstructed block is kept, and a later call goes on after it with the same bits; text that the model wrote is
    kept as well. The model itself stays as it is: it is the teacher.

    Raises:
        InputError: what the method refuses, or a loss that is not finite.
    """
    model, options = work.loaded.model, work.options
    check_blocks(work.loaded, max(work.windows.shape[1], options.distill_length if options.distill_steps else 0))
    work = work._replace(windows=work.windows.to(next(model.parameters()).device))
    generated = work.windows[:0]
    if options.distill_steps and options.generated_windows:
        generated = _generated(work, options.generated_windows)
    student = list(reconstruct_blocks(work))
    last_norm = model.model.norm.weight.detach().clone()
    tables = _tables(work.loaded) if options.tables == "trained" and options.distill_steps else None
    if options.distill_steps:
        distill_blocks(work, student, last_norm, generated, tables)
    return Written(_write_blocks(student, work.parts), _norms(student, last_norm), _halves(tables))


def distill_blocks(
    work: Work, student: list[BlockTensors], last_norm: Tensor, generated: Tensor, tables: Tables | None = None
) -> None:
    """Distill the model into ``student``, ``last_norm`` and ``tables``, on the calibration text and on ``generated``.

    Both texts are tokens on the model's device, int64 ``(windows, any length)``.

    Raises:
        InputError: a loss that is not finite.
    """
    options = work.options
    length = min(options.distill_length, work.windows.numel() // 2)
    real, written = (
        tokens.flatten()[: tokens.numel() // length * length].view(-1, length) for tokens in (work.windows, generated)
    )
    with stage("bring teacher", 0):
        teacher = _teacher(work.loaded)
    plan = TrainingPlan(
        epochs=1,
        rate=options.distill_rate,
        tokens_per_step=options.distill_tokens_per_step,
        seed=work.seed,
        soften=options.distill_soften,
        range_penalty=options.range_penalty,
    )
    corpus, report = Corpus(real, written, options.real_share), partial(work.progress, "distill")
    distill(work.loaded.model, teacher, student, last_norm, corpus, options.distill_steps, plan, report, tables)


def reconstruct_blocks(work: Work) -> Iterator[BlockTensors]:
    """Blocks in order, each solved in closed form and trained; with frozen codes where distillation keeps them.

    ``work.windows`` are on the model's device. The states of all of them are held twice, of the float and of the
    quantized prefix; once more for a moment where ``window`` blocks are trained together. A block enters training in
    closed form, on the inputs that the drafts before it give, and stays a draft until it is the first.

    Raises:
        InputError: what the method refuses, or a loss that is not finite.
    """
    model, options, windows = work.loaded.model, work.options, work.windows
    compiled = windows.device.type == "cuda"
    teach, learn = (block_function(model, int8, compiled) for int8 in (False, options.int8_calibration))
    tables = rotary_tables(model, windows.shape[1])
    plan = TrainingPlan(options.epochs, options.block_rate, options.block_tokens_per_step, work.seed, options.soften)
    with torch.no_grad():
        targets = embed(model, windows)
    inputs, count, taught = targets.clone(), len(blocks(model)), 0
    window: list[BlockTensors] = []
    for layer in range(count):
        part = work.parts / f"{layer}.window.safetensors"
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
                window.append(_closed_form(work, item))
            taught = entering + 1
        if part.is_file():
            window = read_window(part, windows.device)
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
        work.progress("reconstruct", layer + 1, work.loaded.shape.layers)


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


def _tables(loaded: LoadedModel) -> Tables:
    """Embedding and head of the student, where they start from the model's own.

    Raises:
        InputError: a model that scales what it looks up.
    """
    if "embedding" in loaded.shape.scaled:
        raise InputError(
            f"model {loaded.shape.name!r}: option tables must be 'kept', since the model scales its embedding; "
            "leave the option out"
        )
    embedding = loaded.model.model.embed_tokens.weight.detach().float().clone()
    head = loaded.model.lm_head.weight
    tied = head is loaded.model.model.embed_tokens.weight
    return Tables(embedding, embedding if tied else head.detach().float().clone())


def _halves(tables: Tables | None) -> dict[str, np.ndarray]:
    """Trained tables as they are stored, each tensor once."""
    names = ("embed_tokens", "lm_head")
    found = zip(names, tables.trained() if tables else (), strict=False)
    return {name: table.half().cpu().numpy() for name, table in found}


def _generated(work: Work, count: int) -> Tensor:
    """Windows that the model writes, or wrote for an earlier job."""
    loaded, windows = work.loaded, work.windows
    length = min(GENERATED_LENGTH, loaded.shape.max_positions)
    slice_ = hashlib.sha256(windows.cpu().numpy().tobytes()).hexdigest()
    key = sha256_json(
        {"weights": loaded.weights_sha256, "slice": slice_, "size": [count, length], "seed": work.seed}
        | {"settings": generation_settings(loaded.model)},
    )
    path = work.texts / f"generated-{key[:12]}.safetensors"
    if not path.is_file():
        report = partial(work.progress, "generate text")
        tokens = generate_windows(loaded.model, windows, count, length, work.seed, report)
        with atomic_path(path) as temporary:
            save_file({"tokens": tokens.int().cpu()}, temporary)
    return load_file(path)["tokens"].long().to(windows.device)


@torch.no_grad()
def _closed_form(work: Work, item: CalibrationBlock) -> BlockTensors:
    options = work.options
    with stage("Hessians", item.layer):
        hessians = block_hessians(work.loaded.model, item, options.int8_calibration)
    solved = {}
    with stage("solve", item.layer):
        for linear, solution in solve_linears(item.linears, hessians, work.method.solve, options):
            _check_start(linear.name, solution)
            solved[linear.kind] = latent_weight(linear.module.weight, solution, options.rank)
    plain = block_tensors(item.block)
    return BlockTensors(
        weights=tuple(solved[kind] for kind in LINEAR_KINDS),
        biases=plain.biases,
        attention_norm=plain.attention_norm.detach().clone(),
        mlp_norm=plain.mlp_norm.detach().clone(),
    )


def _check_start(name: str, solution: LinearSolution) -> None:
    """Refuse a start that latent weights cannot take up."""
    beside = [
        name
        for name in ("offsets", "zeros", "permutation", "outliers", "low_rank")
        if getattr(solution, name) is not None
    ]
    if solution.planes != 1 or solution.layout != "trits" or beside:
        found = ", ".join([f"{solution.planes} of layout {solution.layout!r}", *beside])
        raise InputError(
            f"{name}: training must start from one ternary plane and its scales, not {found}; "
            "carry this method over the model by another procedure"
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
