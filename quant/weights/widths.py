"""Bits of the numbers that are stored beside codes, and which permutations a bitmap holds; without torch."""

from collections.abc import Sequence

import numpy as np

__all__ = [
    "SCALE_BITS",
    "WIDTH_BITS",
    "ZERO_POINT_BITS",
    "column_widths",
    "index_bits",
    "is_partition",
    "partition_order",
    "zero_widths",
]

SCALE_BITS = 16  # scales, offsets, factors of a low-rank correction: float16
ZERO_POINT_BITS = 2  # of 2-bit codes
WIDTH_BITS = 2  # of a group's width less one, where codes have 1 to 4 bits


def column_widths(widths: Sequence[int], group: int | None, k: int) -> tuple[int, ...]:
    """Bits of the code in each of ``k`` columns; ``widths``: of each group of columns."""
    return tuple(np.repeat(widths, group or k)[:k].tolist())


def zero_widths(widths: Sequence[int]) -> list[int]:
    """Bits of the zero points of one row: those of its codes; a group of signs has none."""
    return [width for width in widths if width > 1]


def index_bits(k: int) -> int:
    """Bits of the index of one of ``k`` columns."""
    return max(1, (k - 1).bit_length())


def is_partition(order: np.ndarray) -> bool:
    """Whether a permutation puts some columns, in their order, before the others in theirs: a bit a column tells it."""
    return int((order[1:] < order[:-1]).sum()) <= 1


def partition_order(last: np.ndarray) -> np.ndarray:
    """The permutation of ``is_partition``; ``last``: bool (k,), columns of the second part."""
    return np.concatenate([np.flatnonzero(~last), np.flatnonzero(last)])
