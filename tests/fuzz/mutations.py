"""Faulty inputs made from good ones: damaged bytes, and well-formed documents with wrong values in them.

A fault of a byte seldom gets past the parser of JSON or YAML; a number of 400 digits in place of a size does.
"""

import json
import random
import struct
from collections.abc import Callable

import yaml

__all__ = ["FORMS", "mutate"]

_NUMBERS = (0, 1, -1, 2, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 10**400)
_MOST_PLACES = 5_000
_VALUES = (
    *_NUMBERS,
    *(-number for number in _NUMBERS[1:]),
    *(0.5, -0.0, 1e-320, 1e308, float("inf"), float("nan")),
    *(None, True, False, "", "x", "../../x", "\0", "9" * 5000, "1e9", "ü\n", [], [[]], {}, {"a": 1}, [None], [1, -1]),
)


def mutate(data: bytes, seed: int, form: str) -> bytes:
    """A faulty copy of ``data``, the same for the same ``seed``; ``form`` is one of ``FORMS``."""
    chance = random.Random(seed)
    for _ in range(1 + chance.randrange(3)):
        made = None if chance.random() < 0.3 else FORMS[form](data, chance)
        data = _bytes(data, chance) if made is None else made
    return data


def _bytes(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[at + chance.randrange(1, 9) :]
    if kind == 2:
        return data[:at] + data[at : at + chance.randrange(1, 65)] * chance.randrange(2, 5) + data[at:]
    if kind == 3:
        width = chance.choice((1, 2, 4, 8))
        number = chance.choice((0, 1, 2, 255, 2**31 - 1, 2**32 - 1, 2**61, 2**63, 2**64 - 1)) % 256**width
        return data[:at] + number.to_bytes(width, "little") + data[at + width :]
    if kind == 4:
        return data[:at] + chance.randbytes(chance.randrange(1, 9)) + data[at:]
    return data[:at] + chance.randbytes(1) + data[at + 1 :]


def _json(data: bytes, chance: random.Random) -> bytes | None:
    """Behind a first zero byte stands what is no JSON."""
    text, zero, rest = data.partition(b"\0")
    try:
        return json.dumps(_document(json.loads(text), chance)).encode() + zero + rest
    except (ValueError, RecursionError):
        return None


def _yaml(data: bytes, chance: random.Random) -> bytes | None:
    """Aliases are left to the faults of bytes: a document that unfolds without bound would stop this program."""
    if b"&" in data and b"*" in data:
        return None
    try:
        value = yaml.load(data, Loader=yaml.CSafeLoader)
        return yaml.dump(_document(value, chance), Dumper=yaml.CSafeDumper, sort_keys=False).encode()
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _safetensors(data: bytes, chance: random.Random) -> bytes | None:
    """The header, with its length made right again; metadata that are JSON themselves are taken apart too."""
    if len(data) < 8 or (length := struct.unpack("<Q", data[:8])[0]) > len(data) - 8:
        return None
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header.get("__metadata__")
        if isinstance(metadata, dict) and metadata and chance.random() < 0.5:
            name = chance.choice(sorted(metadata))
            metadata[name] = json.dumps(_document(json.loads(metadata[name]), chance))
        else:
            header = _document(header, chance)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _document(value: object, chance: random.Random) -> object:
    """One place of a document changed: another value, another name, one more, one less."""
    places: list[tuple[dict | list, object]] = []
    stack = [value]
    while stack and len(places) < _MOST_PLACES:
        node = stack.pop()
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else range(len(node))
            places += [(node, key) for key in keys]
            stack += [node[key] for key in keys]
    if not places:
        return chance.choice(_VALUES)
    node, key = chance.choice(places)
    kind = chance.randrange(6)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[chance.choice(("", "x", "schema", "..", *map(str, node)))] = node[key]
    elif kind == 2:
        other, theirs = chance.choice(places)
        node[key] = json.loads(json.dumps(other[theirs], default=str))
    elif kind == 3:
        node[key] = [node[key]] * chance.choice((0, 1, 2, 40))
    else:
        node[key] = chance.choice(_VALUES)
    return value


def _plain(data: bytes, chance: random.Random) -> bytes:
    return _bytes(data, chance)


FORMS: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "bytes": _plain,
    "json": _json,
    "yaml": _yaml,
    "safetensors": _safetensors,
}
