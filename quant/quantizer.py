"""One quantization job with torch: the method carried over the model, perplexities before and after, recording."""

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

import torch

from hw.artifact import read_artifact, sha256_file, sha256_json, write_artifact
from hw.errors import InputError
from hw.progress import StageReport
from quant.job import FILE_CALIBRATION_WINDOWS, QuantJob, Texts
from quant.kv.agreement import HeadAgreement
from quant.kv.formats import KvFormat
from quant.llama.blocks import LoadedModel, add_bias, decoder_linears, norm_weights, streams
from quant.llama.cached import cached_attention
from quant.llama.evaluate import LastWord, last_word_accuracy, last_words, perplexity
from quant.llama.loading import load_model
from quant.llama.recorder import record_pass
from quant.llama.rotation import untie
from quant.manifest import Manifest, TableEntry, is_of_manifest, read_manifest, write_manifest
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.cost import RunCost, finished_blocks, host_peak_bytes, write_cost
from quant.procedures.shared.devices import check_shared
from quant.procedures.shared.processes import fixed_order, processes
from quant.procedures.shared.shards import Shards
from quant.procedures.stopwatch import measured
from quant.procedures.work import Work
from quant.recording import write_recording
from quant.registry import load_method, options_for
from quant.shapes import ModelShape
from quant.source import Source
from quant.text import NamedText
from quant.weights.checkpoint import Checkpoint, join_checkpoints
from quant.weights.stored_table import StoredTable

__all__ = ["PASSAGES", "apply_checkpoint", "evaluation_windows", "put_beside", "run_job"]

PASSAGES = 500  # whose last word is to be predicted
_NOT_CALIBRATED = "nothing: trits and scales are the file's"
_TRAINING = ("reconstruct", "distill step")  # stages that the minutes of a budget are for
_REFERENCE_SCHEMA, _REFERENCE_VERSION = "tritforge.reference", 1

_log = logging.getLogger(__name__)


def run_job(
    job: QuantJob,
    source: Source,
    texts: Texts,
    folder: Path,
    model_folder: Path,
    progress: StageReport,
    budget: dict[str, float],
    begun: float | None = None,
) -> None:
    """Quantize into ``folder`` what it does not hold yet, then evaluate and record; ``budget`` as in a manifest.

    ``begun``: when the minutes of a budget did, by ``time.perf_counter``; else the job begins here.

    Raises:
        InputError: see ``quant.pipeline.quantize``; out of memory, with the remedy.
    """
    try:
        with fixed_order(job.parts), ExitStack() as shared:
            _run_job(job, source, texts, folder, model_folder, progress, budget, begun, shared)
    except torch.OutOfMemoryError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {job.model!r}, method {job.method!r}: out of memory on {job.device} ({reason}); use shorter or "
            "fewer windows (--length, --calibration-windows), with pt-bitnet-full --options distilled=scales, or "
            "--device cpu; finished blocks are kept"
        ) from None


