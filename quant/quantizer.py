"""One quantization job with torch: blocks with resume, checkpoint, perplexities before and after, recording."""

import logging
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import torch

from hw.artifact import read_artifact, sha256_file, sha256_json, write_artifact
from hw.errors import InputError
from quant.llama.blocks import LoadedModel, block_norms, decoder_linears, norm_weights, streams
from quant.llama.evaluate import LastWord, last_word_accuracy, last_words, perplexity
from quant.llama.loading import load_model
from quant.llama.recorder import record_pass
from quant.manifest import Manifest, write_manifest
from quant.native.checkpoint import native_solutions
from quant.pipeline import Progress, QuantJob, Texts
from quant.procedures.blockwise import fit_blocks
from quant.procedures.calibrate import (
    CalibrationBlock,
    block_hessians,
    calibration_blocks,
    hessians_in_turn,
    token_windows,
)
from quant.procedures.linears import solve_linears
from quant.procedures.modelwise import full_strength
from quant.procedures.refit import FloatStream
from quant.procedures.stopwatch import stage
from quant.recording import write_recording
from quant.registry import NATIVE, MethodOptions, options_for, solver
from quant.source import Source, weights_sha256
from quant.text import NamedText
from quant.weights.checkpoint import Checkpoint, join_checkpoints, write_checkpoint
from quant.weights.solution import LinearSolution

__all__ = ["apply_checkpoint", "quantize_blocks", "run_job"]

_PASSAGES = 500  # whose last word is to be predicted
_NOT_CALIBRATED = "nothing: trits and scales are the file's"
_REFERENCE_SCHEMA, _REFERENCE_VERSION = "tritforge.reference", 1

_log = logging.getLogger(__name__)

Solutions = dict[tuple[int, str], LinearSolution]


def run_job(job: QuantJob, source: Source, texts: Texts, folder: Path, model_folder: Path, progress: Progress) -> None:
    """Quantize into ``folder`` what it does not hold yet, then evaluate and record.

    Raises:
        InputError: see ``quant.pipeline.quantize``; out of memory, with the remedy.
    """
    try:
        _run_job(job, source, texts, folder, model_folder, progress)
    except torch.OutOfMemoryError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {job.model!r}, method {job.method!r}: out of memory on {job.device} ({reason}); use shorter or "
            "fewer windows (--length, --calibration-windows), with pt-bitnet-full --option distilled=scales, or "
            "--device cpu; finished blocks are kept"
        ) from None


def _run_job(job: QuantJob, source: Source, texts: Texts, folder: Path, model_folder: Path, progress: Progress) -> None:
    options = options_for(job.method, job.options)
    torch.manual_seed(job.seed)
    progress("load", 0, 1)
    loaded = load_model(source, job.device)
    progress("load", 1, 1)
    evaluated = {texts.name_of(text): _windows(loaded, texts, text) for text in (texts.evaluation, *texts.more)}
    figures = {name: _reference(loaded, windows, name, model_folder, progress) for name, windows in evaluated.items()}
    passages = [] if texts.prose is None else last_words(loaded.tokenizer, texts.prose.text, _PASSAGES)
    guessed = {"fp_a8": _guess(loaded, passages, "last words before", progress)} if passages else {}
    path = folder / "ternary.safetensors"
    if path.is_file():
        apply_checkpoint(loaded, Checkpoint(path))
    else:
        parts, norms = folder / "parts", {}
        windows = None if job.method == NATIVE else _calibration_windows(loaded, texts)
        if windows is None:
            written = _store_native(loaded, parts, progress)
        elif getattr(options, "strength", "fast") == "full":
            written, norms = full_strength(loaded, options, windows, parts, model_folder, job.seed, progress)
        elif getattr(options, "objective", "linear") == "block":
            start = solver(job.method).learned_weight
            written = fit_blocks(loaded, start, options, windows, parts, job.seed, progress)
        else:
            written = quantize_blocks(loaded, job.method, options, windows, parts, progress)
        join_checkpoints(path, written, norms)
        apply_checkpoint(loaded, Checkpoint(path))
    checkpoint = Checkpoint(path)
    weights = sha256_file(path)
    for name, windows in evaluated.items():
        for key, int8 in (("a16", False), ("a8", True)):
            figures[name][key] = _measure(loaded, windows, int8, f"perplexity {key.upper()}, {name}", progress)
    if passages:
        guessed["a8"] = _guess(loaded, passages, "last words", progress)
    recording = record_pass(
        loaded,
        checkpoint,
        weights,
        evaluated[texts.evaluation_name].flatten()[: min(job.recorded_tokens, loaded.shape.max_positions)].tolist(),
        job.method,
        texts.evaluation.name,
        lambda done, total: progress("record", done, total),
    )
    write_recording(folder, recording)
    manifest = Manifest(
        model=loaded.shape.name,
        shape=loaded.shape,
        method=job.method,
        options={name: value for name, value in options.model_dump().items() if value is not None},
        packing="5in8",
        linears=checkpoint.entries(),
        weights_sha256=weights,
        source_sha256=weights_sha256(loaded.path),
        calibration=_NOT_CALIBRATED if job.method == NATIVE else texts.calibration_name,
        evaluation=texts.evaluation_name,
        perplexity=figures.pop(texts.evaluation_name),
        more_perplexity=figures,
        last_word_text=texts.prose_name,
        last_word=guessed,
    )
    write_manifest(folder / "manifest.json", manifest)


