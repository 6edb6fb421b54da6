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
from hw.progress import StageReport
from quant.llama.blocks import LoadedModel, block_linears, blocks, embed, streams, working_block
from quant.llama.generate import generate_windows, generation_settings
from quant.methods.method import GENERATED_LENGTH
from quant.procedures.calibrate import CalibrationBlock, block_hessians
from quant.procedures.distill import Corpus, distill, divergence
from quant.procedures.latent import (
    BlockTensors,
    block_function,
    block_tensors,
    check_blocks,
    latent_weight,
    rotary_tables,
)
from quant.procedures.linears import solve_linears
from quant.procedures.reconstruct import TrainingPlan, reconstruct, relative_error, run_in_place
from quant.procedures.shared.shards import WHOLE, Shards
from quant.procedures.stopwatch import stage
from quant.procedures.student.held_out import Trained, check_held_out, nearer
from quant.procedures.student.tables import Tables, student_tables
from quant.procedures.unfinished_blocks import read_window, write_window
from quant.procedures.work import Work, Written
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import write_checkpoint
from quant.weights.solution import LinearSolution

__all__ = [
    "corpus_of",
    "distill_blocks",
    "generated_text",
    "norms_of",
    "reconstruct_blocks",
    "teacher_blocks",
    "train_model",
]

_SEEDS_APART = 1_000_003  # between the seeds of the shards of written text

_log = logging.getLogger(__name__)


def train_model(work: Work) -> Written:
    """Quantize all blocks, whose norms are retrained too; the options are ``quant.methods.method.ModelOptions``.

    Each reconstructed block is kept, and a later call goes on after it with the same bits; text that the model wrote is
    kept as well. The model itself stays as it is: it is the teacher.

    Raises:
        InputError: what the method refuses, or a loss that is not finite.
    """
    model, options = work.loaded.model, work.options
    check_held_out(options, work.windows)
    check_blocks(work.loaded, max(work.windows.shape[1], options.distill_length if options.distill_steps else 0))
    _check_shares(work)
    work = work._replace(windows=work.windows.to(next(model.parameters()).device))
    generated = work.windows[:0]
    if options.distill_steps and options.generated_windows:
        count = options.generated_windows
        generated = generated_text(
            work.loaded,
            work.windows[: len(work.windows) - options.held_out],
            count,
            work.seed,
            work.texts,
            work.progress,
            work.shards,
        )
    student = list(reconstruct_blocks(work))
    last_norm = model.model.norm.weight.detach().clone()
    tables = student_tables(work.loaded, options)
    if options.distill_steps:
        distill_blocks(work, student, last_norm, generated, tables)
    if not work.shards.leads:
        return Written([], {})
    stored = tables.stored() if tables else {}
    return Written(_write_blocks(student, work.parts), norms_of(student, last_norm), stored)


