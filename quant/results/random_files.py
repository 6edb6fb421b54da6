"""A model of random weights as a Hugging Face directory, with a tokenizer of one word per token and a text to read."""

import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from hw.artifact import atomic_path, write_text
from hw.errors import InputError
from quant.llama.loading import random_llama
from quant.shapes import ModelShape
from quant.source import resolve

__all__ = ["write_random_model", "write_random_text"]

_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "layers", "heads", "kv_heads")


def write_random_model(folder: Path, shape: ModelShape, device: torch.device) -> None:
    """bfloat16 weights as of ``quant.llama.loading.random_llama``, made on ``device``; kept where they are there.

    Raises:
        InputError: a folder that holds something else.
    """
    if (folder / "config.json").is_file():
        found = resolve(str(folder)).shape
        for name in _SIZES:
            if getattr(found, name) != getattr(shape, name):
                raise InputError(
                    f"{folder}: its model must have {name} {getattr(shape, name)}, as {shape.name} here, not "
                    f"{getattr(found, name)}; give another folder with --files, or remove it"
                )
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: must be a new or empty folder; give another with --files, or remove it")
    model = random_llama(shape, device)
    with atomic_path(folder / "model.safetensors") as temporary:
        state = model.state_dict()
        if shape.tie_embeddings:
            del state["lm_head.weight"]
        save_file(state, temporary, metadata={"format": "pt"})
    words = Tokenizer(WordLevel({_word(token): token for token in range(shape.vocab_size)}, unk_token=_word(0)))
    words.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token=_word(0)).save_pretrained(folder)
    model.config.dtype, model.config.architectures = torch.bfloat16, [type(model).__name__]
    model.config.save_pretrained(folder)


def write_random_text(path: Path, shape: ModelShape, tokens: int, seed: int = 0) -> None:
    """So many words, one token of a model's vocabulary each."""
    drawn = random.Random(seed).choices(range(shape.vocab_size), k=tokens)
    write_text(path, " ".join(map(_word, drawn)))


def _word(token: int) -> str:
    return f"w{token}"
