"""The safetensors files of a Hugging Face directory: which of them hold its weights, and what their headers say."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hw.errors import InputError

__all__ = ["StoredTensor", "check_safetensors", "has_own_head", "refuse_pickle", "stored_tensors", "weight_files"]

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors")
_PICKLES = ("pytorch_model*.bin", "*.pth", "*.pt", "*.ckpt", "consolidated*.bin")
_PICKLE = (
    "{}: weights must be safetensors, not a pickle, which can run any code when it is read; convert it where that is "
    "allowed (transformers: save_pretrained)"
)
_COMPARED_BYTES = 1 << 22  # at a time


class StoredTensor(NamedTuple):
    """Where a tensor is."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int  # byte of the file
    end: int


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: those of the index, or ``model.safetensors``; none where there are no weights.

    Raises:
        InputError: a file of the index that is missing, parts without an index or beside a whole file, an adapter,
            weights under another name or as pickles.
    """
    index = folder / _INDEX
    for name in _ADAPTERS:
        if (folder / name).is_file():
            raise InputError(
                f"{folder / name}: the folder holds an adapter, which is not read here; merge it into the weights "
                "(peft: merge_and_unload, save_pretrained), or take it out of the folder"
            )
    if index.is_file():
        parts = sorted({*_weight_map(index).values()})
        if (folder / _SINGLE).is_file() and parts != [_SINGLE]:
            raise InputError(
                f"{folder}: weights must be in {_SINGLE} or in the parts that {_INDEX} lists, not in both; remove the "
                "ones that are not meant"
            )
        return [folder / name for name in parts]
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if found := sorted(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder}: weights must be in {_SINGLE}, or in parts that {_INDEX} lists, not in {found[0].name} "
            f"without it; fetch all files of the model"
        )
    for pattern in _PICKLES:
        if found := sorted(folder.glob(pattern)):
            raise InputError(_PICKLE.format(found[0]))
    return []


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a directory's weights.

    Raises:
        InputError: what ``weight_files`` and ``check_safetensors`` refuse, a tensor in two files, or an index that
            lists other tensors than there are.
    """
    found: dict[str, StoredTensor] = {}
    for file in weight_files(folder):
        for name, tensor in _read_header(file).items():
            if name in found:
                raise InputError(f"{file}: tensor {name!r} is in {found[name].file.name} too")
            found[name] = tensor
    index = folder / _INDEX
    if index.is_file():
        for name, file in _weight_map(index).items():
            if name not in found or found[name].file.name != file:
                where = found[name].file.name if name in found else "nowhere"
                raise InputError(f"{index}: tensor {name!r} must be in {file}; it is {where}: fetch the files again")
    return found


def check_safetensors(path: Path) -> None:
    """Compare the length that the header promises with the file's.

    Raises:
        InputError: not a safetensors file, or a truncated one.
    """
    _read_header(path)


def refuse_pickle(path: Path) -> None:
    """Say of a ``.bin`` file that is a pickle that it is not read.

    Raises:
        InputError: it is one: PyTorch's, as a ZIP archive or bare.
    """
    if path.is_file():
        with open(path, "rb") as stream:
            start = stream.read(4)
        # A llama2.c header begins with its width, whose upper bytes are 0: no opcode of a pickle.
        if start == b"PK\x03\x04" or (start[:1] == b"\x80" and start[2:] != b"\0\0"):
            raise InputError(_PICKLE.format(path))


def has_own_head(stored: Mapping[str, StoredTensor]) -> bool:
    """Whether the file has a head that is not the embedding."""
    head, table = stored.get("lm_head.weight"), stored.get("model.embed_tokens.weight")
    return head is not None and table is not None and not _same_bytes(head, table)


def _same_bytes(one: StoredTensor, other: StoredTensor) -> bool:
    """Whether two tensors hold the same, bit for bit."""
    if one[1:3] != other[1:3]:
        return False
    with open(one.file, "rb") as first, open(other.file, "rb") as second:
        first.seek(one.start)
        second.seek(other.start)
        left = one.end - one.start
        while left:
            size = min(left, _COMPARED_BYTES)
            if first.read(size) != second.read(size):
                return False
            left -= size
    return True


def _weight_map(index: Path) -> Mapping[str, str]:
    """File by tensor name; every file is there, beside the index."""
    try:
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(files.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{index}: must be an index of safetensors files with a weight_map; it is damaged") from None
    for name in names:
        if not isinstance(name, str) or name != Path(name).name or not name.endswith(".safetensors"):
            raise InputError(f"{index}: files must be .safetensors beside the index, not {name!r}")
        if not (index.parent / name).is_file():
            raise InputError(f"{index.parent / name}: no such file, though {index.name} lists it; fetch it again")
    return files


def _read_header(path: Path) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    with open(path, "rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if length > size - 8:
            raise InputError(f"{path}: must be a safetensors file, not {size} bytes without a whole header")
        try:
            header = json.loads(stream.read(length))
            found = {name: _entry(path, value, 8 + length) for name, value in header.items() if name != "__metadata__"}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise InputError(f"{path}: must be a safetensors file; its header is damaged") from None
    expected = max((tensor.end for tensor in found.values()), default=8 + length)
    if size != expected:
        raise InputError(f"{path}: must be {expected} bytes by its header, not {size}: truncated; fetch it again")
    return found


def _entry(path: Path, value: Mapping[str, object], first: int) -> StoredTensor:
    start, end = value["data_offsets"]
    shape = tuple(value["shape"])
    if not all(type(number) is int and number >= 0 for number in (start, end, *shape)) or start > end:
        raise ValueError
    return StoredTensor(path, str(value["dtype"]), shape, first + start, first + end)
