"""Tables in digits, trained beside the float body by distillation, and measured as their file holds them."""

import json
import time
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hw.artifact import atomic_path, one_at_a_time, sha256_json, write_text
from hw.errors import InputError
from hw.progress import StageReport
from quant.job import FILE_CALIBRATION_WINDOWS, Texts, texts_of
from quant.llama.blocks import LoadedModel, block_linears, blocks, is_tied
from quant.llama.evaluate import perplexity
from quant.llama.loading import load_model
from quant.pipeline import model_folder
from quant.procedures.calibrate import token_windows
from quant.procedures.distill import distill
from quant.procedures.latent import BlockTensors, check_blocks
from quant.procedures.modelwise import corpus_of, generated_text, norms_of, teacher_blocks
from quant.procedures.reconstruct import TrainingPlan
from quant.procedures.student.tables import Tables, tables_of
from quant.quantizer import put_beside
from quant.shapes import LINEAR_KINDS
from quant.source import located, resolve
from quant.vocabulary.job import TableJob
from quant.vocabulary.results import TableRow
from quant.vocabulary.student import body_groups, student_blocks
from quant.weights.checkpoint import Checkpoint, join_checkpoints
from quant.weights.stored_table import StoredTable

__all__ = ["make_tables", "train_tables"]

_FILE, _BODY_FILE = "tables.safetensors", "body.safetensors"
_NORM_SHARE = 0.05  # of a plan's rate, the norms' (quant.procedures.reconstruct)
_KEPT_BITS = 16  # of a parameter that is not in digits


def make_tables(job: TableJob, progress: StageReport) -> tuple[TableRow, Path]:
    """Train what no earlier call did, and measure the model with the tables as they are stored; the folder beside it.

    Raises:
        InputError: an unknown model, a model of another form than LLaMA's, too short a text, out of memory.
    """
    source = resolve(job.model)
    texts = texts_of(job.texts, source.shape.max_positions)
    source = located(source)
    key = sha256_json({"weights": source.sha256, "calibration": texts.calibration_name} | job.identity)
    folder = model_folder(source) / f"table-{key[:12]}"
    progress("load", 0, 1)
    loaded = load_model(source, job.device, streamed=False)
    progress("load", 1, 1)
    try:
        with one_at_a_time(folder, lambda: progress(f"wait for another run on {folder}", 0, 0)):
            figures = _measured(loaded, texts, ("fp", "fp_a8"), progress)
            if not _is_whole(folder / _FILE):
                _train(job, loaded, texts, folder, progress)
            checkpoint = Checkpoint(folder / _FILE)
            tied = is_tied(loaded.model)
            put_beside(loaded, checkpoint)
            if job.trains_body:
                _put_body(loaded, folder / _BODY_FILE)
            figures |= _measured(loaded, texts, ("a16", "a8"), progress)
    except torch.OutOfMemoryError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {job.model!r}: out of memory on {job.device} ({reason}); give fewer --tokens-per-step"
        ) from None
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return _row(job, loaded, checkpoint, tied, figures, texts, training), folder


