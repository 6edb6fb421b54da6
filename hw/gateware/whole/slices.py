"""A part of a word by a number that is not known before: a choice among its slices, where Amaranth would multiply."""

from amaranth import Array, Value

__all__ = ["slice_of"]


def slice_of(word: Value, index: Value, bits: int) -> Value:
    """Bits ``index * bits`` and up of ``word``; the last slice for numbers behind it."""
    return Array(word[first : first + bits] for first in range(0, len(word) - bits + 1, bits))[index]
