"""Trit codes, packing, and THE bit order: defined once, used by exporter, simulator, gateware and test benches.

Codes. ``2bit``: bit 0 = nonzero, bit 1 = negative, so 00 = 0, 01 = +1, 11 = -1; 10 is never written and is refused
when read. ``5in8``: five trits in a byte, ``sum((t_i + 1) * 3**i)``, i = 0 first along K; values above 242 are refused.

Bit order. Trit 0 of a row is the first along K. In ``2bit``, trit i of a row sits in bits ``2*(i % 4)`` (low bit) and
``2*(i % 4) + 1`` of byte ``i // 4``. A stored row is padded with zero trits to whole bytes.

Stream order of a tile of R lanes x C columns (R = ``rows``, along K; C = ``cols``, along N): column by column, lanes in
ascending K inside a column, so trit ``(c, r)`` is number ``c * R + r``. The tile is packed as one row of R*C trits,
padded to whole bus words; byte b of a bus word occupies its bits ``8*b .. 8*b + 7``.

Three of four. Where every four trits along K hold one zero, they take five bits: bits 0 and 1 the place of the zero,
bits 2 to 4 the signs of the others in their order, 1 for -1; blocks follow each other without gaps, the first in the
lowest bits, and a row is padded to bytes (Sherry, arXiv 2601.07892, section 3.2). Stored weights alone are packed so:
an array's stream also carries digits of tables and of K and V, whose zeros are anywhere.

A GEMM's tiles stream in the order: token tile (outermost), then column tile n, then fold k (innermost).
"""

from typing import Literal

import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError

__all__ = [
    "BLOCK_BITS",
    "BLOCK_TRITS",
    "TRITS_PER_BYTE",
    "TRIT_BITS",
    "Packing",
    "pack",
    "pack_three_of_four",
    "packed_bytes",
    "tile_stream",
    "unpack",
    "unpack_three_of_four",
]

Packing = Literal["2bit", "5in8"]

TRIT_BITS: dict[str, float] = {"2bit": 2.0, "5in8": 1.6}  # stored bits per trit

TRITS_PER_BYTE = {"2bit": 4, "5in8": 5}
_POWERS_OF_3 = 3 ** np.arange(5, dtype=np.uint8)
BLOCK_TRITS, BLOCK_BITS = 4, 5  # of which one is zero; bits that such a block takes

# Places of a block's three signs by the place of its zero.
_SIGNED = np.array([[trit for trit in range(BLOCK_TRITS) if trit != place] for place in range(BLOCK_TRITS)])

_CODE_OF_TRIT = np.array([0b11, 0b00, 0b01], dtype=np.uint8)  # index: trit + 1
_TRIT_OF_CODE = np.array([0, 1, 0, -1], dtype=np.int8)  # index: code; 0b10 is refused before


def packed_bytes(trits: int, packing: Packing) -> int:
    """Bytes of one stored row of ``trits`` trits, padding included."""
    return ceil_divide(trits, TRITS_PER_BYTE[packing])


def pack(trits: np.ndarray, packing: Packing) -> np.ndarray:
    """Pack the last axis: int8 ``(..., k)`` in {-1, 0, 1} -> uint8 ``(..., packed_bytes(k))``.

    Raises:
        InputError: a value outside {-1, 0, 1}.
    """
    trits = np.asarray(trits)
    if trits.size and (trits.min() < -1 or trits.max() > 1 or not np.issubdtype(trits.dtype, np.integer)):
        raise InputError(f"trits must be integers in -1..1, not {trits.dtype} in {trits.min()}..{trits.max()}")
    per_byte = TRITS_PER_BYTE[packing]
    pad = -trits.shape[-1] % per_byte
    padded = np.pad(trits, [(0, 0)] * (trits.ndim - 1) + [(0, pad)]).astype(np.int8)
    groups = padded.reshape(*padded.shape[:-1], -1, per_byte)
    if packing == "2bit":
        codes = _CODE_OF_TRIT[groups + 1]
        shifts = np.arange(0, 8, 2, dtype=np.uint8)
        return np.bitwise_or.reduce(codes << shifts, axis=-1).astype(np.uint8)
    codes = np.full(groups.shape[:-1], _POWERS_OF_3.sum(), dtype=np.uint8)
    for position, power in enumerate(_POWERS_OF_3):
        codes += power * groups[..., position].view(np.uint8)  # modulo 256, as two's complement is
    return codes


