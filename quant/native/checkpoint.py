"""A native ternary checkpoint as a model that runs, and as the linears that the array takes; nothing is quantized."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, BitNetConfig, LlamaConfig, PreTrainedConfig, PreTrainedModel

from hw.errors import InputError
from quant.native.bitnet import BitnetFolder
from quant.native.bitnet_config import bitnet_form
from quant.native.gguf_file import BITNET_ACTIVATIONS, GgufLinear, beside_linears, open_gguf, read_linear
from quant.shapes import LINEAR_KINDS, ModelShape, linear_name
from quant.weights.solution import LinearSolution

__all__ = ["native_model", "native_solutions"]


def native_solutions(path: Path, shape: ModelShape) -> Iterator[tuple[tuple[int, str], LinearSolution]]:
    """Every decoder linear with the file's trits and scales, by ``(layer, kind)``, in the order of a forward pass.

    Raises:
        InputError: a linear that is missing, damaged or not ternary, named.
    """
    read = _gguf_linears(path, shape) if path.is_file() else _folder_linears(path, shape)
    for layer in range(shape.layers):
        for kind in LINEAR_KINDS:
            yield (layer, kind), read(layer, kind)


def native_model(path: Path, shape: ModelShape, half: bool) -> PreTrainedModel:
    """The model whose linears hold the scaled trits; ``half``: float16 where that is exact, else float32.

    A .gguf file of a family that transformers reads is loaded by transformers instead (see ``quant.llama.loading``).

    Raises:
        InputError: tensors that are missing or too many, named, or a setting that changes the function.
    """
    tensors = _gguf_beside(path, shape) if path.is_file() else _folder_beside(path, shape)
    if not half:
        tensors = {name: value.float() for name, value in tensors.items()}
    for (layer, kind), solution in native_solutions(path, shape):
        dense = solution.dense()
        exact = half and torch.equal(dense.half().float(), dense)
        tensors[f"{linear_name(layer, kind)}.weight"] = dense.half() if exact else dense
    config = _gguf_config(path, shape) if path.is_file() else _folder_config(path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    _put(model, tensors, path)
    return model.eval()


def _put(model: PreTrainedModel, tensors: dict[str, Tensor], path: Path) -> None:
    """Give every parameter its tensor.

    Raises:
        InputError: a set of names or sizes other than the model's.
    """
    wanted = dict(model.named_parameters())
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    if missing := sorted(wanted.keys() - tensors.keys() - tied):
        raise InputError(f"{path}: tensor {missing[0]!r} is missing ({len(missing)} in all)")
    if unknown := sorted(tensors.keys() - wanted.keys() - tied):
        raise InputError(f"{path}: tensor {unknown[0]!r} has no place in the model ({len(unknown)} in all)")
    for name, parameter in wanted.items():
        if name in tensors and tensors[name].shape != parameter.shape:
            raise InputError(
                f"{path}: tensor {name!r} must be {tuple(parameter.shape)}, not {tuple(tensors[name].shape)}"
            )
    if tied & tensors.keys() and not torch.equal(tensors["lm_head.weight"], tensors["model.embed_tokens.weight"]):
        raise InputError(f"{path}: tensor 'lm_head.weight' must equal the embedding, for tie_word_embeddings is true")
    model.load_state_dict({name: tensors[name] for name in wanted if name in tensors}, strict=False, assign=True)
    model.tie_weights()
    model.requires_grad_(False)


def _folder_linears(path: Path, shape: ModelShape):
    folder = BitnetFolder(path, bitnet_form(path))

    def read(layer: int, kind: str) -> LinearSolution:
        trits, scale = folder.linear(linear_name(layer, kind), shape.linear(kind))
        scales = torch.full((1, trits.shape[0], 1), scale, dtype=torch.float32)
        return LinearSolution(trits[None], scales, None, "tensor")

    return read


def _folder_beside(path: Path, shape: ModelShape) -> dict[str, Tensor]:
    folder = BitnetFolder(path, bitnet_form(path))
    linears = {linear_name(layer, kind) for layer in range(shape.layers) for kind in LINEAR_KINDS}
    biases = {f"{name}.bias": bias for name in sorted(linears) if (bias := folder.bias(name)) is not None}
    return folder.beside(linears) | biases


def _folder_config(path: Path) -> PreTrainedConfig:
    form = bitnet_form(path)
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        fields = {name: value for name, value in config.to_dict().items() if name != "quantization_config"}
        if form.first:  # a LLaMA with sub-norms: transformers' BitNet with the file's activation function
            fields.pop("model_type")
            return BitNetConfig(**fields)
        return type(config)(**fields)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: transformers cannot read config.json ({reason})") from None


def _gguf_linears(path: Path, shape: ModelShape):
    file = open_gguf(path)

    def read(layer: int, kind: str) -> LinearSolution:
        linear: GgufLinear = read_linear(file, layer, kind, shape)
        trits, scales = torch.from_numpy(linear.trits)[None], torch.from_numpy(linear.scales)[None]
        return LinearSolution(trits, scales, linear.group, "tensor" if linear.group is None else "group")

    return read


def _gguf_beside(path: Path, shape: ModelShape) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in beside_linears(open_gguf(path), shape).items()}


def _gguf_config(path: Path, shape: ModelShape) -> PreTrainedConfig:
    kind = open_gguf(path).fields.get("general.architecture")
    if kind not in BITNET_ACTIVATIONS and kind != "llama":
        known = ", ".join([*BITNET_ACTIVATIONS, "llama"])
        raise InputError(f"{path}: field 'general.architecture' of an I2_S file must be one of {known}, not {kind!r}")
    for what, value in (("scaled rotary positions", shape.rope_scaling), ("a sliding window", shape.sliding_window)):
        if value is not None:
            raise InputError(f"{path}: an I2_S file of architecture {kind!r} must be without {what}, not {value}")
    fields = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "tie_word_embeddings": shape.tie_embeddings,
    }
    if kind == "llama":
        return LlamaConfig(head_dim=shape.head_dim, **fields)
    return BitNetConfig(hidden_act=BITNET_ACTIVATIONS[kind], **fields)
