"""GGUF files: metadata and the table of tensors, read without trusting a size that the file does not have.

Ref: ggml-org/ggml docs/gguf.md. Values of tensors are dequantized by the ``gguf`` package; its own reader is not used,
as it refuses a file with one tensor of a type that it does not know, and bitnet.cpp's I2_S is such a type.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError

__all__ = [
    "I2_S",
    "GgufFile",
    "GgufTensor",
    "StoredValue",
    "Strings",
    "i2_s_bytes",
    "read_gguf",
    "stored_value",
    "tensor_bytes",
    "tensor_values",
    "unsupported_type",
]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_MOST_DIMENSIONS = 4
_ALIGNMENT = 32  # of the data where the metadata say nothing

I2_S = 36  # tensor type number of bitnet.cpp's ternary type; stock llama.cpp has none of that number
_I2_S_TAIL = 32  # bytes after the codes of a tensor, of which the first four are its scale


def i2_s_bytes(weights: int) -> int:
    """Bytes of an I2_S tensor of so many weights."""
    return weights // 4 + _I2_S_TAIL


class Strings(NamedTuple):
    """An array of strings, of which only the length is kept."""

    count: int


class GgufTensor(NamedTuple):
    """An entry of the table of tensors."""

    shape: tuple[int, ...]  # rows first, as NumPy has them
    kind: int  # number of its GGML type
    start: int  # byte of the file

    @property
    def known(self) -> bool:
        """Whether the gguf package knows the type."""
        return self.kind in set(gguf.GGMLQuantizationType)

    @property
    def type_name(self) -> str:
        """The GGML type's name, or its number where nobody here knows one."""
        try:
            return "I2_S" if self.kind == I2_S else gguf.GGMLQuantizationType(self.kind).name
        except ValueError:
            return str(self.kind)


class GgufFile(NamedTuple):
    """What stands in front of the data; ``places``: the byte at which the type of each field stands."""

    path: Path
    fields: Mapping[str, object]
    tensors: Mapping[str, GgufTensor]
    places: Mapping[str, int]


class StoredValue(NamedTuple):
    """A field with its GGUF type, and of an array the type of its elements."""

    value: object
    kind: int
    part: int | None


class _Damaged(Exception):
    """The file does not have what it says."""


def read_gguf(path: Path) -> GgufFile:
    """Metadata and table of tensors.

    Raises:
        InputError: no such file, not a GGUF file, another version or byte order, or a truncated one.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    size = path.stat().st_size
    if size < 24:
        raise InputError(f"{path}: must be a whole .gguf file; it is damaged or truncated ({size} bytes)")
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"GGUF":
            raise InputError(f"{path}: must be a .gguf file, not one that starts with {data[:4]!r}; damaged or another")
        (version,) = struct.unpack_from("<I", data, 4)
        if version not in _VERSIONS:
            swapped = int.from_bytes(data[4:8], "big") in _VERSIONS
            what = "big-endian byte order" if swapped else f"version {version}"
            raise InputError(f"{path}: GGUF of {what} is not supported here; convert it to version 3, little-endian")
        try:
            return _read_header(path, _Cursor(data), size)
        except (_Damaged, UnicodeDecodeError, RecursionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: must be a whole .gguf file; it is damaged or truncated ({reason})") from None


def stored_value(file: GgufFile, name: str) -> StoredValue:
    """A field as it is stored, the strings of an array included."""
    with open(file.path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(data, file.places[name])
        kind = cursor.take("I")
        if kind != _ARRAY:
            return StoredValue(cursor.value(kind), kind, None)
        part, count = cursor.take("I"), cursor.take("Q")
        if part == _STRING:
            return StoredValue([cursor.text() for _ in range(count)], kind, part)
        return StoredValue(file.fields[name], kind, part)


def tensor_bytes(file: GgufFile, name: str) -> np.ndarray:
    """One tensor as it is stored, mapped from the file: uint8 ``(rows, bytes of a row)``, of I2_S ``(bytes,)``.

    Raises:
        InputError: a type that is not known here, named.
    """
    tensor = file.tensors[name]
    if (size := _size(tensor)) is None:
        raise unsupported_type(file.path, name, tensor)
    raw = np.memmap(file.path, np.uint8, "r", tensor.start, size)
    return raw if tensor.kind == I2_S else raw.reshape(math.prod(tensor.shape[:-1]), -1)


def tensor_values(file: GgufFile, name: str) -> np.ndarray:
    """One tensor as float32 in its own shape.

    Raises:
        InputError: a type that cannot be turned into numbers here, named.
    """
    tensor = file.tensors[name]
    try:
        kind = gguf.GGMLQuantizationType(tensor.kind)
        values = gguf.quants.dequantize(_typed(tensor_bytes(file, name), kind), kind)
    except (NotImplementedError, ValueError):
        raise unsupported_type(file.path, name, tensor) from None
    return np.asarray(values, np.float32).reshape(tensor.shape)


def unsupported_type(path: Path, name: str, tensor: GgufTensor) -> InputError:
    """What to say of a tensor whose type cannot be turned into numbers."""
    return InputError(
        f"{path}: tensor {name!r} has GGML type {tensor.type_name}, which is not supported here; convert the model to "
        "F16 or Q8_0"
    )


class _Cursor:
    """Reads values sequentially and stops at the end of the file."""

    def __init__(self, data: mmap.mmap, position: int = 8) -> None:
        self._data, self.position = data, position

    def take(self, layout: str) -> object:
        """One number."""
        size = struct.calcsize(layout)
        if self.position + size > len(self._data):
            raise _Damaged("ends within its header")
        (value,) = struct.unpack_from(f"<{layout}", self._data, self.position)
        self.position += size
        return value

    def skip(self, count: int) -> int:
        """Where these bytes start."""
        start = self.position
        if count > len(self._data) - start:
            raise _Damaged("ends within its header")
        self.position += count
        return start

    def text(self) -> str:
        """A string: length, then UTF-8."""
        length = self.take("Q")
        start = self.skip(length)
        return self._data[start : start + length].decode("utf-8")

    def value(self, kind: int) -> object:
        """A value of the metadata."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array(self.take("I"), self.take("Q"))
        if kind not in _SCALARS:
            raise _Damaged(f"metadata of type {kind}")
        return self.take(_SCALARS[kind])

    def _array(self, kind: int, count: int) -> object:
        if kind == _STRING:
            if count > (len(self._data) - self.position) // 8:
                raise _Damaged("an array longer than the file")
            for _ in range(count):
                self.skip(self.take("Q"))
            return Strings(count)
        if kind not in _SCALARS:
            raise _Damaged(f"an array of type {kind}")
        size = struct.calcsize(_SCALARS[kind])
        if count > (len(self._data) - self.position) // size:
            raise _Damaged("an array longer than the file")
        start = self.skip(count * size)
        return np.frombuffer(self._data, np.dtype(f"<{_SCALARS[kind]}"), count, start).tolist()