def _store_native(loaded: LoadedModel, parts: Path, progress: Progress) -> list[Path]:
    """The trits and scales of a native ternary checkpoint, a part per layer."""
    written = []
    for layer, found in groupby(native_solutions(loaded.path, loaded.shape), key=lambda item: item[0][0]):
        written.append(parts / f"{layer}.safetensors")
        write_checkpoint(written[-1], dict(found))
        progress("store", layer + 1, loaded.shape.layers)
    return written


@torch.no_grad()
def quantize_blocks(
    loaded: LoadedModel, method: str, options: MethodOptions, windows: torch.Tensor, parts: Path, progress: Progress
) -> list[Path]:
    """Solve every decoder linear, block by block, each on the outputs of the quantized blocks before it.

    ``windows``: calibration tokens, int64 ``(count, length)``. Each finished block is written to ``parts``, a
    checkpoint of its own; a later call takes it from there. The paths of all checkpoints are returned.

    Raises:
        InputError: what a solver refuses, with the linear's name.
    """
    solve, written = solver(method).solve, []
    share = getattr(options, "refit", 0.0)
    stream = FloatStream(loaded.model, windows, share) if share else None
    for item in calibration_blocks(loaded.model, windows, options.int8_calibration):
        part = parts / f"{item.layer}.safetensors"
        if part.is_file():
            if stream:
                stream.skip_block(item)
            _put_block(loaded, item, Checkpoint(part))
        else:
            gains = {}
            if stream:
                solutions, gains = stream.solve_block(item, solve, options)
            else:
                solutions = _solve_block(loaded, item, solve, options)
            with stage("write", item.layer):
                write_checkpoint(part, solutions, {name: gain.cpu().numpy() for name, gain in gains.items()})
        written.append(part)
        progress("quantize", item.layer + 1, loaded.shape.layers)
    if stream:
        written.append(parts / "norm.safetensors")
        gains = stream.last_gains(item.outputs)
        write_checkpoint(written[-1], {}, {"norm": gains.cpu().numpy()})
    return written


def _put_block(loaded: LoadedModel, item: CalibrationBlock, stored: Checkpoint) -> None:
    """What an earlier run found for a block, in its place."""
    for linear in item.linears:
        found = stored.solution(linear.layer, linear.kind).to(linear.module.weight.device)
        linear.module.weight.copy_(found.dense())
    gains = block_norms(item.block, item.layer)
    for name, value in stored.norms().items():
        gains[name].copy_(torch.from_numpy(value))


