"""A model's folder with a cut vocabulary: entries chosen by frequency, tables cut, healed, measured per byte."""

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from hw.artifact import atomic_folder
from hw.errors import InputError
from hw.progress import StageReport
from quant.job import FILE_CALIBRATION_WINDOWS, Texts, texts_of
from quant.llama.adapt import file_state
from quant.llama.blocks import LoadedModel, block_linears, block_norms, blocks, is_tied
from quant.llama.evaluate import window_losses
from quant.llama.loading import load_model, transformers_tokenizer
from quant.pipeline import model_folder
from quant.procedures.calibrate import token_windows
from quant.procedures.latent import check_blocks
from quant.procedures.modelwise import generated_text, teacher_blocks
from quant.procedures.student.tables import Tables
from quant.source import located, resolve
from quant.vocabulary.cut.aligned import AlignedWindows, aligned_windows, first_pieces
from quant.vocabulary.cut.entries import (
    Document,
    check_entries,
    kept_entries,
    pieces_of,
    pruned_tokenizer,
    read_vocabulary,
)
from quant.vocabulary.cut.heal import Student, heal
from quant.vocabulary.cut.results import CutRow
from quant.vocabulary.job import CutJob
from quant.vocabulary.student import student_blocks

__all__ = ["cut_vocabulary"]

_BYTES = 2  # of a parameter, as written

Pieces = list[tuple[int, ...]]


def cut_vocabulary(job: CutJob, progress: StageReport) -> CutRow:
    """Write ``job.out``, which appears whole or not at all, and measure it beside the model that it was made of.

    Raises:
        InputError: a folder that holds something, a tokenizer that is not byte-level BPE, too few or too many entries,
            an unknown model, a model of another form than LLaMA's to be healed, too short a text, out of memory.
    """
    if job.out.exists() and not (job.out.is_dir() and not any(job.out.iterdir())):
        raise InputError(f"{job.out}: must be a new or empty folder; give another with --out, or remove it")
    source = located(resolve(job.model))
    if source.form == "llama2c":
        raise InputError(
            f"model {job.model!r}: to cut its vocabulary a tokenizer must be byte-level BPE, not llama2.c's"
        )
    document = json.loads(transformers_tokenizer(source.path).backend_tokenizer.to_str())
    vocabulary = read_vocabulary(document, str(source.path))
    check_entries(vocabulary, job.entries)
    texts = texts_of(job.texts, source.shape.max_positions)
    progress("load", 0, 1)
    loaded = load_model(source, job.device, streamed=False)
    progress("load", 1, 1)
    try:
        before = _bits(loaded, texts, document, partial(progress, "measure the full vocabulary"))
        start = time.monotonic()
        windows, generated = _learned_text(job, loaded, texts, progress)
        counts = Counter(torch.cat([windows.flatten(), generated.flatten()]).tolist())
        kept = kept_entries(vocabulary, counts, job.entries)
        pieces, loss = pieces_of(vocabulary, kept), None
        sizes, tied = [_sizes(loaded)], is_tied(loaded.model)
        student = _student(loaded, kept, job)
        if job.steps:
            loss = _heal(job, loaded, student, (windows, generated), pieces, progress)
        seconds = time.monotonic() - start
        _put(loaded, student, tied)
        sizes.append(_sizes(loaded))
        with atomic_folder(job.out) as folder:
            _write(loaded, source.path, pruned_tokenizer(document, kept), kept, folder)
        device = _device(loaded)
        del student, loaded
        cut = load_model(resolve(str(job.out)), job.device, streamed=False)
        pruned = json.loads((job.out / "tokenizer.json").read_text(encoding="utf-8"))
        after = _bits(cut, texts, pruned, partial(progress, "measure the cut vocabulary"))
    except torch.OutOfMemoryError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {job.model!r}: out of memory on {job.device} ({reason}); give fewer --tokens-per-step"
        ) from None
    given = job.model_dump(include=CutRow.model_fields.keys() - {"entries", "device"}, mode="json")
    text = texts.evaluation.text
    return CutRow(
        **given | {"model": source.shape.name, "entries": (source.shape.vocab_size, job.entries)},
        loss=loss,
        bits_per_byte=(before[0], after[0]),
        tokens_per_byte=(before[1], after[1]),
        words_per_byte=len(text.split()) / len(text.encode()),
        table_bytes=(sizes[0][0], sizes[1][0]),
        file_bytes=(sizes[0][1], sizes[1][1]),
        evaluation=texts.evaluation_name,
        calibration=texts.calibration_name,
        seconds=seconds,
        device=device,
    )


