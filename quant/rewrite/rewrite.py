"""``rewrite``: a model's folder with other weights and the same function, for any method to quantize.

The result is a Hugging Face directory: ``config.json``, ``model.safetensors``, the tokenizer's files, and
``rewrite.json`` with what was done. Weights are float32, or keep their file's type where the model is too large to be
held whole (see ``quant.llama.blocks``).
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from hw.artifact import atomic_folder, write_artifact
from hw.document import Record
from hw.errors import InputError
from hw.progress import StageReport
from quant.llama.adapt import file_state
from quant.llama.blocks import LoadedModel, blocks, logits_of
from quant.llama.forward import hidden_states
from quant.llama.loading import load_model, load_tokenizer, save_tokenizer
from quant.llama.rotation import rotate
from quant.procedures.calibrate import token_windows
from quant.rewrite.cache_channels import balance_cache
from quant.rewrite.equivalent import Exponents, balance, weight_kurtosis
from quant.rewrite.job import RewriteJob
from quant.shapes import ModelShape
from quant.source import resolve
from quant.text import calibration_text

__all__ = ["Rewritten", "rewrite"]


_SCHEMA, _VERSION = "tritforge.rewrite", 1
_COMPARED_TOKENS = 64  # whose logits are compared before and after
_FLOAT32_TOLERANCE, _HALF_TOLERANCE = 1e-3, 1e-1  # of the logits' norm, by the type that the weights are rounded to


class Rewritten(Record):
    """A finished folder, and how it differs from the model that it was made of."""

    folder: Path
    shape: ModelShape
    dtype: str
    file_bytes: int  # of model.safetensors
    logits_differ: float  # norm of the difference over norm of the logits, on a few tokens of the calibration text
    kurtosis_before: float  # of the decoder linears' weights
    kurtosis_after: float


def rewrite(job: RewriteJob, progress: StageReport | None = None) -> Rewritten:
    """Load, rotate, balance channels, then those of K and V, and write ``job.out``, which appears whole or not at all.

    Raises:
        InputError: nothing to do, a folder that holds something, a model of extra norms, a size that has no Hadamard
            matrix, or what loading a model or a text refuses.
    """
    report = progress or (lambda *_: None)
    if job.rotate is None and _exponents(job) is None and job.balance_cache is None:
        raise InputError(
            "rewrite: nothing to do; give --rotate SEED, --balance BETA, --smooth ALPHA or --balance-cache ALPHA"
        )
    if job.balance is not None and job.smooth is not None:
        raise InputError("rewrite: --balance and --smooth are two ways to choose the same factors; give one of them")
    if job.out.exists() and not (job.out.is_dir() and not any(job.out.iterdir())):
        raise InputError(f"{job.out}: must be a new or empty folder; give another with --out, or remove it")
    source = resolve(job.model)
    if source.shape.sub_norms:
        raise InputError(f"model {source.name!r}: norms in front of o_proj and down_proj are not rewritten here")
    if not source.shape.pre_norms:
        raise InputError(f"model {source.name!r}: has no norms before attention and MLP that could take up factors")
    if job.rotate is not None and source.shape.post_norms:
        raise InputError(
            f"model {source.name!r}: norms behind attention and MLP do not commute with a rotation of the residual "
            "stream; use --balance or --smooth without --rotate"
        )
    loaded = load_model(source, job.device)
    text = calibration_text(job.calib)
    tokens = loaded.tokenizer.encode(text.text)
    model, shape = loaded.model, loaded.shape
    compared = token_windows(tokens, min(_COMPARED_TOKENS, shape.max_positions), 1, f"calibration text {text.name!r}")
    before, kurtosis_before = _logits(model, compared), weight_kurtosis(model)
    if job.rotate is not None:
        rotate(model, shape, job.rotate, report)
    if _calibrated(job):
        length = min(job.length, shape.max_positions)
        windows = token_windows(tokens, length, job.calibration_windows, f"calibration text {text.name!r}")
        if _exponents(job) is not None:
            balance(model, shape, windows, _exponents(job), report)
        if job.balance_cache is not None:
            balance_cache(model, shape, windows, job.balance_cache, report)
    facts: dict[str, object] = {
        "shape": shape.model_copy(update={"tie_embeddings": model.config.tie_word_embeddings}),
        "kurtosis_before": kurtosis_before,
        "kurtosis_after": weight_kurtosis(model),
    }
    with atomic_folder(job.out) as folder:
        dtype = _write_weights(model, folder)
        facts |= {"dtype": dtype, "file_bytes": (folder / "model.safetensors").stat().st_size}
        save_tokenizer(loaded.path, shape, folder)
        if load_tokenizer(folder, shape).encode(text.text) != tokens:
            raise InputError(
                f"{loaded.path}: its tokenizer gives other tokens once saved; give a Hugging Face directory"
            )
        loaded = loaded._replace(model=None)
        del model  # two of a large one may not fit
        facts["logits_differ"] = _compare(folder, job, compared, before, dtype)
        _write_facts(job, loaded, facts, folder)
    return Rewritten(folder=job.out, **facts)


def _compare(folder: Path, job: RewriteJob, tokens: torch.Tensor, before: torch.Tensor, dtype: str) -> float:
    """Norm of the difference that the folder's own model makes to the logits, over the norm of the logits.

    Raises:
        InputError: more than rounding to the folder's type can make.
    """
    after = _logits(load_model(resolve(str(folder)), job.device).model, tokens)
    differ = ((after - before).norm() / before.norm()).item()
    limit = _FLOAT32_TOLERANCE if dtype == "float32" else _HALF_TOLERANCE
    if not differ <= limit:
        raise InputError(
            f"model {job.model!r}: logits of the rewritten folder must be those of the model within {limit:g} of their "
            f"norm, not {differ:.2g}; nothing was written"
        )
    return differ


@torch.no_grad()
def _logits(model: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
    (hidden,) = hidden_states(model, [windows.to(model.lm_head.weight.device)], int8=False)
    return logits_of(model, hidden)


def _write_weights(model: PreTrainedModel, folder: Path) -> str:
    """``model.safetensors`` and ``config.json``; the name of the weights' type."""
    dtype = next(blocks(model)[0].parameters()).dtype
    tensors = {name: value.to("cpu", dtype).contiguous() for name, value in file_state(model).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.dtype = dtype
    model.config.save_pretrained(folder)
    return str(dtype).removeprefix("torch.")


def _exponents(job: RewriteJob) -> Exponents | None:
    """Those of the balancing factors, where channels are balanced at all."""
    if job.smooth is not None:
        return Exponents(job.smooth, 1 - job.smooth)
    return None if job.balance is None else Exponents(job.balance)


def _calibrated(job: RewriteJob) -> bool:
    """Whether text is needed."""
    return _exponents(job) is not None or job.balance_cache is not None


def _write_facts(job: RewriteJob, loaded: LoadedModel, facts: dict[str, object], folder: Path) -> None:
    done = job.model_dump(include={"rotate", "balance", "smooth", "balance_cache"})
    if _calibrated(job):
        text = calibration_text(job.calib)
        windows = f"{job.calibration_windows} windows of {min(job.length, loaded.shape.max_positions)} tokens"
        done["calibration"] = f"{text.name} ({text.sha256[:12]}), {windows}"
    body = done | {name: value for name, value in facts.items() if name != "shape"}
    write_artifact(folder / "rewrite.json", _SCHEMA, _VERSION, body, {"source": loaded.weights_sha256})
