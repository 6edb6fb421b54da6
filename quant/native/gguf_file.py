"""A .gguf file with ternary decoder linears: the linears, and other tensors by transformers' names."""

from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np

from hw.errors import InputError
from quant.gguf_file import I2_S, GgufFile, read_gguf, tensor_bytes, tensor_values, unsupported_type
from quant.native.gguf_types import TERNARY_TYPES, decode_i2_s, decode_tq
from quant.shapes import LINEAR_KINDS, ModelShape

__all__ = [
    "BITNET_ACTIVATIONS",
    "GgufLinear",
    "beside_linears",
    "is_ternary",
    "open_gguf",
    "read_linear",
    "transformers_reads",
]

# GGUF's architectures of BitNet b1.58, and the activation function that bitnet.cpp runs each with: "bitnet" are the
# first models (SiLU), "bitnet-b1.58" and "bitnet-25" the 2B4T (squared ReLU).
BITNET_ACTIVATIONS = {"bitnet": "silu", "bitnet-b1.58": "relu2", "bitnet-25": "relu2"}

_PERMUTED = ("llama", "mistral")  # rows of q and k are neighbouring rotary pairs; elsewhere halves, as in transformers

_NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}
_NORMS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_sub_norm": "self_attn.attn_sub_norm",
    "ffn_sub_norm": "mlp.ffn_sub_norm",
}
_WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


class GgufLinear(NamedTuple):
    """Trits int8 ``(n, k)``; scales float16 ``(n, groups)`` or one float32 per tensor ``(n, 1)``; columns per scale."""

    trits: np.ndarray
    scales: np.ndarray
    group: int | None


def open_gguf(path: Path) -> GgufFile:
    """Read the header.

    Raises:
        InputError: missing, damaged or truncated, or with a tensor of a type that nobody here reads.
    """
    file = read_gguf(path)
    for name, tensor in file.tensors.items():
        if not tensor.known and tensor.kind != I2_S:
            raise unsupported_type(path, name, tensor)
    return file


def is_ternary(path: Path) -> bool:
    """Whether a decoder linear of the file is stored in a ternary type."""
    linears = {f"{name}.weight" for name in _NAMES.values()}
    return any(
        name.partition(".")[2].partition(".")[2] in linears and tensor.kind in TERNARY_TYPES
        for name, tensor in read_gguf(path).tensors.items()
    )


def transformers_reads(path: Path) -> bool:
    """Whether transformers can load the file: no I2_S, and an architecture that it knows."""
    file = read_gguf(path)
    known = file.fields.get("general.architecture") not in BITNET_ACTIVATIONS
    return known and all(tensor.kind != I2_S for tensor in file.tensors.values())


def read_linear(file: GgufFile, layer: int, kind: str, shape: ModelShape) -> GgufLinear:
    """One decoder linear, rows in transformers' order.

    Raises:
        InputError: a tensor that is missing, not ternary, damaged or of other dimensions than ``shape``.
    """
    name = f"blk.{layer}.{_NAMES[kind]}.weight"
    where, (n, k) = f"{file.path}: tensor {name!r}", shape.linear(kind)
    if (tensor := file.tensors.get(name)) is None:
        raise InputError(f"{where} is missing")
    if tensor.shape != (n, k):
        raise InputError(f"{where} must be {n} x {k}, not {' x '.join(map(str, tensor.shape))}")
    if tensor.kind not in TERNARY_TYPES:
        known = ", ".join(TERNARY_TYPES.values())
        raise InputError(
            f"{where} must be of a ternary type ({known}) as the file's other linears are, not {tensor.type_name}: "
            "method native stores every linear as it is; convert the file with all linears ternary"
        )
    data = tensor_bytes(file, name)
    if tensor.kind == I2_S:
        trits, scale = decode_i2_s(data, n, k, where)
        scales, group = np.full((n, 1), scale, np.float32), None
    else:
        trits, scales = decode_tq(data, gguf.GGMLQuantizationType(tensor.kind), where)
        group = k // scales.shape[1]
    heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(kind)
    if heads and file.fields.get("general.architecture") in _PERMUTED:
        trits, scales = _halves(trits, heads), _halves(scales, heads)
    return GgufLinear(trits, scales, group)


def beside_linears(file: GgufFile, shape: ModelShape) -> dict[str, np.ndarray]:
    """Every tensor but the decoder linears by transformers' name, float32.

    Raises:
        InputError: a tensor that has no place in the model.
    """
    linears = {f"blk.{layer}.{_NAMES[kind]}.weight" for layer in range(shape.layers) for kind in LINEAR_KINDS}
    found = {}
    for tensor in file.tensors:
        if tensor not in linears:
            if (name := _transformers_name(tensor)) is None:
                raise InputError(f"{file.path}: tensor {tensor!r} has no place in a model of this architecture")
            found[name] = tensor_values(file, tensor).copy()  # the file is mapped to be read alone
    return found


def _transformers_name(name: str) -> str | None:
    base, _, suffix = name.rpartition(".")
    if suffix != "weight":
        return None
    if base in _WHOLE:
        return f"{_WHOLE[base]}.weight"
    block, _, rest = base.removeprefix("blk.").partition(".")
    return f"model.layers.{block}.{_NORMS[rest]}.weight" if rest in _NORMS and block.isdecimal() else None


def _halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of neighbouring rotary pairs (2 i, 2 i + 1) of each head as halves (i, i + d / 2)."""
    return np.ascontiguousarray(rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape))
