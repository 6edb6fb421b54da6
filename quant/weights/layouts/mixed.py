"""Layout "mixed": groups of columns with codes of 1 to 4 bits, a row's codes one after another, rows padded to bytes.

A code of 1 bit is a sign. A code c of b = 2 to 4 bits stands for ``c - 2**(b - 1)``, whose balanced-ternary digits are
in the planes: one for a sign, two for 2 and 3 bits, three for 4. The last plane is worth 1, those before it 3 and 9.
Columns whose codes have fewer digits than there are planes are not in the first ones: an array leaves them out there.
"""

from typing import TYPE_CHECKING

import numpy as np

from hw.errors import InputError
from quant.weights.layouts.bitmaps import array, bitmap, bitmap_bytes, pack_bitmap, shaped
from quant.weights.layouts.layout import Arrays, Layout, Planes

if TYPE_CHECKING:
    import torch

__all__ = ["DIGITS_OF_WIDTH", "Mixed", "covered_columns"]

DIGITS_OF_WIDTH = {1: 1, 2: 2, 3: 2, 4: 3}  # planes that a code of so many bits needs


def covered_columns(widths: tuple[int, ...], planes: int) -> np.ndarray:
    """Which columns each plane covers, bool (planes, k); ``widths``: bits of the code in each column."""
    digits = np.array([DIGITS_OF_WIDTH[width] for width in widths])
    return digits[None] >= planes - np.arange(planes)[:, None]


class Mixed(Layout):
    """Planes of digits whose columns have codes of different widths."""

    parts = {"codes": "code"}
    takes_side_data = False
    takes_widths = True

    def shapes(self, sizes: Planes) -> dict[str, tuple[int, ...]]:
        """One row of bits per output."""
        return {"codes": (sizes.n, bitmap_bytes(sum(sizes.widths)))}

    def check(self, trits: "torch.Tensor", outliers: "torch.Tensor | None", widths: tuple[int, ...] = ()) -> None:
        """Every column holds the digits of a code of its width."""
        planes = max((DIGITS_OF_WIDTH.get(width, 0) for width in widths), default=0)
        if len(widths) != trits.shape[-1] or not all(width in DIGITS_OF_WIDTH for width in widths):
            raise InputError(
                f"layout 'mixed' must have a width of 1 to 4 bits for each column, not {sorted({*widths})}"
            )
        if len(trits) != planes:
            raise InputError(
                f"layout 'mixed' with codes of {max(widths)} bits must have {planes} planes, not {len(trits)}"
            )
        found = trits.cpu().numpy()
        values, width = _values(found), np.array(widths)
        half = 1 << (width - 1)
        signs = np.abs(values) == 1
        if not np.where(width == 1, signs, (values >= -half) & (values < half)).all():
            raise InputError("layout 'mixed': digits must be those of a sign, or of a code less half of its range")

    def store(self, trits: "torch.Tensor", widths: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
        """The codes of each row as bits, the lowest first."""
        width = np.array(widths)
        values = _values(trits.cpu().numpy())
        codes = np.where(width == 1, values < 0, values + (1 << (width - 1)))
        column, place = _bits_of(width)
        return {"codes": pack_bitmap(((codes[:, column] >> place) & 1).astype(bool))}

    def read(self, sizes: Planes, arrays: Arrays, ordinary: np.ndarray | None) -> np.ndarray:
        """Codes put together from their bits, and taken apart into digits."""
        width = np.array(sizes.widths)
        column, place = _bits_of(width)
        bits = bitmap(shaped(array(arrays, "codes"), sizes.n), column.size).astype(np.int64)
        codes = np.add.reduceat(bits << place, np.flatnonzero(place == 0), axis=1)
        rest = np.where(width == 1, 1 - 2 * codes, codes - (1 << (width - 1)))
        planes = []
        for power in reversed(range(sizes.planes)):
            digit = np.clip(np.rint(rest / 3**power), -1, 1).astype(np.int64)
            planes.append(digit)
            rest = rest - digit * 3**power
        return np.stack(planes).astype(np.int8)


def _values(trits: np.ndarray) -> np.ndarray:
    """Integers (n, k) that the digits (planes, n, k) stand for."""
    powers = 3 ** np.arange(len(trits))[::-1]
    return (powers[:, None, None] * trits.astype(np.int64)).sum(0)


def _bits_of(width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column of each stored bit of a row, and its place in the code."""
    column = np.repeat(np.arange(width.size), width)
    return column, np.arange(column.size) - np.repeat(np.cumsum(width) - width, width)