def _solve_block(
    loaded: LoadedModel, item: CalibrationBlock, solve: Callable[..., LinearSolution], options: MethodOptions
) -> Solutions:
    """Solutions of one block's linears, put in their place."""
    found: Solutions = {}
    rounds = _hessians(loaded, item, options)
    while True:
        with stage("Hessians", item.layer):
            hessians = next(rounds, None)
        if hessians is None:
            return found
        wanted = [linear for linear in item.linears if linear.kind in hessians]
        with stage("solve", item.layer):
            for linear, solution in solve_linears(wanted, hessians, solve, options):
                linear.module.weight.copy_(solution.dense())
                found[linear.layer, linear.kind] = solution


def _hessians(loaded: LoadedModel, item: CalibrationBlock, options: MethodOptions) -> Iterator[dict[str, torch.Tensor]]:
    """By linear kind: of all inputs at once, or of each after the linears before it are replaced."""
    if getattr(options, "sequential", False):
        yield from hessians_in_turn(loaded.model, item, options.int8_calibration)
    else:
        yield block_hessians(loaded.model, item, options.int8_calibration)


def apply_checkpoint(loaded: LoadedModel, checkpoint: Checkpoint) -> None:
    """Put the weights and norms of a checkpoint into the model it was made from.

    A streamed model keeps weights that float16 holds exactly, those of one ternary plane, in float16.

    Raises:
        InputError: a checkpoint of a model with other dimensions.
    """
    device = loaded.model.model.embed_tokens.weight.device
    for linear in decoder_linears(loaded.model):
        weight = linear.module.weight
        dense = checkpoint.solution(linear.layer, linear.kind).to(device).dense()
        if dense.shape != weight.shape:
            raise InputError(f"{checkpoint.path}: {linear.name} must be {tuple(weight.shape)}")
        if streams(loaded.model) and torch.equal(dense.half().float(), dense):
            dense = dense.half()
        weight.data = dense.to(weight.device)
    gains = norm_weights(loaded.model)
    for name, value in checkpoint.norms().items():
        gains[name].data = torch.from_numpy(value).to(gains[name].device)


def _windows(loaded: LoadedModel, texts: Texts, text: NamedText) -> torch.Tensor:
    tokens = loaded.tokenizer.encode(text.text)
    return token_windows(tokens, texts.evaluation_length, texts.evaluation_windows, f"evaluation text {text.name!r}")


def _calibration_windows(loaded: LoadedModel, texts: Texts) -> torch.Tensor:
    tokens = loaded.tokenizer.encode(texts.calibration.text)
    length = texts.calibration_length
    count = texts.calibration_windows or max(1, min(128, len(tokens) // length))
    return token_windows(tokens, length, count, f"calibration text {texts.calibration.name!r}")


def _reference(
    loaded: LoadedModel, windows: torch.Tensor, name: str, model_folder: Path, progress: Progress
) -> dict[str, float]:
    """Perplexities of the model before quantization, A16 and A8; measured once per text."""
    weights = weights_sha256(loaded.path)
    path = model_folder / f"reference-{sha256_json({'weights': weights, 'evaluation': name})[:12]}.json"
    if path.is_file():
        return dict(read_artifact(path, _REFERENCE_SCHEMA, _REFERENCE_VERSION)["perplexity"])
    figures = {
        key: _measure(loaded, windows, int8, f"perplexity before, {label}, {name}", progress)
        for key, int8, label in (("fp", False, "A16"), ("fp_a8", True, "A8"))
    }
    body = {"evaluation": name, "perplexity": figures}
    write_artifact(path, _REFERENCE_SCHEMA, _REFERENCE_VERSION, body, {"weights": weights})
    return dict(figures)


def _guess(loaded: LoadedModel, passages: list[LastWord], stage: str, progress: Progress) -> float:
    share = last_word_accuracy(loaded.model, passages, True, lambda done, total: progress(stage, done, total))
    _log.info("%s: %.4f", stage, share)
    return share


def _measure(loaded: LoadedModel, windows: torch.Tensor, int8: bool, stage: str, progress: Progress) -> float:
    value = perplexity(loaded.model, windows, int8, lambda done, total: progress(stage, done, total))
    _log.info("%s: %.4f", stage, value)
    return value
