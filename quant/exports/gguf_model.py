""".gguf files that stock llama.cpp loads: ternary linears as TQ2_0 or TQ1_0, or every weight as F16 or Q8_0."""

from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

from hw.errors import InputError
from quant.exports.finished import Finished
from quant.exports.fit import one_plane
from quant.exports.gguf_tokenizer import write_tokenizer
from quant.llama.blocks import is_tied, linear_name
from quant.native.gguf_types import TQ_GROUP, encode_tq

__all__ = ["GgufKind", "write_gguf"]

GgufKind = Literal["tq2_0", "tq1_0", "f16", "q8_0"]

# Architectures of llama.cpp by transformers' model type, with rows of q and k as neighbouring rotary pairs or not.
_ARCHITECTURES = {
    "llama": (gguf.MODEL_ARCH.LLAMA, True),
    "mistral": (gguf.MODEL_ARCH.LLAMA, True),
    "smollm": (gguf.MODEL_ARCH.LLAMA, True),
    "qwen2": (gguf.MODEL_ARCH.QWEN2, False),
    "qwen3": (gguf.MODEL_ARCH.QWEN3, False),
    "bitnet": (gguf.MODEL_ARCH.BITNET, False),
}
_TYPES = {"tq2_0": Type.TQ2_0, "tq1_0": Type.TQ1_0, "f16": Type.F16, "q8_0": Type.Q8_0}
_FILE_TYPES = {
    "tq2_0": gguf.LlamaFileType.MOSTLY_TQ2_0,
    "tq1_0": gguf.LlamaFileType.MOSTLY_TQ1_0,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
_EXACT_TYPES = (Type.Q8_0, Type.F16, Type.BF16)  # tried in turn for tables that are not quantized here
_Q8_0_BLOCK = 32
_SUB_NORMS = {"self_attn.attn_sub_norm": "attn_sub_norm", "mlp.ffn_sub_norm": "ffn_sub_norm"}


def write_gguf(run: Finished, path: Path, kind: GgufKind) -> str:
    """Write the run's model; returns what a reader must know of its accuracy.

    Ternary kinds store trits and scales exactly. TQ blocks have 256 weights: a linear whose rows are no whole blocks is
    stored as F16, which is exact for one plane. Tables and norms are stored in the smallest type that holds them.

    Raises:
        InputError: what the format or stock llama.cpp cannot hold, with the way out.
    """
    architecture, paired = _architecture(run)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    _write_header(writer, run, kind)
    write_tokenizer(writer, run.loaded.path, run.loaded.shape)
    names = gguf.get_tensor_name_map(architecture, run.loaded.shape.layers)
    linears = {f"{linear_name(layer, kind_)}.weight": (layer, kind_) for layer, kind_ in run.checkpoint}
    shape, rounded, dense = run.loaded.shape, 0.0, 0
    for name, value in run.loaded.model.state_dict().items():
        if name == "lm_head.weight" and is_tied(run.loaded.model):
            continue
        heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(name.split(".")[-2]) if paired else None
        array = _rows(value.numpy(), heads)
        if name not in linears:
            data, stored = _exact(array)
        elif kind in ("f16", "q8_0"):
            data, stored = _rounded(array, _TYPES[kind])
            rounded = max(rounded, _error(array, data, stored))
        else:
            data, stored = _ternary(run, *linears[name], array, kind, heads)
            dense += stored == Type.F16
        writer.add_tensor(_name(names, name), data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if kind in ("f16", "q8_0"):
        return f"weights rounded to {_TYPES[kind].name}, by at most {rounded:.1e} of a tensor's largest"
    whole = (
        f"; {dense} of {len(linears)} linears have rows that are no whole blocks of {TQ_GROUP} and are F16"
        if dense
        else ""
    )
    return f"trits and scales exact{whole}; llama.cpp rounds activations to 8 bits in blocks of {TQ_GROUP}"


def _architecture(run: Finished) -> tuple[gguf.MODEL_ARCH, bool]:
    config = run.loaded.model.config
    if config.model_type not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise InputError(f"model_type must be one of {known} for GGUF, not {config.model_type!r}; export as hf")
    if run.loaded.shape.sub_norms and config.hidden_act != "silu":
        raise InputError(
            f"field 'hidden_act' must be silu, which stock llama.cpp runs architecture bitnet with, not "
            f"{config.hidden_act!r}; export as bitnet or hf"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise InputError(f"field 'rope_parameters' must be unscaled for GGUF, not {rope['rope_type']!r}; export as hf")
    if run.loaded.shape.sliding_window is not None and config.model_type == "mistral":
        raise InputError("field 'sliding_window' must be null: llama.cpp runs this architecture without; export as hf")
    return _ARCHITECTURES[config.model_type]


def _write_header(writer: gguf.GGUFWriter, run: Finished, kind: GgufKind) -> None:
    shape = run.loaded.shape
    writer.add_name(f"{shape.name} {run.manifest.method}")
    writer.add_file_type(_FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.max_positions)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(shape.vocab_size)


def _name(names: gguf.TensorNameMap, name: str) -> str:
    base, _, suffix = name.rpartition(".")
    parts = base.split(".")
    if (norm := _SUB_NORMS.get(".".join(parts[3:]))) is not None:
        return f"blk.{parts[2]}.{norm}.{suffix}"
    found = names.get_name(base)
    if found is None:
        raise InputError(f"tensor {name!r} has no place in llama.cpp's architecture; export as hf")
    return f"{found}.{suffix}"


def _rows(array: np.ndarray, heads: int | None) -> np.ndarray:
    """Rows (i, i + d / 2) of each head's rotary halves as neighbours, where llama.cpp wants them so."""
    if heads is None:
        return array
    return np.ascontiguousarray(array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape))


def _ternary(
    run: Finished, layer: int, kind: str, dense: np.ndarray, target: GgufKind, heads: int | None
) -> tuple[np.ndarray, Type]:
    """The bytes of one ternary linear; ``dense``: its weights, rows in llama.cpp's order."""
    solution = one_plane(run, layer, kind, f"gguf-{target}")
    name = linear_name(layer, kind)
    group = solution.group or solution.k
    if solution.group is not None and group % TQ_GROUP and group < solution.k:
        raise InputError(
            f"{name}: format gguf-{target} must have scale groups of {TQ_GROUP} columns or a multiple, not {group}; "
            f"quantize with --options group={TQ_GROUP}, or export as hf or gguf-f16"
        )
    scales = solution.scales[0]
    if not torch.equal(scales.half().float(), scales.float()):
        raise InputError(f"{name}: its scale {scales.flatten()[0].item():g} is no float16, as GGUF's are; export as hf")
    if solution.k % TQ_GROUP:
        return dense.astype(np.float16), Type.F16
    columns = np.arange(0, solution.k, TQ_GROUP) // group
    trits, blocks = _rows(solution.trits[0].numpy(), heads), _rows(scales.half().numpy()[:, columns], heads)
    return encode_tq(trits, blocks, _TYPES[target]), _TYPES[target]


def _rounded(array: np.ndarray, kind: Type) -> tuple[np.ndarray, Type]:
    kind = Type.F16 if kind == Type.Q8_0 and array.shape[-1] % _Q8_0_BLOCK else kind
    if kind == Type.F16 and not np.isfinite(array.astype(np.float16)).all():
        raise InputError(f"weights must be below 65504 for F16, not {np.abs(array).max():g}; export as hf")
    return (array.astype(np.float16), kind) if kind == Type.F16 else (quantize(array, kind), kind)


def _error(array: np.ndarray, data: np.ndarray, kind: Type) -> float:
    """Largest rounding error over the tensor's largest magnitude."""
    largest = float(np.abs(array).max())
    return float(np.abs(dequantize(data, kind) - array).max()) / largest if largest else 0.0


def _exact(array: np.ndarray) -> tuple[np.ndarray, Type]:
    """The smallest type that holds a table exactly; vectors are float32, as llama.cpp wants them."""
    if array.ndim > 1:
        for kind in _EXACT_TYPES:
            if kind == Type.Q8_0 and array.shape[-1] % _Q8_0_BLOCK:
                continue
            with np.errstate(over="ignore"):
                data = array.astype(np.float16) if kind == Type.F16 else quantize(array, kind)
            if np.array_equal(dequantize(data, kind), array):
                return data, kind
    return array.astype(np.float32), Type.F32
