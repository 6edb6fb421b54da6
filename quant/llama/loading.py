"""Models made ready to work: weights and tokenizers from files through transformers, or random weights of a shape."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TypeVar

import torch
import transformers
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from hw.errors import InputError
from quant.gguf_config import gguf_config
from quant.gguf_file import read_gguf
from quant.llama.adapt import adapt
from quant.llama.blocks import LoadedModel, Tokenizer, must_stream, place
from quant.llama.gguf_tokenizer import plain_tokenizer, split_as_named
from quant.llama.self_test import check_function, probe_tokens, reference_logits, short_window
from quant.llama.tensors import check_tensors, gguf_names, gguf_state, needed_tensors, present_in_gguf
from quant.llama2c import Llama2cTokenizer, read_weights
from quant.native.checkpoint import native_model
from quant.native.detect import is_native
from quant.native.gguf_file import transformers_reads
from quant.safetensors_files import has_own_head, stored_tensors
from quant.shapes import ModelShape
from quant.source import Source, located, tokenizer_files

__all__ = ["load_model", "load_tokenizer", "random_llama", "save_tokenizer", "transformers_tokenizer", "usable_device"]

_LOCAL = {"local_files_only": True, "trust_remote_code": False}  # no code of the folder is run, nobody is asked to
_FLOATS = ("F32", "F16", "BF16")

Loaded = TypeVar("Loaded")


def load_model(source: Source, device: str = "cpu", streamed: bool | None = None) -> LoadedModel:
    """Load weights, and the tokenizer that belongs to them.

    ``streamed``: whether the blocks wait on the host; None: where float32 weights would take more than 8 GiB.

    Raises:
        InputError: no weights, not exactly the tensors that the shape needs, damaged weights, weights that are not
            finite, a function that is not transformers' own, no tokenizer, or an unknown device.
    """
    source = located(source)
    path = source.path
    target = usable_device(device)
    if source.shape.experts is not None:
        raise InputError(
            f"{path}: mixtures of experts are known by their dimensions only; give a model without experts"
        )
    if streamed is None:
        streamed = must_stream(source.shape)
    loader = {"llama2c": _load_llama2c, "gguf": _load_gguf, "wheel": _load_gguf}.get(source.form, _load_directory)
    if is_native(path) and (path.is_dir() or not transformers_reads(path)):
        loader = _load_native
    with _quiet_transformers():
        model = loader(path, source.shape, "auto" if streamed else torch.float32)
    for name, value in model.named_parameters():
        if not torch.isfinite(value).all():
            raise InputError(
                f"{path}: tensor {name!r} must be finite; it holds NaN or infinity: fetch the weights again"
            )
    shape = source.shape.model_copy(update={"tie_embeddings": model.config.tie_word_embeddings})
    place(model, target, streamed)
    tokens = probe_tokens(shape)
    with short_window(model):
        reference = reference_logits(model, tokens)
        adapt(model)
        check_function(model, tokens, reference, str(path))
    return LoadedModel(model, load_tokenizer(path, shape), path, shape, source.sha256)


def load_tokenizer(path: Path, shape: ModelShape) -> Tokenizer:
    """The tokenizer that belongs to the weights at ``path``: a directory, a .gguf or a llama2.c file.

    Raises:
        InputError: there is none that can be read.
    """
    vocabulary = _llama2c_vocabulary(path, shape)
    if path.suffix == ".bin" or (path.is_dir() and vocabulary.is_file()):
        return _CheckedTokenizer(Llama2cTokenizer(vocabulary, shape.vocab_size), vocabulary, shape.vocab_size)
    return _CheckedTokenizer(_TransformersTokenizer(transformers_tokenizer(path)), path, shape.vocab_size)


def save_tokenizer(path: Path, shape: ModelShape, folder: Path) -> None:
    """Write the files that make ``load_tokenizer(folder, shape)`` the tokenizer of the weights at ``path``."""
    if path.suffix == ".gguf":
        transformers_tokenizer(path).save_pretrained(folder)
        return
    found = [_llama2c_vocabulary(path, shape)] if path.is_file() else tokenizer_files(path)
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


class _CheckedTokenizer:
    """A tokenizer whose ids are all rows of the embedding."""

    def __init__(self, tokenizer: Tokenizer, path: Path, rows: int) -> None:
        self._tokenizer, self._path, self._rows = tokenizer, path, rows

    def encode(self, text: str) -> list[int]:
        tokens = self._tokenizer.encode(text)
        if tokens and (max(tokens) >= self._rows or min(tokens) < 0):
            wrong = max(tokens) if max(tokens) >= self._rows else min(tokens)
            raise InputError(
                f"{self._path}: tokenizer gives token {wrong}, but the embedding has {self._rows} rows (0 to "
                f"{self._rows - 1}); it is of another model, or tokens were added to it alone"
            )
        return tokens

    def decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens)


def _load_directory(path: Path, shape: ModelShape, dtype: torch.dtype | str) -> PreTrainedModel:
    stored = stored_tensors(path)
    config = _understood(path, lambda: AutoConfig.from_pretrained(path, **_LOCAL))
    if getattr(config, "quantization_config", None) is not None:
        raise InputError(
            f"{path}: field 'quantization_config' of config.json: packed or quantized weights are not read here; give "
            "the original ones"
        )
    own_head = has_own_head(stored)
    config.tie_word_embeddings = config.tie_word_embeddings and not own_head
    needed = _understood(path, lambda: needed_tensors(_usual(config, shape)))
    present = {name: tensor.shape for name, tensor in stored.items()}
    if config.tie_word_embeddings and not own_head:
        present.pop("lm_head.weight", None)  # the embedding once more
    check_tensors(path, needed, present)
    for name in needed:
        if stored[name].dtype not in _FLOATS:
            raise InputError(f"{path}: tensor {name!r} must be one of {', '.join(_FLOATS)}, not {stored[name].dtype}")
    return _understood(
        path,
        lambda: AutoModelForCausalLM.from_pretrained(path, config=config, dtype=dtype, **_LOCAL),
    )


def _load_gguf(path: Path, shape: ModelShape, dtype: torch.dtype | str) -> PreTrainedModel:
    file = read_gguf(path)
    fields = gguf_config(file)
    config = _understood(path, lambda: AutoConfig.for_model(**fields))
    needed = _understood(path, lambda: needed_tensors(_usual(config, shape)))
    names = gguf_names(file, needed)
    check_tensors(path, needed, present_in_gguf(file), names)
    state = dict(gguf_state(file, config, names))
    return _of_state(path, config, state, torch.bfloat16 if dtype == "auto" else dtype)


def _load_llama2c(path: Path, shape: ModelShape, dtype: torch.dtype | str) -> PreTrainedModel:
    weights = {name: torch.from_numpy(value.copy()) for name, value in read_weights(path).items()}
    return _of_state(path, _config(shape), weights, torch.bfloat16 if dtype == "auto" else dtype)


def _of_state(
    path: Path, config: transformers.PretrainedConfig, state: dict[str, torch.Tensor], dtype: torch.dtype
) -> PreTrainedModel:
    """transformers' model of these tensors, every one of them in its place."""
    family = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    model, report = _understood(
        path,
        lambda: family.from_pretrained(None, config=config, state_dict=state, dtype=dtype, output_loading_info=True),
    )
    if left := sorted({*report["missing_keys"], *report["unexpected_keys"]}):
        raise InputError(f"{path}: transformers has no place for, or misses, tensor {left[0]!r}")
    return model