def _read_header(path: Path, cursor: _Cursor, size: int) -> GgufFile:
    tensor_count, field_count = cursor.take("Q"), cursor.take("Q")
    fields: dict[str, object] = {}
    places: dict[str, int] = {}
    for _ in range(field_count):
        name = cursor.text()
        if name in fields:
            raise _Damaged(f"field {name!r} twice")
        places[name] = cursor.position
        fields[name] = cursor.value(cursor.take("I"))
    entries: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(tensor_count):
        name, dimensions = cursor.text(), cursor.take("I")
        if not 1 <= dimensions <= _MOST_DIMENSIONS or name in entries:
            raise _Damaged(f"tensor {name!r} twice" if name in entries else f"a tensor of {dimensions} dimensions")
        shape = tuple(cursor.take("Q") for _ in range(dimensions))[::-1]
        entries[name] = shape, cursor.take("I"), cursor.take("Q")
    alignment = fields.get("general.alignment", _ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment % 8:
        raise _Damaged(f"alignment {alignment!r}")
    first = ceil_divide(cursor.position, alignment) * alignment
    tensors = {}
    for name, (shape, kind, offset) in entries.items():
        tensors[name] = tensor = GgufTensor(shape, kind, first + offset)
        if min(shape) < 1:
            raise _Damaged(f"tensor {name!r} of shape {shape}")
        if (needed := _size(tensor)) is not None and tensor.start + needed > size:
            raise _Damaged(f"tensor {name!r} ends at byte {tensor.start + needed} of {size}")
    _check_places(tensors, alignment, size)
    return GgufFile(path, fields, tensors, places)


def _check_places(tensors: Mapping[str, GgufTensor], alignment: int, size: int) -> None:
    """Refuse tensors that share bytes, and data of another alignment than the header says: they would be misread."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
        if tensor.start % alignment or tensor.start < end:
            raise _Damaged(f"tensor {name!r} starts at byte {tensor.start}, within another or off the alignment")
        if (needed := _size(tensor)) is None:
            return
        end = tensor.start + needed
    if tensors and size - end >= alignment:
        raise _Damaged(f"{size - end} bytes after the last tensor, at an alignment of {alignment}")


def _size(tensor: GgufTensor) -> int | None:
    """Bytes; None of a type that is not known here."""
    if tensor.kind == I2_S:
        return i2_s_bytes(math.prod(tensor.shape))
    try:
        kind = gguf.GGMLQuantizationType(tensor.kind)
    except ValueError:
        return None
    return math.prod(tensor.shape[:-1]) * _row_bytes(tensor, kind)


def _row_bytes(tensor: GgufTensor, kind: gguf.GGMLQuantizationType) -> int:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    if tensor.shape[-1] % block:
        raise _Damaged(f"rows of {tensor.shape[-1]} values in blocks of {block}")
    return tensor.shape[-1] // block * size


def _typed(raw: np.ndarray, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    """Bytes as the numbers that they are, where they are numbers of NumPy."""
    numbers = {"F32": "<f4", "F16": "<f2"}
    return raw.view(numbers[kind.name]) if kind.name in numbers else raw