def _run_job(
    job: QuantJob,
    source: Source,
    texts: Texts,
    folder: Path,
    model_folder: Path,
    progress: StageReport,
    budget: dict[str, float],
    begun: float | None,
    shared: ExitStack,
) -> None:
    start = time.perf_counter() if begun is None else begun
    options = options_for(job.method, job.options)
    if job.parts > 1:
        check_shared(job.method, options, "devices" if job.devices else "shards")
    calibrated = options.procedure != "stored"
    path, shards = folder / "ternary.safetensors", Shards()
    is_whole = _is_whole(path)
    if not is_whole:  # the other processes load beside this one
        followers = processes(job.device_names, _follow, (job, source, texts, folder, model_folder))
        shards = shared.enter_context(followers)._replace(count=job.parts)
    torch.manual_seed(job.seed)
    progress("load", 0, 1)
    loaded = load_model(source, job.device)
    progress("load", 1, 1)
    # The model as it is: perplexities of every text, measured once per model, and last words.
    evaluated = {
        texts.name_of(text): evaluation_windows(loaded, texts, text) for text in (texts.evaluation, *texts.more)
    }
    form = job.kv_format
    figures = {
        name: _reference(loaded, windows, name, form, model_folder, progress) for name, windows in evaluated.items()
    }
    passages = [] if texts.prose is None else last_words(loaded.tokenizer, texts.prose.text, PASSAGES)
    guessed = {"fp_a8": _guess(loaded, passages, "last words before", progress)} if passages else {}
    # Quantized, unless an earlier call did; then the same figures again.
    cost = None
    if not is_whole:
        found, carried = finished_blocks(folder / "parts"), time.perf_counter()
        with measured() if budget else nullcontext() as laps:
            work = _work(job, loaded, texts, folder, model_folder, shards)._replace(progress=progress)
            join_checkpoints(path, *carry(work))
        shared.close()
        cost = RunCost(
            seconds=0,
            quantize_seconds=time.perf_counter() - carried,
            trained_seconds=None if laps is None else sum(lap.seconds for lap in laps if lap.stage in _TRAINING),
            finished_blocks=found,
            host_bytes=0,
            device_bytes=0,
            device=job.device,
        )
    checkpoint = Checkpoint(path)
    apply_checkpoint(loaded, checkpoint)
    for name, windows in evaluated.items():
        for key, int8 in (("a16", False), ("a8", True)):
            figures[name][key] = _measure(loaded, windows, int8, f"perplexity {key.upper()}, {name}", progress)
    agreement = HeadAgreement()
    for name, windows in evaluated.items() if form else ():
        with cached_attention(loaded.model, form, agreement if name == texts.evaluation_name else None):
            figures[name]["a8_kv"] = _measure(loaded, windows, True, f"perplexity A8, {form.spelled}, {name}", progress)
    if passages:
        guessed["a8"] = _guess(loaded, passages, "last words", progress)
    weights = sha256_file(path)
    recording = record_pass(
        loaded,
        checkpoint,
        weights,
        evaluated[texts.evaluation_name].flatten()[: min(job.recorded_tokens, loaded.shape.max_positions)].tolist(),
        job.method,
        texts.evaluation.name,
        partial(progress, "record"),
        form,
    )
    write_recording(folder, recording)
    manifest = Manifest(
        model=loaded.shape.name,
        source=job.model,
        shape=_stored_shape(loaded.shape, checkpoint),
        method=job.method,
        options={name: value for name, value in options.model_dump().items() if value is not None},
        packing="5in8",
        linears=checkpoint.entries(),
        tables=_table_entries(checkpoint, loaded.shape.tie_embeddings),
        weights_sha256=weights,
        source_sha256=loaded.weights_sha256,
        calibration=texts.calibration_name if calibrated else _NOT_CALIBRATED,
        evaluation=texts.evaluation_name,
        recorded_tokens=job.recorded_tokens,
        kv=form,
        kv_cosine={"mean": agreement.mean, "min": agreement.worst.cosine} if form else {},
        perplexity=figures.pop(texts.evaluation_name),
        more_perplexity=figures,
        last_word_text=texts.prose_name,
        last_word=guessed,
        budget=budget,
    )
    if cost is not None:
        peaks = {"host_bytes": host_peak_bytes(), "device_bytes": _device_peak_bytes(loaded)}
        write_cost(folder, cost.model_copy(update={"seconds": time.perf_counter() - start, **peaks}))
    write_manifest(folder / "manifest.json", manifest)  # the last: a run that has it is not gone into again


def _work(job: QuantJob, loaded: LoadedModel, texts: Texts, folder: Path, model_folder: Path, shards: Shards) -> Work:
    """What one process is to carry, silently."""
    options = options_for(job.method, job.options)
    windows = torch.empty((0, 0), dtype=torch.int64)
    if options.procedure != "stored":
        windows = _calibration_windows(loaded, texts)
    kept = folder / "parts", model_folder
    return Work(loaded, load_method(job.method), options, windows, *kept, job.seed, lambda *_: None, shards)


def _follow(
    shards: Shards, device: str, job: QuantJob, source: Source, texts: Texts, folder: Path, model_folder: Path
) -> None:
    """The same job in another process, which keeps and writes nothing."""
    torch.manual_seed(job.seed)
    carry(_work(job, load_model(source, device), texts, folder, model_folder, shards))


def _device_peak_bytes(loaded: LoadedModel) -> int:
    """What torch has held at most on a GPU that the model works on."""
    device = loaded.model.model.embed_tokens.weight.device
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def _stored_shape(shape: ModelShape, checkpoint: Checkpoint) -> ModelShape:
    """The model's own, with a head of its own where the checkpoint holds one."""
    return shape.model_copy(update={"tie_embeddings": shape.tie_embeddings and "lm_head" not in checkpoint.tables()})


def _is_whole(path: Path) -> bool:
    """Whether a packed checkpoint is there, can be read, and is that of the manifest beside it, where there is one."""
    try:
        Checkpoint(path)
    except InputError:
        return False
    try:
        return is_of_manifest(path, read_manifest(path.with_name("manifest.json")))
    except InputError:  # killed before it was written, or damaged itself
        return True


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
    biases = checkpoint.biases()
    for linear in decoder_linears(loaded.model) if biases else ():
        if (linear.layer, linear.kind) in biases:
            add_bias(linear.module, torch.from_numpy(biases[linear.layer, linear.kind]))
    put_beside(loaded, checkpoint)


