"""Bitmaps (8 flags per byte, the first in bit 0) and unsigned fields of any width, packed without gaps."""

from collections.abc import Mapping

import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError

__all__ = ["array", "bitmap", "bitmap_bytes", "field_bytes", "pack_bitmap", "pack_fields", "shaped", "unpack_fields"]


def bitmap_bytes(k: int) -> int:
    """Bytes of a row of ``k`` flags."""
    return field_bytes(k, 1)


def field_bytes(count: int, width: int) -> int:
    """Bytes of ``count`` unsigned integers of ``width`` bits, padded at the end."""
    return ceil_divide(count * width, 8)


def pack_bitmap(flags: np.ndarray) -> np.ndarray:
    """Flags ``(..., k)`` as uint8 ``(..., bitmap_bytes(k))``."""
    return np.packbits(flags, axis=-1, bitorder="little")


def bitmap(data: np.ndarray, k: int) -> np.ndarray:
    """The flags that ``pack_bitmap`` packed: bool ``(..., k)``.

    Raises:
        InputError: rows of another size.
    """
    if data.shape[-1] != bitmap_bytes(k):
        raise InputError(f"a bitmap of {k} weights must be {bitmap_bytes(k)} bytes, not {data.shape[-1]}")
    return np.unpackbits(data, axis=-1, count=k, bitorder="little").astype(bool)


def pack_fields(values: np.ndarray, width: int) -> np.ndarray:
    """Unsigned integers of ``width`` bits, lowest bit first, as uint8 ``(field_bytes(values.size, width),)``."""
    bits = (values.reshape(-1, 1) >> np.arange(width)) & 1
    return np.packbits(bits.astype(bool), bitorder="little")


def unpack_fields(data: np.ndarray, shape: tuple[int, ...], width: int) -> np.ndarray:
    """The values that ``pack_fields`` packed: int64 of ``shape``.

    Raises:
        InputError: data of another size.
    """
    count = int(np.prod(shape))
    if data.size != (size := field_bytes(count, width)):
        raise InputError(f"{count} fields of {width} bits must be {size} bytes, not {data.size}")
    bits = np.unpackbits(data, count=count * width, bitorder="little").reshape(count, width).astype(np.int64)
    return (bits << np.arange(width)).sum(axis=1).reshape(shape)


def shaped(data: np.ndarray, *leading: int) -> np.ndarray:
    """``data``, refused unless its leading axes are these.

    Raises:
        InputError: it is damaged.
    """
    if data.shape[:-1] != leading:
        raise InputError(f"stored codes must have {leading} rows, not {data.shape[:-1]}: the file is damaged")
    return data


def array(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """The array of that name.

    Raises:
        InputError: there is none.
    """
    if name not in arrays:
        raise InputError(f"array {name!r} is missing: the file is damaged")
    return arrays[name]
