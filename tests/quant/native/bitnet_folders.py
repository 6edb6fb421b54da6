"""Tiny random BitNet models, packed by transformers' own code or in the ways of other public writers."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BitNetConfig, BitNetForCausalLM
from transformers.integrations.bitnet import pack_weights

from tests.quant.tiny import VOCABULARY, save_tiny_llama

FORMS = [("autobitlinear", "offline"), ("autobitlinear", "online"), ("bitlinear", "offline"), ("bitlinear", "online")]


def bitnet_model(seed: int = 0, tied: bool = True, **fields: object) -> BitNetForCausalLM:
    """hidden 128, grouped queries, sub-norms with gains, squared ReLU; master weights representable in bfloat16."""
    torch.manual_seed(seed)
    settings = {"hidden_act": "relu2", "tie_word_embeddings": tied, "max_position_embeddings": 64} | fields
    model = BitNetForCausalLM(
        BitNetConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=None,
            eos_token_id=None,
            **settings,
        )
    )
    for name, parameter in model.named_parameters():
        parameter.data = (
            torch.rand_like(parameter) + 0.5 if "norm" in name else torch.randn_like(parameter) * 0.1
        ).bfloat16()
    return model.to(torch.bfloat16)


def save_bitnet(folder: Path, linear_class: str, mode: str, **fields: object) -> Path:
    """A folder as it is published: packed trits and bfloat16 scales, or master weights where that is the form."""
    model = bitnet_model(**fields)
    save_tiny_llama(folder)  # for its tokenizer
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    if (linear_class, mode) != ("autobitlinear", "online"):
        for name in [name for name in tensors if name.endswith("_proj.weight")]:
            scale = tensors[name].float().abs().mean()
            trits = (tensors[name].float() / scale).round().clamp(-1, 1)
            tensors[name] = pack_weights(trits)
            stored = scale if linear_class == "autobitlinear" else 1 / scale
            tensors[f"{name}_scale"] = stored.bfloat16().reshape(1)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    change_config(
        folder, quantization_config={"quant_method": "bitnet", "linear_class": linear_class, "quantization_mode": mode}
    )
    return folder


def change_config(folder: Path, **fields: object) -> None:
    """Put these fields into the folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
