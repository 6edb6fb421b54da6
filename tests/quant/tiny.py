"""A tiny random LLaMA with a word tokenizer, written as a Hugging Face directory, and methods carried over it."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from quant.procedures.work import Work
from quant.registry import load_method, options_for

VOCABULARY = 40
TEXT = " ".join(f"w{(7 * i * i + 3 * i) % (VOCABULARY - 1)}" for i in range(3000))


def save_tiny_llama(folder: Path, seed: int = 0, layers: int = 2, tied: bool = True, heads: int = 4) -> Path:
    """hidden 24 (no multiple of any group), two queries per key, random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(0, 0.2)
    model.save_pretrained(folder)
    words = {"<unk>": 0} | {f"w{i}": i + 1 for i in range(VOCABULARY - 1)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    return folder


def work_on(loaded, method: str, windows: torch.Tensor, folder: Path, progress=lambda *_: None, **given) -> Work:
    """A method by name, with options, over a loaded model; everything is kept in ``folder``."""
    return Work(loaded, load_method(method), options_for(method, given), windows, folder, folder, 0, progress)
