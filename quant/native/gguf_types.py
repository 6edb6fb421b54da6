"""GGUF's ternary tensor types: trits and scales of TQ1_0, TQ2_0 and I2_S, bit for bit; with NumPy alone.

TQ1_0 and TQ2_0 (llama.cpp, ``ggml-quants.c``) hold one float16 scale per 256 weights of a row; ``gguf.quants`` knows
where each trit is. I2_S (microsoft/BitNet, ``src/ggml-bitnet-mad.cpp`` and ``utils/convert-hf-to-gguf-bitnet.py``)
holds one scale per tensor and has no reader elsewhere. Of each 128 weights, row after row, byte b of 32 holds four:

    bits 7 6        5 4          3 2          1 0
    weight b        32 + b       64 + b       96 + b      code 0 = -1, 1 = 0, 2 = +1; 3 is never written

After ``n * k / 4`` bytes of codes come 32 more, of which the first four are the scale, float32. A file written by an
ARM build of bitnet.cpp interleaves blocks of 64 instead, and nothing in the file says so: it must be written anew.
"""

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from hw.errors import InputError
from quant.gguf_file import I2_S, i2_s_bytes

__all__ = ["TERNARY_TYPES", "TQ_GROUP", "decode_i2_s", "decode_tq", "encode_tq"]

TQ_GROUP = 256  # weights per scale of TQ1_0 and TQ2_0

TERNARY_TYPES = {GGMLQuantizationType.TQ1_0: "TQ1_0", GGMLQuantizationType.TQ2_0: "TQ2_0", I2_S: "I2_S"}

_SCALE_BYTES = 2  # float16 at the end of every block of TQ1_0 and TQ2_0
_I2_S_BLOCK = 128


def decode_tq(data: np.ndarray, kind: GGMLQuantizationType, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Trits int8 ``(n, k)`` and scales float16 ``(n, k / 256)`` of a TQ1_0 or TQ2_0 tensor.

    ``data``: its bytes, uint8 ``(n, blocks * bytes per block)``; ``where`` names it in messages.

    Raises:
        InputError: a code that is no trit, or a scale that is not finite.
    """
    rows = data.shape[0]
    block_bytes = {GGMLQuantizationType.TQ1_0: 54, GGMLQuantizationType.TQ2_0: 66}[kind]
    blocks = data.reshape(-1, block_bytes).copy()
    scales = blocks[:, -_SCALE_BYTES:].copy().view(np.float16).reshape(rows, -1)
    if not np.isfinite(scales).all():
        raise InputError(f"{where}: scales must be finite; the file is damaged: fetch it again")
    blocks[:, -_SCALE_BYTES:] = np.float16(1.0).reshape(1).view(np.uint8)
    trits = dequantize(blocks, kind)
    if trits.max(initial=0) > 1 or trits.min(initial=0) < -1:
        raise InputError(f"{where}: codes must be trits; the file is damaged: fetch it again")
    return trits.astype(np.int8).reshape(rows, -1), scales


def encode_tq(trits: np.ndarray, scales: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
    """Bytes of a TQ1_0 or TQ2_0 tensor that holds exactly these trits and scales: uint8 ``(n, bytes per row)``.

    ``trits``: int8 ``(n, k)``, k a multiple of 256; ``scales``: float16 ``(n, k / 256)``.

    Raises:
        InputError: rows that are not whole blocks of 256.
    """
    rows, k = trits.shape
    if k % TQ_GROUP or scales.shape != (rows, k // TQ_GROUP) or scales.dtype != np.float16:
        raise InputError(
            f"{kind.name} must have rows of whole blocks of {TQ_GROUP} with a float16 scale each, not {k} columns "
            f"with {scales.dtype} scales {scales.shape}"
        )
    # A block's largest magnitude becomes its scale, 1 here (0 of an all-zero block): every code is its trit.
    blocks = quantize(trits.reshape(-1, TQ_GROUP).astype(np.float32), kind)
    blocks[:, -_SCALE_BYTES:] = np.ascontiguousarray(scales).reshape(-1, 1).view(np.uint8)
    return blocks.reshape(rows, -1)


def decode_i2_s(data: np.ndarray, n: int, k: int, where: str) -> tuple[np.ndarray, np.float32]:
    """Trits int8 ``(n, k)`` and the scale of an I2_S tensor of these dimensions; ``data``: its bytes, uint8.

    Raises:
        InputError: sizes that do not fit, a code that is no trit, or a scale that is not finite.
    """
    if (n * k) % _I2_S_BLOCK or data.size != i2_s_bytes(n * k):
        raise InputError(
            f"{where}: I2_S must have a multiple of {_I2_S_BLOCK} weights in {i2_s_bytes(n * k)} bytes, not {n} x {k} "
            f"in {data.size}"
        )
    packed, tail = np.split(data.reshape(-1), [n * k // 4])
    shifts = np.array([6, 4, 2, 0], dtype=np.uint8)[:, None]
    codes = (packed.reshape(-1, 1, 32) >> shifts) & 3  # (blocks, 4, 32)
    if (codes == 3).any():
        raise InputError(
            f"{where}: codes must be trits; the file is damaged, or of another layout than x86 builds write"
        )
    scale = tail[:4].copy().view("<f4")[0]
    if not np.isfinite(scale):
        raise InputError(f"{where}: scale must be finite, not {scale}; the file is damaged: fetch it again")
    return codes.reshape(n, k).astype(np.int8) - np.int8(1), scale
