"""A .gguf file with ternary decoder linears: its reader, the linears, and other tensors by transformers' names.

``gguf.GGUFReader`` refuses files with a tensor of a type that stock llama.cpp has not; ``open_gguf`` reads I2_S too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import gguf
import numpy as np
from gguf.gguf_reader import ReaderField, ReaderTensor
from gguf.quants import dequantize

from hw.errors import InputError
from quant.gguf_file import read_gguf, unsupported_type
from quant.native.gguf_types import I2_S, TERNARY_TYPES, decode_i2_s, decode_tq, i2_s_bytes
from quant.shapes import LINEAR_KINDS, ModelShape

__all__ = [
    "BITNET_ACTIVATIONS",
    "GgufLinear",
    "architecture",
    "beside_linears",
    "is_ternary",
    "open_gguf",
    "plain_tokenizer",
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


class _Reader(gguf.GGUFReader):
    """The package's reader that takes tensors of type I2_S as bytes beside those that it knows."""

    def _get(self, offset, dtype, count=1, override_order=None):  # type: ignore[override]
        """Like the package's, which returns less than was asked for behind the end of the file."""
        size, count = np.dtype(dtype).itemsize, int(count)
        if int(offset) + count * size > len(self.data):
            raise ValueError(f"{count} values of {size} bytes at byte {int(offset)} end after the file")
        return super()._get(int(offset), dtype, count, override_order)

    def _build_tensors(self, start_offs: int, fields: list[ReaderField]) -> None:
        own = [field for field in fields if int(field.parts[4][0]) == I2_S]
        super()._build_tensors(start_offs, [field for field in fields if int(field.parts[4][0]) != I2_S])
        self.tensors += [self._i2_s(start_offs, field) for field in own]

    def _i2_s(self, start: int, field: ReaderField) -> ReaderTensor:
        _, name, _, dims, _, offset = field.parts
        count = int(np.prod(dims))
        size, begin = i2_s_bytes(count), int(start + offset[0])
        if begin + size > len(self.data):
            raise ValueError(f"tensor {bytes(name).decode()} ends after the file")
        data = self._get(begin, np.uint8, size)
        return ReaderTensor(bytes(name).decode(), I2_S, dims, count, size, begin, data, field)


def open_gguf(path: Path) -> gguf.GGUFReader:
    """Read the header; tensors are mapped from the file.

    Raises:
        InputError: missing, damaged or truncated.
    """
    for name, tensor in read_gguf(path).tensors.items():
        if not tensor.known and tensor.kind != I2_S:
            raise unsupported_type(path, name, tensor)
    try:
        return _Reader(path)
    except Exception as error:
        raise InputError(f"{path}: must be a whole .gguf file; it is damaged or truncated ({error})") from None


def architecture(reader: gguf.GGUFReader) -> object:
    """The file's field ``general.architecture``, or None."""
    field = reader.get_field("general.architecture")
    return None if field is None else field.contents()


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


def read_linear(reader: gguf.GGUFReader, layer: int, kind: str, shape: ModelShape, where: str) -> GgufLinear:
    """One decoder linear, rows in transformers' order.

    Raises:
        InputError: a tensor that is missing, not ternary, damaged or of other dimensions than ``shape``.
    """
    name = f"blk.{layer}.{_NAMES[kind]}.weight"
    tensor = next((tensor for tensor in reader.tensors if tensor.name == name), None)
    where, (n, k) = f"{where}: tensor {name!r}", shape.linear(kind)
    if tensor is None:
        raise InputError(f"{where} is missing")
    if tuple(tensor.shape[::-1].tolist()) != (n, k):
        raise InputError(f"{where} must be {n} x {k}, not {' x '.join(map(str, tensor.shape[::-1].tolist()))}")
    if tensor.tensor_type not in TERNARY_TYPES:
        known = ", ".join(TERNARY_TYPES.values())
        raise InputError(
            f"{where} must be of a ternary type ({known}) as the file's other linears are, not "
            f"{tensor.tensor_type.name}: method native stores every linear as it is; convert the file with all "
            "linears ternary"
        )
    if tensor.tensor_type == I2_S:
        trits, scale = decode_i2_s(tensor.data, n, k, where)
        scales, group = np.full((n, 1), scale, np.float32), None
    else:
        trits, scales = decode_tq(tensor.data, tensor.tensor_type, where)
        group = k // scales.shape[1]
    heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(kind)
    if heads and architecture(reader) in _PERMUTED:
        trits, scales = _halves(trits, heads), _halves(scales, heads)
    return GgufLinear(trits, scales, group)


def beside_linears(reader: gguf.GGUFReader, shape: ModelShape, where: str) -> dict[str, np.ndarray]:
    """Every tensor but the decoder linears by transformers' name, float32.

    Raises:
        InputError: a tensor that has no place in the model.
    """
    linears = {f"blk.{layer}.{_NAMES[kind]}.weight" for layer in range(shape.layers) for kind in LINEAR_KINDS}
    found = {}
    for tensor in reader.tensors:
        if tensor.name not in linears:
            name = _transformers_name(tensor.name)
            if name is None or tensor.tensor_type == I2_S:
                raise InputError(f"{where}: tensor {tensor.name!r} has no place in a model of this architecture")
            found[name] = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    return found


@contextmanager
def plain_tokenizer(path: Path) -> Iterator[Path]:
    """A .gguf file with the tokenizer of ``path`` and nothing else, under an architecture that transformers knows."""
    reader = open_gguf(path)
    with TemporaryDirectory() as folder:
        target = Path(folder) / "tokenizer.gguf"
        writer = gguf.GGUFWriter(target, "llama")
        for name, field in reader.fields.items():
            if name.startswith("tokenizer."):
                kind = field.types[0]
                part = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(name, field.contents(), kind, part)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        yield target


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