def put_beside(loaded: LoadedModel, checkpoint: Checkpoint) -> None:
    """Put what was retrained beside the linears, norms and tables, into the model.

    Raises:
        InputError: a gain or a table that the model does not have.
    """
    tables = {
        name: table.dense() if isinstance(table, StoredTable) else table for name, table in checkpoint.tables().items()
    }
    if "lm_head" in tables:  # the head is no longer the embedding: of a rotated stream, or one of them in digits
        untie(loaded.model)
    retrained = [(norm_weights(loaded.model), checkpoint.norms()), (_table_weights(loaded), tables)]
    for own, replaced in retrained:
        for name, value in replaced.items():
            weight = own.get(name)
            if weight is None or weight.shape != value.shape:
                raise InputError(f"{checkpoint.path}: {name!r} of shape {value.shape} is none of the model's")
            weight.data = torch.from_numpy(value).to(weight.device, weight.dtype)


def _table_weights(loaded: LoadedModel) -> dict[str, torch.nn.Parameter]:
    """Embedding, and the head where it is not the embedding, by the names of the checkpoint."""
    embedding, head = loaded.model.model.embed_tokens.weight, loaded.model.lm_head.weight
    return {"embed_tokens": embedding} | ({} if head is embedding else {"lm_head": head})


def _table_entries(checkpoint: Checkpoint, tied: bool) -> list[TableEntry]:
    """The manifest's lines of the tables of a checkpoint; ``tied``: whether one of the model's was both."""
    tables, found = checkpoint.tables(), []
    for name, table in tables.items():
        roles = ("embedding", "head") if tied and len(tables) == 1 else ("embedding",)
        digits = isinstance(table, StoredTable)
        found.append(
            TableEntry(
                name=name,
                roles=("head",) if name == "lm_head" else roles,
                digits=table.digits if digits else None,
                bits=table.bits if digits else 8 * table.nbytes,
            )
        )
    return found


def evaluation_windows(loaded: LoadedModel, texts: Texts, text: NamedText) -> torch.Tensor:
    """Tokens that perplexity is measured on, int64 ``(count, length)``.

    Raises:
        InputError: too short a text.
    """
    tokens = loaded.tokenizer.encode(text.text)
    return token_windows(tokens, texts.evaluation_length, texts.evaluation_windows, f"evaluation text {text.name!r}")


def _calibration_windows(loaded: LoadedModel, texts: Texts) -> torch.Tensor:
    tokens = loaded.tokenizer.encode(texts.calibration.text)
    length = texts.calibration_length
    count = texts.calibration_windows or max(1, min(FILE_CALIBRATION_WINDOWS, len(tokens) // length))
    return token_windows(tokens, length, count, f"calibration text {texts.calibration.name!r}")


def _reference(
    loaded: LoadedModel,
    windows: torch.Tensor,
    name: str,
    form: KvFormat | None,
    model_folder: Path,
    progress: StageReport,
) -> dict[str, float]:
    """Perplexities of the model before quantization, A16, A8 and over K and V as ``form``; each measured once per text.

    A text is known by its very tokens.
    """
    text = {"evaluation": name, "tokens": hashlib.sha256(windows.numpy().tobytes()).hexdigest()}

    def measured(int8: bool, label: str) -> float:
        return _measure(loaded, windows, int8, f"perplexity before, {label}, {name}", progress)

    figures = _once(loaded, text, model_folder, lambda: {"fp": measured(False, "A16"), "fp_a8": measured(True, "A8")})
    if form:
        with cached_attention(loaded.model, form):
            text["kv"] = form.spelled
            figures |= _once(loaded, text, model_folder, lambda: {"fp_kv": measured(True, f"A8, {form.spelled}")})
    return figures


def _once(
    loaded: LoadedModel, identity: dict[str, str], model_folder: Path, measure: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """What an earlier job measured of the same weights and ``identity``, else what ``measure`` gives."""
    weights = loaded.weights_sha256
    path = model_folder / f"reference-{sha256_json({'weights': weights, **identity})[:12]}.json"
    with suppress(InputError):  # none, or one of another version
        return dict(read_artifact(path, _REFERENCE_SCHEMA, _REFERENCE_VERSION)["perplexity"])
    body = {**identity, "perplexity": measure()}
    write_artifact(path, _REFERENCE_SCHEMA, _REFERENCE_VERSION, body, {"weights": weights}, sealed=True)
    return dict(body["perplexity"])


def _guess(loaded: LoadedModel, passages: list[LastWord], stage: str, progress: StageReport) -> float:
    share = last_word_accuracy(loaded.model, passages, True, partial(progress, stage))
    _log.info("%s: %.4f", stage, share)
    return share


def _measure(loaded: LoadedModel, windows: torch.Tensor, int8: bool, stage: str, progress: StageReport) -> float:
    value = perplexity(loaded.model, windows, int8, partial(progress, stage))
    _log.info("%s: %.4f", stage, value)
    return value
