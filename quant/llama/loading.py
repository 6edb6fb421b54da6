"""Models made ready to work: weights and tokenizers from files through transformers, or random weights of a shape."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from hw.errors import InputError
from quant.llama.blocks import LoadedModel, Tokenizer, must_stream, place
from quant.llama2c import Llama2cTokenizer, read_weights
from quant.native.checkpoint import native_model
from quant.native.detect import is_native
from quant.native.gguf_file import plain_tokenizer, transformers_reads
from quant.shapes import ModelShape
from quant.source import Source, located

__all__ = ["load_model", "load_tokenizer", "random_llama", "save_tokenizer", "usable_device"]

# What of a Hugging Face directory belongs to its tokenizer.
_TOKENIZER_FILES = (
    "tokenizer*",
    "chat_template*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tok*.bin",
)


def load_model(source: Source, device: str = "cpu", streamed: bool | None = None) -> LoadedModel:
    """Load weights, and the tokenizer that belongs to them.

    ``streamed``: whether the blocks wait on the host; None: where float32 weights would take more than 8 GiB.

    Raises:
        InputError: no weights, damaged weights, weights that are not finite, no tokenizer, or an unknown device.
    """
    source = located(source)
    path = source.path
    target = usable_device(device)
    if streamed is None:
        streamed = must_stream(source.shape)
    loader = _load_llama2c if source.form == "llama2c" else _load_transformers
    if is_native(path) and (path.is_dir() or not transformers_reads(path)):
        loader = _load_native
    model, tokenizer = loader(path, source, "auto" if streamed else torch.float32)
    for name, value in model.named_parameters():
        if not torch.isfinite(value).all():
            raise InputError(
                f"{path}: tensor {name!r} must be finite; it holds NaN or infinity: fetch the weights again"
            )
    return LoadedModel(place(model, target, streamed), tokenizer, path, source.shape, source.sha256)


def load_tokenizer(path: Path, shape: ModelShape) -> Tokenizer:
    """The tokenizer that belongs to the weights at ``path``: a directory, a .gguf or a llama2.c file.

    Raises:
        InputError: there is none that can be read.
    """
    vocabulary = _llama2c_vocabulary(path, shape)
    if path.suffix == ".bin" or (path.is_dir() and vocabulary.is_file()):
        return Llama2cTokenizer(vocabulary, shape.vocab_size)
    return _TransformersTokenizer(_transformers_tokenizer(path))


def save_tokenizer(path: Path, shape: ModelShape, folder: Path) -> None:
    """Write the files that make ``load_tokenizer(folder, shape)`` the tokenizer of the weights at ``path``."""
    if path.suffix == ".gguf":
        _transformers_tokenizer(path).save_pretrained(folder)
        return
    found = [_llama2c_vocabulary(path, shape)] if path.is_file() else []
    for pattern in _TOKENIZER_FILES if path.is_dir() else ():
        found += path.glob(pattern)
    for file in found:
        shutil.copyfile(file, folder / file.name)


def usable_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        InputError: one that torch cannot use here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device must be one that torch can use here, not {name!r} ({_line(error)})") from None
    return device


def random_llama(shape: ModelShape, device: torch.device, seed: int = 0) -> PreTrainedModel:
    """A LLaMA of random bfloat16 weights on the host, made tensor by tensor on ``device``: for benchmarks.

    Normal weights of standard deviation 0.02, less by the root of twice the layers where a block writes to the
    residual stream (Radford et al., GPT-2, section 2.3); norm gains of 1. No biases.
    """
    config = _config(shape)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in list(model.named_parameters()):
        deviation = 0.02 / (2 * shape.layers) ** 0.5 if "o_proj" in name or "down_proj" in name else 0.02
        value = torch.ones(parameter.shape, dtype=torch.bfloat16, device=device)
        if parameter.ndim == 2:
            value.normal_(0, deviation, generator=generator)
        module, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(module), attribute, nn.Parameter(value.cpu(), requires_grad=False))
    model.tie_weights()
    return model


class _TransformersTokenizer:
    """A transformers tokenizer without its warning about long texts."""

    def __init__(self, tokenizer: transformers.PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return self._tokenizer(text, verbose=False).input_ids

    def decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens)


def _load_transformers(path: Path, source: Source, dtype: torch.dtype | str) -> tuple[PreTrainedModel, Tokenizer]:
    folder, options = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    with _quiet_transformers(), redirect_stderr(StringIO()):  # the .gguf reader's bar cannot be switched off
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True, **options
            )
        except Exception as error:
            raise InputError(f"{path}: transformers cannot load these weights ({_line(error)})") from None
    return model, load_tokenizer(path, source.shape)


def _transformers_tokenizer(path: Path) -> transformers.PreTrainedTokenizerBase:
    if path.suffix == ".gguf" and not transformers_reads(path):
        with plain_tokenizer(path) as plain:
            return _transformers_tokenizer(plain)
    folder, options = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    with _quiet_transformers(), redirect_stderr(StringIO()):
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, **options)
        except Exception as error:
            raise InputError(
                f"{path}: has no usable tokenizer (tokenizer.json); copy it there ({_line(error)})"
            ) from None


def _load_native(path: Path, source: Source, dtype: torch.dtype | str) -> tuple[PreTrainedModel, Tokenizer]:
    return native_model(path, source.shape, half=dtype == "auto"), load_tokenizer(path, source.shape)


def _llama2c_vocabulary(path: Path, shape: ModelShape) -> Path:
    """Where the tokenizer of a llama2.c checkpoint is: beside it, or in the directory that it was rewritten to."""
    return (path if path.is_dir() else path.parent) / f"tok{shape.vocab_size}.bin"


def _load_llama2c(path: Path, source: Source, _: torch.dtype | str) -> tuple[PreTrainedModel, Tokenizer]:
    shape = source.shape
    model = LlamaForCausalLM(_config(shape))
    weights = {name: torch.from_numpy(value.copy()) for name, value in read_weights(path).items()}
    model.load_state_dict(weights, strict=False)
    model.tie_weights()
    return model, load_tokenizer(path, shape)


def _config(shape: ModelShape) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_positions,
        rms_norm_eps=shape.rms_norm_eps,
        rope_theta=shape.rope_theta,
        tie_word_embeddings=shape.tie_embeddings,
        attn_implementation="sdpa",
    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence loading bars and notes; errors still raise."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()


def _line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
