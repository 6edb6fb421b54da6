"""Tiny random models of every family, written by transformers: what loading, stepping and counting are held against."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

# Name: prefix of transformers' classes, and what is special about it here.
FAMILIES: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("Llama", {}),
    "llama with biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("Mistral", {"sliding_window": 16}),
    "qwen2": ("Qwen2", {}),
    "qwen2 with windows": ("Qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "smollm3": ("SmolLM3", {"use_sliding_window": True, "sliding_window": 12}),
    "gemma2": (
        "Gemma2",
        {
            "head_dim": 32,
            "sliding_window": 16,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma3": (
        "Gemma3",
        {"head_dim": 32, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2},
    ),
    "phi3": ("Phi3", {"sliding_window": 20, "attention_dropout": 0.0}),
    "olmo2": ("Olmo2", {}),
    "granite": (
        "Granite",
        {
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "logits_scaling": 2.0,
            "attention_multiplier": 0.2,
            "attention_bias": True,
        },
    ),
    "bitnet": ("BitNet", {}),
}


def family_config(name: str, **fields: object) -> transformers.PretrainedConfig:
    """transformers' config of a tiny model of the family."""
    prefix, special = FAMILIES[name]
    kind = f"{prefix}TextConfig" if prefix == "Gemma3" else f"{prefix}Config"
    return getattr(transformers, kind)(**SIZES | special | fields)


def family_model(name: str, seed: int = 7, **fields: object) -> PreTrainedModel:
    """Random weights, large enough in queries and keys that masks and positions matter."""
    torch.manual_seed(seed)
    model = getattr(transformers, f"{FAMILIES[name][0]}ForCausalLM")(family_config(name, **fields)).float().eval()
    with torch.no_grad():
        for path, value in model.named_parameters():
            if path.endswith("bias"):
                value.normal_(0, 0.5)
            elif value.ndim == 1:
                value.normal_(0 if name.startswith("gemma") else 1, 0.1)  # Gemma's norms multiply by 1 + weight
            else:
                value.normal_(0, 0.5 if "q_proj" in path or "k_proj" in path or "qkv" in path else 0.25)
    return model


def save_family(name: str, folder: Path, **fields: object) -> PreTrainedModel:
    """Write such a model with a byte tokenizer, and give it back."""
    model = family_model(name, **fields)
    model.save_pretrained(folder)
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return model