def _usual(config: transformers.PretrainedConfig, shape: ModelShape) -> transformers.PretrainedConfig:
    """The config with what a caller of the model counts on."""
    config.return_dict, config.output_hidden_states = True, False
    if config.pad_token_id is not None and not 0 <= config.pad_token_id < shape.vocab_size:
        config.pad_token_id = None  # a row that does not exist; nothing is padded with it here
    # Soft caps are in plain attention alone.
    config._attn_implementation = "eager" if shape.attention_softcap else "sdpa"
    return config


def _understood(path: Path, load: Callable[[], Loaded]) -> Loaded:
    """What transformers makes of a file.

    Raises:
        InputError: what it refuses.
    """
    try:
        return load()
    except Exception as error:
        raise InputError(f"{path}: transformers cannot load these weights ({_line(error)})") from None


def transformers_tokenizer(path: Path) -> transformers.PreTrainedTokenizerBase:
    """transformers' own tokenizer of the weights at ``path``, a directory or a .gguf file.

    Raises:
        InputError: there is none that can be read.
    """
    if path.is_dir():
        return _pretrained_tokenizer(path, path)
    with plain_tokenizer(path) as plain:
        found = _pretrained_tokenizer(path, plain.parent, gguf_file=plain.name)
    split_as_named(read_gguf(path), found)
    return found


def _pretrained_tokenizer(path: Path, folder: Path, **options: str) -> transformers.PreTrainedTokenizerBase:
    """What transformers reads of a folder; ``path``: what complaints name."""
    with _quiet_transformers(), redirect_stderr(StringIO()):
        try:
            return AutoTokenizer.from_pretrained(folder, **_LOCAL, **options)
        except Exception as error:
            raise InputError(
                f"{path}: has no usable tokenizer (tokenizer.json); copy it there ({_line(error)})"
            ) from None


def _load_native(path: Path, shape: ModelShape, dtype: torch.dtype | str) -> PreTrainedModel:
    return native_model(path, shape, half=dtype == "auto")


def _llama2c_vocabulary(path: Path, shape: ModelShape) -> Path:
    """Where the tokenizer of a llama2.c checkpoint is: beside it, or in the directory that it was rewritten to."""
    return (path if path.is_dir() else path.parent) / f"tok{shape.vocab_size}.bin"


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