def train_tables(
    job: TableJob, loaded: LoadedModel, windows: torch.Tensor, texts: Path, progress: StageReport
) -> tuple[Tables, list[BlockTensors], torch.Tensor, float | None]:
    """Tables, blocks whose norms are retrained, the last norm, and the divergence at the end; the model stays.

    ``windows``: calibration tokens on the model's device; ``texts``: where text that the model wrote is kept.

    Raises:
        InputError: a model that scales what it looks up, or of another form than LLaMA's; a loss that is not finite.
    """
    if "embedding" in loaded.shape.scaled:
        raise InputError(f"model {loaded.shape.name!r}: its embedding must not be scaled to be put into digits")
    check_blocks(loaded, max(windows.shape[1], min(job.learned_length, windows.numel() // 2) if job.steps else 0))
    tables = tables_of(loaded, job.digits, job.roles, trained=False)
    teacher, last_norm = teacher_blocks(loaded), loaded.model.model.norm.weight.detach().clone()
    student = student_blocks(loaded, job.trains_body)
    if not job.steps:
        return tables, student, last_norm, None
    generated = windows[:0]
    if job.generated_windows:
        generated = generated_text(loaded, windows, job.generated_windows, job.seed, texts, progress)
    plan = TrainingPlan(
        epochs=1,
        rate=job.norm_rate / _NORM_SHARE,
        tokens_per_step=job.tokens_per_step,
        seed=job.seed,
        soften=job.soften,
        table_rate=job.rate,
    )
    corpus = corpus_of(windows, generated, job.learned_length, job.real_share)
    report = partial(progress, "distill")
    body = body_groups(student, job.body_rate) if job.trains_body else []
    loss = distill(
        *(loaded.model, teacher, student, last_norm, corpus, job.steps, plan, report),
        student_tables=tables, int8=False, body=body,
    )  # fmt: skip
    return tables, student, last_norm, loss


def _write_body(path: Path, student: list[BlockTensors]) -> None:
    """Float linears as float16, by layer and kind."""
    tensors = {
        f"{layer}.{kind}": weight.half().cpu()
        for layer, block in enumerate(student)
        for kind, weight in zip(LINEAR_KINDS, block.weights, strict=True)
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)


@torch.no_grad()
def _put_body(loaded: LoadedModel, path: Path) -> None:
    """What ``_write_body`` stored, in its place in the model."""
    stored = load_file(path)
    for layer, block in enumerate(blocks(loaded.model)):
        for linear in block_linears(block, layer):
            linear.module.weight.copy_(stored[f"{layer}.{linear.kind}"])


def _train(job: TableJob, loaded: LoadedModel, texts: Texts, folder: Path, progress: StageReport) -> None:
    """Train, and write ``tables.safetensors`` and beside it what training took; text that the model wrote above it."""
    torch.manual_seed(job.seed)
    count = texts.calibration_windows
    tokens = loaded.tokenizer.encode(texts.calibration.text)
    count = count or max(1, min(FILE_CALIBRATION_WINDOWS, len(tokens) // texts.calibration_length))
    windows = token_windows(tokens, texts.calibration_length, count, f"calibration text {texts.calibration.name!r}")
    windows = windows.to(loaded.model.lm_head.weight.device)
    start = time.monotonic()
    tables, student, last_norm, divergence = train_tables(job, loaded, windows, folder.parent, progress)
    training = {"divergence": divergence, "seconds": time.monotonic() - start, "device": _device(loaded)}
    write_text(folder / "training.json", json.dumps(training, indent=1) + "\n")
    if job.trains_body:
        _write_body(folder / _BODY_FILE, student)
    join_checkpoints(folder / _FILE, [], norms_of(student, last_norm), tables.stored())


def _is_whole(path: Path) -> bool:
    """Whether an earlier call finished the tables."""
    try:
        return bool(Checkpoint(path).tables()) and path.with_name("training.json").is_file()
    except InputError:
        return False


def _measured(loaded: LoadedModel, texts: Texts, keys: tuple[str, str], progress: StageReport) -> dict[str, float]:
    """Perplexities of the model as it stands, with float and with int8 activations at the linears."""
    windows = token_windows(
        loaded.tokenizer.encode(texts.evaluation.text),
        texts.evaluation_length,
        texts.evaluation_windows,
        f"evaluation text {texts.evaluation.name!r}",
    )
    when = "before" if keys[0] == "fp" else "in digits"
    return {
        key: perplexity(loaded.model, windows, int8, partial(progress, f"perplexity {when}, {label}"))
        for key, int8, label in zip(keys, (False, True), ("A16", "A8"), strict=True)
    }


def _row(
    job: TableJob,
    loaded: LoadedModel,
    checkpoint: Checkpoint,
    tied: bool,
    figures: dict[str, float],
    texts: Texts,
    training: dict[str, object],
) -> TableRow:
    shape, tables = loaded.shape, checkpoint.tables()
    in_digits = [table for table in tables.values() if isinstance(table, StoredTable)]
    digit_bits, entries = sum(table.bits for table in in_digits), sum(table.codes.size for table in in_digits)
    shape = shape.model_copy(update={"tie_embeddings": tied and job.roles == "both"})
    rest = shape.total_parameters - len(in_digits) * shape.embedding_parameters
    given = job.identity
    return TableRow(
        **{name: given[name] for name in TableRow.model_fields.keys() & given.keys()},
        model=shape.name,
        entry_bits=digit_bits / entries,
        whole_bits=(digit_bits + _KEPT_BITS * rest) / shape.total_parameters,
        perplexity=figures,
        evaluation=texts.evaluation_name,
        calibration=texts.calibration_name,
        **training,
    )


def _device(loaded: LoadedModel) -> str:
    device = loaded.model.lm_head.weight.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
