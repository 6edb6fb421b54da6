"""Family models written as .gguf the way llama.cpp's converter does: names, rotary pairs, gains, metadata."""

from pathlib import Path

import gguf
import numpy as np
from transformers import PreTrainedModel

# Architecture: name in tests.quant.families, and whether rows of q and k are neighbouring pairs.
ARCHITECTURES = {
    "llama": ("llama", True),
    "qwen2": ("qwen2", False),
    "qwen3": ("qwen3", False),
    "smollm3": ("smollm3", True),
    "gemma2": ("gemma2", False),
    "gemma3": ("gemma3", False),
    "phi3": ("phi3", False),
    "olmo2": ("olmo2", False),
    "granite": ("granite", True),
}


def metadata(architecture: str, model: PreTrainedModel) -> dict[str, object]:
    """What the converter writes of the config."""
    config = model.config
    fields: dict[str, object] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.freq_base": float(config.rope_parameters.get("full_attention", config.rope_parameters)["rope_theta"]),
        "vocab_size": config.vocab_size,
    }
    if getattr(config, "head_dim", None):
        fields |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    if architecture in ("gemma2", "gemma3", "phi3"):
        fields["attention.sliding_window"] = config.sliding_window
    if architecture == "gemma2":
        fields["attn_logit_softcapping"] = config.attn_logit_softcapping
        fields["final_logit_softcapping"] = config.final_logit_softcapping
    if architecture == "granite":
        fields |= {
            "attention.scale": config.attention_multiplier,
            "embedding_scale": config.embedding_multiplier,
            "residual_scale": config.residual_multiplier,
            "logit_scale": config.logits_scaling,
        }
    return {f"{architecture}.{name}": value for name, value in fields.items()}


def tensors(architecture: str, model: PreTrainedModel) -> dict[str, np.ndarray]:
    """Arrays by their GGUF names."""
    config, (_, paired) = model.config, ARCHITECTURES[architecture]
    kind = next(one for one, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    found = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array, linear = value.numpy(), name.split(".")[-2]
        if paired and linear in heads:
            halves = array.reshape(heads[linear], 2, -1, *array.shape[1:])
            array = halves.swapaxes(1, 2).reshape(array.shape)
        if architecture.startswith("gemma") and linear.endswith("norm"):
            array = array + 1
        found[names.get_name(name, (".weight", ".bias"))] = np.ascontiguousarray(array)
    return found


def write_gguf(path: Path, architecture: str, arrays: dict[str, np.ndarray], fields: dict[str, object]) -> Path:
    """A file of these tensors and fields, whose types are those of the values."""
    writer = gguf.GGUFWriter(path, architecture)
    add = {str: "add_string", bool: "add_bool", int: "add_uint32", float: "add_float32", list: "add_array"}
    for name, value in fields.items():
        getattr(writer, add[type(value)])(name, value)
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
