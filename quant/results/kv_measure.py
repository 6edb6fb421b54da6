"""Perplexity over quantized K and V: of a model's own weights and of finished runs, without quantizing either again."""

import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hw.errors import InputError
from hw.progress import StageReport
from quant.job import QuantJob, texts_of
from quant.kv.agreement import HeadAgreement
from quant.kv.formats import FLOAT_BITS, KvFormat
from quant.llama.blocks import LoadedModel
from quant.llama.cached import cached_attention
from quant.llama.evaluate import window_losses
from quant.llama.loading import load_model
from quant.manifest import read_manifest
from quant.procedures.calibrate import token_windows
from quant.quantizer import apply_checkpoint
from quant.results.kv_job import KvJob
from quant.results.kv_table import FLOAT_WEIGHTS, KvRow
from quant.source import Source, located, resolve
from quant.weights.checkpoint import Checkpoint

__all__ = ["measure_kv"]


def measure_kv(job: KvJob, progress: StageReport) -> Iterator[KvRow]:
    """A row for float attention and one for every format, of every set of weights, each as soon as it is known.

    Raises:
        InputError: a format that the heads do not fit, a run of other weights, too short a text, out of memory.
    """
    source = resolve(job.model)
    for form in job.formats:
        form.check(source.shape.head_dim)
    source = located(source)
    names = [(FLOAT_WEIGHTS, source.sha256)] * job.own_weights + [_named(run, source) for run in job.runs]
    texts = texts_of(
        QuantJob(model=job.model, text=job.text, windows=job.windows, length=job.length), source.shape.max_positions
    )
    for run, (weights, digest) in zip([None] * job.own_weights + list(job.runs), names, strict=True):
        loaded = load_model(source, job.device)
        if run is not None:
            apply_checkpoint(loaded, Checkpoint(run / "ternary.safetensors"))
        tokens = loaded.tokenizer.encode(texts.evaluation.text)
        windows = token_windows(
            tokens, texts.evaluation_length, texts.evaluation_windows, f"text {texts.evaluation.name!r}"
        )
        name = f"{texts.evaluation.name} ({texts.evaluation.sha256[:12]})"
        try:
            measured = _Measured(loaded, windows, weights, digest, name, progress)
            yield measured.row(None)
            for form in job.formats:
                yield measured.row(form)
        except torch.OutOfMemoryError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"model {job.model!r}: out of memory on {job.device} ({reason}); give a shorter --length"
            ) from None


class _Measured:
    """One set of weights on one text; the losses of float attention, against which every format's are paired."""

    def __init__(
        self, loaded: LoadedModel, windows: Tensor, weights: str, digest: str, text: str, progress: StageReport
    ) -> None:
        self.loaded, self.windows, self.text, self.progress = loaded, windows, text, progress
        self.weights, self.digest = weights, digest
        self.reference: Tensor | None = None

    def row(self, form: KvFormat | None) -> KvRow:
        name, agreement, start = "float" if form is None else form.spelled, HeadAgreement(), time.perf_counter()
        with cached_attention(self.loaded.model, form, agreement):
            stage = f"perplexity A8, {self.weights}, K and V {name}"
            losses = window_losses(self.loaded.model, self.windows, True, partial(self.progress, stage))
        count, length = self.windows.shape
        means = torch.tensor(losses, dtype=torch.float64) / (length - 1)
        if self.reference is None:
            self.reference = means
        change = means - self.reference
        shape, worst = self.loaded.shape, None if form is None else agreement.worst
        device = next(self.loaded.model.parameters()).device
        return KvRow(
            model=shape.name,
            weights=self.weights,
            weights_sha256=self.digest,
            kv=name,
            rotate=form is not None and form.rotate,
            bits=float(FLOAT_BITS) if form is None else form.bits_per_element(shape.head_dim, length),
            perplexity=math.exp(means.mean().item()),
            change=math.expm1(change.mean().item()),
            standard_error=change.std().item() / count**0.5 if count > 1 else None,
            mean_cosine=1.0 if form is None else agreement.mean,
            min_cosine=1.0 if worst is None else worst.cosine,
            worst_head=None if worst is None else (worst.layer, worst.head),
            text=self.text,
            windows=count,
            length=length,
            seconds=time.perf_counter() - start,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        )


def _named(run: Path, source: Source) -> tuple[str, str]:
    """A finished run's method, and the hash of its weights.

    Raises:
        InputError: a folder that is no finished run, or one of other weights.
    """
    manifest = read_manifest(run / "manifest.json")
    if manifest.source_sha256 != source.sha256:
        raise InputError(
            f"{run}: was made from other weights (sha256 {manifest.source_sha256[:12]}) than {source.name} "
            f"({source.sha256[:12]}); give the model {manifest.source or manifest.model!r}"
        )
    return manifest.method, manifest.weights_sha256
