"""The memory while it is laid out, and how numbers and trits lie in its words."""

import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError
from hw.program.machine import MachineConfig
from hw.trit import TRITS_PER_BYTE, pack

__all__ = ["ELEMENT_TYPES", "Memory", "int_words", "packed_words", "tiles_of"]

ELEMENT_TYPES = {"int8": "<i1", "int16": "<i2", "uint16": "<u2", "int32": "<i4"}


class Memory:
    """Regions of data one behind the other from word ``first`` on, and empty ones from word ``empty`` on."""

    def __init__(self, machine: MachineConfig, first: int = 0, empty: int = 0):
        self.machine, self.first = machine, first
        self.regions: dict[str, tuple[int, int]] = {}
        self.filled, self.words = first, empty
        self._data: list[np.ndarray] = []

    def put(self, name: str, words: np.ndarray) -> int:
        """Keep memory words, uint8 ``(..., bytes of a word)``; the number of the first."""
        self._data.append(np.ascontiguousarray(words, np.uint8).reshape(-1))
        count, start = self._data[-1].size // self.machine.word_bytes, self.filled
        self.regions[name] = (start, count)
        self.filled += count
        return start

    def leave(self, name: str, words: int) -> int:
        """Keep room for so many words, which begin as zeros; the number of the first."""
        start = self.words
        self.regions[name] = (start, words)
        self.words += words
        if self.words * self.machine.word_bytes > self.machine.max_bytes:
            raise InputError(
                f"memory must be at most {self.machine.max_bytes} bytes (addresses of 28 bits), not "
                f"{self.words * self.machine.word_bytes}: give a shorter --length"
            )
        return start

    def data(self, code: bytes) -> np.ndarray:
        """``code`` and behind it all data, uint8."""
        return np.concatenate([np.frombuffer(code, np.uint8), *self._data])


def int_words(numbers: np.ndarray, element: str, machine: MachineConfig) -> np.ndarray:
    """Rows of integers ``(rows, n)`` as memory words, each row padded with zeros: uint8 ``(rows, words, bytes)``."""
    kind = np.dtype(ELEMENT_TYPES[element])
    per_word = machine.word_bytes // kind.itemsize
    words = ceil_divide(numbers.shape[1], per_word)
    padded = np.zeros((len(numbers), words * per_word), kind)
    padded[:, : numbers.shape[1]] = numbers
    return padded.view(np.uint8).reshape(len(numbers), words, machine.word_bytes)


def packed_words(planes: np.ndarray, machine: MachineConfig) -> np.ndarray:
    """Trits ``(planes, n, k)`` of a linear or table in the packing of the machine's weights: uint8 ``(words, bytes)``.

    In 5in8 the tiles lie one behind the other without regard to words; zeros fill the last one.
    """
    tiles = tiles_of(planes, machine)
    if not machine.unpacks:
        return pack(tiles, machine.array.packing).reshape(-1, machine.word_bytes)
    trits = tiles.reshape(-1)
    padded = np.pad(trits, (0, -trits.size % (TRITS_PER_BYTE[machine.weight_packing] * machine.word_bytes)))
    return pack(padded, machine.weight_packing).reshape(-1, machine.word_bytes)


def tiles_of(planes: np.ndarray, machine: MachineConfig) -> np.ndarray:
    """Trits ``(planes, n, k)`` as weight tiles in the array's order: int8 ``(tiles, cols * rows)``.

    Column tile (outermost), plane, fold; edge tiles are padded with zeros, and a tile is column by column.
    """
    rows, cols = machine.array.rows, machine.array.cols
    count, n, k = planes.shape
    column_tiles, folds = ceil_divide(n, cols), ceil_divide(k, rows)
    padded = np.zeros((count, column_tiles * cols, folds * rows), np.int8)
    padded[:, :n, :k] = planes
    tiles = padded.reshape(count, column_tiles, cols, folds, rows).transpose(1, 0, 3, 2, 4)
    return tiles.reshape(-1, cols * rows)
