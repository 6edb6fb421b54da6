"""One quantization job with torch: blocks with resume, checkpoint, perplexities before and after, recording."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from hw.artifact import read_artifact, sha256_file, sha256_json, write_artifact
from hw.errors import InputError
from quant.calibrate import INPUTS, CalibrationBlock, block_hessians, calibration_blocks, token_windows
from quant.checkpoint import Checkpoint, write_checkpoint
from quant.evaluate import LastWord, last_word_accuracy, last_words, perplexity
from quant.full_strength import full_strength
from quant.llama import LoadedModel, decoder_linears, load_model, norm_weights
from quant.manifest import Manifest, write_manifest
from quant.pipeline import Progress, QuantJob, Texts
from quant.recorder import record_pass
from quant.recording import write_recording
from quant.registry import MethodOptions, options_for, solver
from quant.solution import LinearSolution
from quant.source import Source, weights_sha256

__all__ = ["apply_checkpoint", "quantize_blocks", "run_job"]

_PASSAGES = 500  # whose last word is to be predicted
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
            "fewer windows (--length, --calibration-windows) or --device cpu; finished blocks are kept"
        ) from None


def _run_job(job: QuantJob, source: Source, texts: Texts, folder: Path, model_folder: Path, progress: Progress) -> None:
    options = options_for(job.method, job.options)
    torch.manual_seed(job.seed)
    progress("load", 0, 1)
    loaded = load_model(source, job.device)
    progress("load", 1, 1)
    evaluated = token_windows(
        loaded.tokenizer.encode(texts.evaluation.text),
        texts.evaluation_length,
        texts.evaluation_windows,
        f"evaluation text {texts.evaluation.name!r}",
    )
    figures = _reference(loaded, evaluated, texts.evaluation_name, model_folder, progress)
    passages = [] if texts.prose is None else last_words(loaded.tokenizer, texts.prose.text, _PASSAGES)
    guessed = {"fp_a8": _guess(loaded, passages, "last words before", progress)} if passages else {}
    path = folder / "ternary.safetensors"
    if path.is_file():
        apply_checkpoint(loaded, Checkpoint(path))
    else:
        parts, norms = folder / "parts", {}
        if getattr(options, "strength", "fast") == "full":
            windows = _calibration_windows(loaded, texts)
            solutions, norms = full_strength(loaded, options, windows, parts, model_folder, job.seed, progress)
        else:
            solutions = quantize_blocks(loaded, job.method, options, texts, parts, progress)
        write_checkpoint(path, solutions, norms)
        apply_checkpoint(loaded, Checkpoint(path))
    checkpoint = Checkpoint(path)
    weights = sha256_file(path)
    for key, int8 in (("a16", False), ("a8", True)):
        figures[key] = _measure(loaded, evaluated, int8, f"perplexity {key.upper()}", progress)
    if passages:
        guessed["a8"] = _guess(loaded, passages, "last words", progress)
    recording = record_pass(
        loaded,
        checkpoint,
        weights,
        evaluated.flatten()[: min(job.recorded_tokens, loaded.shape.max_positions)].tolist(),
        job.method,
        texts.evaluation.name,
        lambda done, total: progress("record", done, total),
    )
    write_recording(folder, recording)
    first = checkpoint.headers[next(iter(checkpoint))]
    manifest = Manifest(
        model=loaded.shape.name,
        shape=loaded.shape,
        method=job.method,
        options={name: value for name, value in options.model_dump().items() if value is not None},
        group=first.group,
        scale_kind=first.scale_kind,
        packing="5in8",
        linears=checkpoint.entries(),
        weights_sha256=weights,
        source_sha256=weights_sha256(loaded.path),
        calibration=texts.calibration_name,
        evaluation=texts.evaluation_name,
        perplexity=figures,
        last_word_text=texts.prose_name,
        last_word=guessed,
    )
    write_manifest(folder / "manifest.json", manifest)


@torch.no_grad()
def quantize_blocks(
    loaded: LoadedModel, method: str, options: MethodOptions, texts: Texts, parts: Path, progress: Progress
) -> Solutions:
    """Solve every decoder linear, block by block, replacing the weights of ``loaded`` by what the hardware uses.

    Each finished block is written to ``parts``; a later call takes it from there.

    Raises:
        InputError: too short a text, or what a solver refuses, with the linear's name.
    """
    windows = _calibration_windows(loaded, texts)
    solve = solver(method).solve
    solutions: Solutions = {}
    total = loaded.shape.layers
    for item in calibration_blocks(loaded.model, windows):
        part = parts / f"{item.layer}.safetensors"
        if part.is_file():
            found = {key: Checkpoint(part).solution(*key) for key in Checkpoint(part)}
        else:
            found = _solve_block(loaded, item, solve, options)
            write_checkpoint(part, found)
        for linear in item.linears:
            linear.module.weight.copy_(found[linear.layer, linear.kind].dense())
        solutions |= found
        progress("quantize", item.layer + 1, total)
    return solutions


def _solve_block(
    loaded: LoadedModel, item: CalibrationBlock, solve: Callable[..., LinearSolution], options: MethodOptions
) -> Solutions:
    """Solutions of one block's linears: all inputs taken at once, or each after the linears before it are replaced."""
    found: Solutions = {}
    rounds = [(name,) for name in INPUTS] if getattr(options, "sequential", False) else [INPUTS]
    for names in rounds:
        hessians = block_hessians(loaded.model, item, inputs=names)
        for linear in item.linears:
            if linear.kind not in hessians:
                continue
            try:
                solution = solve(linear.module.weight, hessians[linear.kind], options)
            except InputError as error:
                raise InputError(f"{linear.name}: {error}") from None
            found[linear.layer, linear.kind] = solution
        for linear in item.linears:
            if linear.kind in hessians:
                linear.module.weight.copy_(found[linear.layer, linear.kind].dense())
    return found


def apply_checkpoint(loaded: LoadedModel, checkpoint: Checkpoint) -> None:
    """Put the weights and norms of a checkpoint into the model it was made from.

    Raises:
        InputError: a checkpoint of a model with other dimensions.
    """
    with torch.no_grad():
        for linear in decoder_linears(loaded.model):
            dense = checkpoint.solution(linear.layer, linear.kind).dense().to(linear.module.weight.device)
            if dense.shape != linear.module.weight.shape:
                raise InputError(f"{checkpoint.path}: {linear.name} must be {tuple(linear.module.weight.shape)}")
            linear.module.weight.copy_(dense)
        gains = norm_weights(loaded.model)
        for name, value in checkpoint.norms().items():
            gains[name].copy_(torch.from_numpy(value))


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
        key: _measure(loaded, windows, int8, f"perplexity before, {label}", progress)
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
