"""Tiny random LLaMAs of widths that whole TQ blocks fit, with a byte-level tokenizer that llama.cpp has a rule for."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
MERGES = [("t", "h"), ("th", "e"), ("a", "n"), ("an", "d"), ("Ġ", "the"), ("o", "u")]


def save_byte_llama(folder: Path, family: str = "llama", hidden: int = 256, **fields: object) -> Path:
    """Two layers, grouped queries; ``hidden`` 256, 288 (rows that are no whole blocks) or less."""
    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *("".join(pair) for pair in MERGES)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    config_class, model_class = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    }[family]
    config = config_class(
        vocab_size=len(pieces) + 2,
        hidden_size=hidden,
        intermediate_size=2 * hidden // 32 * 32 if hidden < 256 else 512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=len(pieces),
        eos_token_id=len(pieces) + 1,
        **{"tie_word_embeddings": True, "rms_norm_eps": 1e-5} | fields,
    )
    model = model_class(config)
    for name, parameter in model.named_parameters():
        wide = 0.3 if "embed" in name or "lm_head" in name else 0.1
        parameter.data = torch.rand_like(parameter) + 0.5 if "norm" in name else torch.randn_like(parameter) * wide
    model.save_pretrained(folder)
    tokenizer = Tokenizer(BPE(vocabulary, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    return folder
