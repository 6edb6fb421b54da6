"""A finished run taken up again: the model that was quantized with the checkpoint's weights and norms in place."""

from pathlib import Path
from typing import NamedTuple

from hw.errors import InputError
from quant.llama.blocks import LoadedModel
from quant.llama.loading import load_model
from quant.manifest import Manifest, is_of_manifest, read_manifest
from quant.quantizer import apply_checkpoint
from quant.source import Source, located, resolve
from quant.weights.checkpoint import Checkpoint

__all__ = ["Finished", "FoundRun", "find_run", "open_finished", "refuse_biases"]


class Finished(NamedTuple):
    """``loaded``: the quantized model on the CPU, float32; ``checkpoint``: its packed trits."""

    loaded: LoadedModel
    checkpoint: Checkpoint
    manifest: Manifest


class FoundRun(NamedTuple):
    """A run's files, nothing of them loaded; ``source``: the model that was quantized."""

    folder: Path
    manifest: Manifest
    checkpoint: Checkpoint
    source: Source


def refuse_biases(checkpoint: Checkpoint, what: str) -> None:
    """Refuse a run whose linears have constants of their own.

    Raises:
        InputError: with ``what`` it is of.
    """
    if checkpoint.biases():
        raise InputError(
            f"{what}: its linears have constants per output (bias=true), which neither exported files nor the whole "
            "token hold; quantize with bias=false"
        )


def find_run(run: Path, model: str | None = None) -> FoundRun:
    """What a run left in its folder, and the model that it quantized, for embedding, head and tokenizer.

    ``run``: the folder, or its ``ternary.safetensors``; ``model``: where the model is, if not where the run found it.

    Raises:
        InputError: no finished run, or another model than the one that was quantized.
    """
    folder = run.parent if run.is_file() else run
    manifest, packed = read_manifest(folder / "manifest.json"), folder / "ternary.safetensors"
    checkpoint = Checkpoint(packed)
    if not is_of_manifest(packed, manifest):
        raise InputError(
            f"{packed}: must be the file that manifest.json was written for; it is damaged: quantize again"
        )
    named = model or manifest.source or manifest.model
    try:
        source = located(resolve(named))
    except InputError as error:
        if model:
            raise
        raise InputError(
            f"{folder}: embedding and tokenizer come from the model that was quantized, which is not found ({error}); "
            "say where it is with --model"
        ) from None
    if source.sha256 != manifest.source_sha256:
        raise InputError(
            f"model {named!r}: its weights are not those that {folder} was quantized from; give those with --model, or "
            "quantize again"
        )
    return FoundRun(folder, manifest, checkpoint, source)


def open_finished(run: Path, model: str | None = None) -> Finished:
    """Load a run's model with its weights in place, on the CPU; arguments as of ``find_run``.

    Raises:
        InputError: what ``find_run`` refuses, or linears with constants of their own.
    """
    found = find_run(run, model)
    refuse_biases(found.checkpoint, str(found.folder))
    loaded = load_model(found.source, streamed=False)
    apply_checkpoint(loaded, found.checkpoint)
    return Finished(loaded, found.checkpoint, found.manifest)