def _check_shares(work: Work) -> None:
    """Refuse steps that the shards cannot share equally."""
    shards, options, windows = work.shards, work.options, work.windows
    length, learned = windows.shape[1], len(windows) - options.held_out
    if options.reconstructs:
        tokens = options.block_tokens_per_step
        shards.check_batch("block_tokens_per_step", tokens, max(1, min(learned, tokens // length)), length)
    if options.distill_steps:
        tokens, length = options.distill_tokens_per_step, min(options.distill_length, learned * length // 2)
        shards.check_batch("distill_tokens_per_step", tokens, max(1, tokens // length), length)


def distill_blocks(
    work: Work, student: list[BlockTensors], last_norm: Tensor, generated: Tensor, tables: Tables | None = None
) -> None:
    """Distill the model into ``student``, ``last_norm`` and ``tables``, on the calibration text and on ``generated``.

    Both texts are tokens on the model's device, int64 ``(windows, any length)``.

    Raises:
        InputError: a loss that is not finite.
    """
    options = work.options
    learned, unseen = work.windows.split([len(work.windows) - options.held_out, options.held_out])
    corpus = corpus_of(learned, generated, options.distill_length, options.real_share)
    with stage("bring teacher", 0):
        teacher = teacher_blocks(work.loaded)
    plan = TrainingPlan(
        epochs=1,
        rate=options.distill_rate,
        tokens_per_step=options.distill_tokens_per_step,
        seed=work.seed,
        soften=options.distill_soften,
        range_penalty=options.range_penalty,
        table_rate=options.table_rate,
    )
    report = partial(work.progress, "distill")
    start = Trained(student, last_norm, tables)
    before = start.copied() if options.held_out else None
    arguments = student, last_norm, corpus, options.distill_steps, plan, report, tables
    distill(work.loaded.model, teacher, *arguments, shards=work.shards)
    if before is not None:

        def error(one: Trained) -> float:
            return divergence(work.loaded.model, teacher, one.student, one.last_norm, unseen, one.tables)

        if nearer(before, start, error, "distillation") is before:
            start.take(before)


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
    plan = TrainingPlan(
        epochs=options.epochs,
        rate=options.block_rate,
        tokens_per_step=options.block_tokens_per_step,
        seed=work.seed,
        soften=options.soften,
        block_steps=options.block_steps,
    )
    learned = len(windows) - options.held_out
    with torch.no_grad():
        targets = embed(model, windows)
    inputs, count, taught = targets.clone(), len(blocks(model)), 0
    window: list[BlockTensors] = []
    for layer in range(count):
        part = work.parts / f"{layer}.window.safetensors"
        kept = work.shards.agreed(part.is_file())
        for entering in range(taught, min(layer + options.window, count)):
            with stage("bring block", entering):
                block = working_block(model, entering)
            with stage("forward", entering):
                run_in_place(teach, targets, tables, block_tensors(block))
            if not kept:
                states = inputs.clone() if window else inputs
                for tensors in window:
                    run_in_place(learn, states, tables, tensors)
                item = CalibrationBlock(entering, block, block_linears(block, entering), states[:learned])
                window.append(_closed_form(work, item))
            taught = entering + 1
        if kept:
            window = read_window(part, windows.device)
        else:
            where = f"model.layers.{layer}"
            if options.reconstructs:
                start = [tensors.copied() for tensors in window] if options.held_out else []
                with stage("reconstruct", layer):
                    texts = inputs[:learned], targets[:learned]
                    error = reconstruct(learn, tables, window, *texts, plan, where, work.shards)
                _log.info("%s: relative error %.5f", where, error)
                if options.held_out:
                    unseen = partial(relative_error, learn, tables, inputs[learned:], targets[learned:])
                    window = nearer(start, window, unseen, where)
            if options.distilled == "scales":
                window[0] = window[0].freeze()
            if work.shards.leads:
                with stage("write", layer):
                    write_window(part, window)
        done, *window = window
        with stage("forward", layer):
            run_in_place(learn, inputs, tables, done)
        yield done
        work.progress("reconstruct", layer + 1, work.loaded.shape.layers)


def teacher_blocks(loaded: LoadedModel) -> list[BlockTensors]:
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


def corpus_of(windows: Tensor, generated: Tensor, length: int, real_share: float) -> Corpus:
    """Calibration text and text that the model wrote, int64 ``(windows, any length)``, in windows of ``length``."""
    length = min(length, windows.numel() // 2)
    real, written = (
        tokens.flatten()[: tokens.numel() // length * length].view(-1, length) for tokens in (windows, generated)
    )
    return Corpus(real, written, real_share)


def generated_text(
    loaded: LoadedModel,
    windows: Tensor,
    count: int,
    seed: int,
    texts: Path,
    progress: StageReport,
    shards: Shards = WHOLE,
) -> Tensor:
    """``count`` windows that the model writes, or wrote for an earlier job that kept them in ``texts``.

    Each of ``shards`` writes some of them, from a seed of its own.
    """
    length = min(GENERATED_LENGTH, loaded.shape.max_positions)
    slice_ = hashlib.sha256(windows.cpu().numpy().tobytes()).hexdigest()
    key = sha256_json(
        {"weights": loaded.weights_sha256, "slice": slice_, "size": [count, length], "seed": seed}
        | {"settings": generation_settings(loaded.model)}
        | ({"shards": shards.count} if shards.count > 1 else {}),
    )
    path = texts / f"generated-{key[:12]}.safetensors"
    if not shards.agreed(path.is_file()):
        report = partial(progress, "generate text")
        sizes = zip(shards.mine, shards.pieces(torch.arange(count)), strict=True)
        written = [
            generate_windows(loaded.model, windows, len(rows), length, seed + _SEEDS_APART * part, report).int().cpu()
            for part, rows in sizes
        ]
        tokens = torch.cat(shards.gathered(written))
        if not shards.leads:
            return tokens.long().to(windows.device)
        with atomic_path(path) as temporary:
            save_file({"tokens": tokens}, temporary)
    return load_file(path)["tokens"].long().to(windows.device)


@torch.no_grad()
def _closed_form(work: Work, item: CalibrationBlock) -> BlockTensors:
    options = work.options
    with stage("Hessians", item.layer):
        hessians = block_hessians(work.loaded.model, item, options.int8_calibration, work.shards)
    solved = {}
    with stage("solve", item.layer):
        for linear, solution in solve_linears(item.linears, hessians, work.method.solve, options, shards=work.shards):
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
    if solution.planes != 1 or solution.layout not in ("trits", "three-of-four") or beside:
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


def norms_of(student: list[BlockTensors], last_norm: Tensor) -> dict[str, np.ndarray]:
    """Gains of a student, float32 by the names of ``quant.llama.blocks.norm_weights``."""
    gains = {"norm": last_norm}
    for layer, tensors in enumerate(student):
        gains[f"layers.{layer}.input_layernorm"] = tensors.attention_norm
        gains[f"layers.{layer}.post_attention_layernorm"] = tensors.mlp_norm
    return {name: gain.detach().cpu().numpy() for name, gain in gains.items()}