def _learned_text(
    job: CutJob, loaded: LoadedModel, texts: Texts, progress: StageReport
) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of the calibration text, and those that the model writes, on the model's device."""
    tokens = loaded.tokenizer.encode(texts.calibration.text)
    count = texts.calibration_windows
    count = count or max(1, min(FILE_CALIBRATION_WINDOWS, len(tokens) // texts.calibration_length))
    windows = token_windows(tokens, texts.calibration_length, count, f"calibration text {texts.calibration.name!r}")
    windows = windows.to(loaded.model.lm_head.weight.device)
    if not job.generated_windows:
        return windows, windows[:0]
    kept = model_folder(located(resolve(job.model)))
    return windows, generated_text(loaded, windows, job.generated_windows, job.seed, kept, progress)


def _student(loaded: LoadedModel, kept: Sequence[int], job: CutJob) -> Student:
    """What trains, in memory of its own, tables with the kept rows alone; no blocks where nothing trains."""
    model = loaded.model
    rows = torch.tensor(kept, device=model.lm_head.weight.device)
    embedding = model.model.embed_tokens.weight.detach()[rows].float()
    head = embedding if is_tied(model) else model.lm_head.weight.detach()[rows].float()
    found = student_blocks(loaded, job.trains_body) if job.steps else []
    return Student(found, model.model.norm.weight.detach().clone(), Tables(embedding, head))


def _heal(
    job: CutJob,
    loaded: LoadedModel,
    student: Student,
    texts: tuple[torch.Tensor, torch.Tensor],
    pieces: Pieces,
    progress: StageReport,
) -> float:
    if "embedding" in loaded.shape.scaled:
        raise InputError(f"model {loaded.shape.name!r}: its embedding must not be scaled to be healed; give --steps 0")
    torch.manual_seed(job.seed)
    device, length = texts[0].device, min(job.learned_length, texts[0].numel() // 2)
    check_blocks(loaded, length)

    def aligned(tokens: torch.Tensor) -> AlignedWindows | None:
        if not tokens.numel():
            return None
        return AlignedWindows(*(one.to(device) for one in aligned_windows(tokens.flatten().tolist(), pieces, length)))

    real = aligned(texts[0])
    if real is None:
        raise InputError("calibration text must have tokens to heal from")
    first = first_pieces(pieces, len(loaded.model.lm_head.weight)).to(device)
    report = partial(progress, "heal")
    return heal(loaded, teacher_blocks(loaded), student, (real, aligned(texts[1])), first, job, report)


@torch.no_grad()
def _put(loaded: LoadedModel, student: Student, tied: bool) -> None:
    """The student in the place of the model's own tensors, rounded to float16 as they are written."""
    model, device = loaded.model, loaded.model.lm_head.weight.device
    embedding, head = student.tables.dense()
    model.model.embed_tokens.weight = torch.nn.Parameter(embedding.detach().to(device), requires_grad=False)
    model.lm_head.weight = (
        model.model.embed_tokens.weight if tied else torch.nn.Parameter(head.detach().to(device), requires_grad=False)
    )
    model.model.norm.weight.copy_(student.norm)
    for layer, (block, tensors) in enumerate(zip(blocks(model), student.blocks, strict=False)):
        norms = block_norms(block, layer)
        for gain, value in zip(norms.values(), (tensors.attention_norm, tensors.mlp_norm), strict=False):
            gain.copy_(value)
        for linear, weight in zip(block_linears(block, layer), tensors.weights, strict=True):
            linear.module.weight.copy_(weight)


def _write(loaded: LoadedModel, path: Path, document: Document, kept: Sequence[int], folder: Path) -> None:
    """Weights, config and tokenizer of the model as it stands."""
    model, new = loaded.model, {old: number for number, old in enumerate(kept)}
    tensors = {name: value.to("cpu", torch.float16).contiguous() for name, value in file_state(model).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config
    config.vocab_size, config.dtype = len(kept), torch.float16
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        found = getattr(config, name, None)
        ids = [new[one] for one in found if one in new] if isinstance(found, list) else new.get(found)
        setattr(config, name, ids)
    config.save_pretrained(folder)
    old = transformers_tokenizer(path)
    special = {name: str(value) for name, value in old.special_tokens_map.items() if isinstance(value, str)}
    backend = Tokenizer.from_str(json.dumps(document))
    saved = PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **special)
    saved.chat_template = old.chat_template
    saved.save_pretrained(folder)


def _bits(loaded: LoadedModel, texts: Texts, document: Document, progress: object) -> tuple[float, float]:
    """Bits per byte of the evaluation text, each window's first token apart, and its tokens per byte."""
    text = texts.evaluation
    tokens = loaded.tokenizer.encode(text.text)
    windows = token_windows(tokens, texts.evaluation_length, texts.evaluation_windows, f"evaluation text {text.name!r}")
    nats = sum(window_losses(loaded.model, windows, False, progress))
    lengths = _byte_lengths(document)
    predicted = int(lengths[windows[:, 1:].numpy()].sum())
    return nats / math.log(2) / predicted, len(tokens) / len(text.text.encode())


def _byte_lengths(document: Document) -> np.ndarray:
    """Bytes of text that each id stands for: an entry has one character for each byte."""
    vocab = document["model"]["vocab"]
    added = {token["id"]: len(token["content"].encode()) for token in document.get("added_tokens", ())}
    lengths = {number: len(entry) for entry, number in vocab.items()} | added
    found = np.zeros(max(lengths) + 1, dtype=np.int64)
    found[list(lengths)] = list(lengths.values())
    return found


def _sizes(loaded: LoadedModel) -> tuple[int, int]:
    """Bytes at 16 bits of embedding and head, and of all parameters."""
    model = loaded.model
    tables = {id(one): one.numel() for one in (model.model.embed_tokens.weight, model.lm_head.weight)}
    return _BYTES * sum(tables.values()), _BYTES * sum(one.numel() for one in file_state(model).values())


def _device(loaded: LoadedModel) -> str:
    device = loaded.model.lm_head.weight.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