def unpack(data: np.ndarray, trits: int, packing: Packing) -> np.ndarray:
    """Unpack the last axis: uint8 ``(..., packed_bytes(trits))`` -> int8 ``(..., trits)``.

    Raises:
        InputError: a wrong number of bytes, an illegal code, or a padding trit that is not zero.
    """
    data = np.asarray(data, dtype=np.uint8)
    expected = packed_bytes(trits, packing)
    if data.shape[-1] != expected:
        raise InputError(f"a row of {trits} trits packed {packing} must be {expected} bytes, not {data.shape[-1]}")
    if packing == "2bit":
        codes = (data[..., None] >> np.arange(0, 8, 2, dtype=np.uint8)) & 0b11
        if (codes == 0b10).any():
            raise InputError("2-bit trit codes must be 00, 01 or 11, not 10: the data is damaged or not packed trits")
        values = _TRIT_OF_CODE[codes]
    else:
        if (data > 242).any():
            raise InputError(f"5-trits-per-byte values must be at most 242, not {int(data.max())}: the data is damaged")
        values = ((data[..., None] // _POWERS_OF_3) % 3).astype(np.int8) - 1
    values = values.reshape(*data.shape[:-1], -1)
    if values[..., trits:].any():
        raise InputError("padding trits must be zero: the data is damaged or the row length is wrong")
    return values[..., :trits]


def pack_three_of_four(trits: np.ndarray) -> np.ndarray:
    """Pack rows: int8 ``(n, k)``, one zero in every four, none in a short last block -> uint8, 5 bits a block.

    What a short last block lacks is its zero, and +1 before that.

    Raises:
        InputError: a block with no zero, or with more than one.
    """
    n, k = trits.shape
    padded = np.ones((n, ceil_divide(k, BLOCK_TRITS) * BLOCK_TRITS), np.int8)
    padded[:, :k] = trits
    if k % BLOCK_TRITS:
        padded[:, -1] = 0
    blocks = padded.reshape(n, -1, BLOCK_TRITS)
    zeros = (blocks == 0).sum(axis=2)
    if (zeros != 1).any():
        wrong = int(zeros[zeros != 1][0])
        raise InputError(f"every {BLOCK_TRITS} trits must hold one zero to take {BLOCK_BITS} bits, not {wrong}")
    place = np.argmax(blocks == 0, axis=2)
    signs = np.take_along_axis(blocks, _SIGNED[place], axis=2) < 0
    bits = np.concatenate([(place[..., None] >> np.arange(2) & 1).astype(bool), signs], axis=2)
    return np.packbits(bits.reshape(n, -1), axis=-1, bitorder="little")


def unpack_three_of_four(data: np.ndarray, trits: int) -> np.ndarray:
    """Unpack rows: uint8 ``(n, bytes)`` -> int8 ``(n, trits)``.

    Raises:
        InputError: a wrong number of bytes.
    """
    n, blocks = len(data), ceil_divide(trits, BLOCK_TRITS)
    expected = ceil_divide(BLOCK_BITS * blocks, 8)
    if data.shape[-1] != expected:
        raise InputError(f"a row of {trits} trits, three of four, must be {expected} bytes, not {data.shape[-1]}")
    bits = np.unpackbits(data, axis=-1, count=BLOCK_BITS * blocks, bitorder="little").reshape(n, blocks, BLOCK_BITS)
    place = bits[..., 0] + 2 * bits[..., 1].astype(np.int64)
    found = np.zeros((n, blocks, BLOCK_TRITS), np.int8)
    np.put_along_axis(found, _SIGNED[place], 1 - 2 * bits[..., 2:].astype(np.int8), axis=2)
    return found.reshape(n, -1)[:, :trits]


def tile_stream(tile: np.ndarray, packing: Packing, bus_bits: int) -> list[int]:
    """Bus words of one weight tile, in stream order.

    ``tile``: int8 ``(cols, rows)``, i.e. ``t[n, k]`` of one tile, edge tiles already padded with zeros. Each word is
    a Python integer of ``bus_bits`` bits.
    """
    packed = pack(tile.reshape(-1), packing)
    word_bytes = bus_bits // 8
    data = np.pad(packed, (0, -packed.size % word_bytes)).tobytes()
    return [int.from_bytes(data[i : i + word_bytes], "little") for i in range(0, len(data), word_bytes)]
