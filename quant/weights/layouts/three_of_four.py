"""Layout "three-of-four": one plane in which three of any four columns hold -1 or +1 and one 0: five bits.

A block's code: bits 0 and 1 the place of the zero, bits 2 to 4 the signs of the others in their order, 1 for -1. Blocks
of a row follow each other, rows are padded to bytes; columns that are missing in the last block are its zero and +1.
Ref: Sherry, arXiv 2601.07892, section 3.2: 4 places times 8 signs are 32 codes.
"""

from typing import TYPE_CHECKING

import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError
from quant.weights.layouts.bitmaps import array, bitmap, bitmap_bytes, pack_bitmap, shaped
from quant.weights.layouts.layout import Arrays, Layout, Planes

if TYPE_CHECKING:
    import torch

__all__ = ["BLOCK_BITS", "BLOCK_COLUMNS", "ThreeOfFour"]

BLOCK_COLUMNS = 4
BLOCK_BITS = 5

# Columns of the three signs of a block by the place of its zero.
_SIGNED = np.array([[column for column in range(BLOCK_COLUMNS) if column != place] for place in range(BLOCK_COLUMNS)])


class ThreeOfFour(Layout):
    """Signs with a zero in every block of four columns."""

    parts = {"codes": "code"}
    planes = 1
    takes_side_data = False

    def shapes(self, sizes: Planes) -> dict[str, tuple[int, ...]]:
        """Five bits per block, rows padded."""
        return {"codes": (sizes.n, bitmap_bytes(BLOCK_BITS * ceil_divide(sizes.k, BLOCK_COLUMNS)))}

    def check(self, trits: "torch.Tensor", outliers: "torch.Tensor | None", widths: tuple[int, ...] = ()) -> None:
        """Every block has one zero, a short last one none."""
        k = trits.shape[-1]
        whole = k // BLOCK_COLUMNS * BLOCK_COLUMNS
        zeros = (trits[..., :whole] == 0).unflatten(-1, (-1, BLOCK_COLUMNS)).sum(-1) if whole else trits[..., :0]
        if len(trits) != self.planes or (zeros != 1).any() or (trits[..., whole:] == 0).any():
            raise InputError("layout 'three-of-four' must be one plane with one zero in any four columns")

    def store(self, trits: "torch.Tensor", widths: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
        """Place of the zero and signs."""
        plane = trits[0].cpu().numpy()
        n, k = plane.shape
        blocks = np.ones((n, ceil_divide(k, BLOCK_COLUMNS) * BLOCK_COLUMNS), np.int8)
        blocks[:, :k] = plane
        if k % BLOCK_COLUMNS:
            blocks[:, -1] = 0
        blocks = blocks.reshape(n, -1, BLOCK_COLUMNS)
        place = np.argmax(blocks == 0, axis=2)
        signs = np.take_along_axis(blocks, _SIGNED[place], axis=2) < 0
        bits = np.concatenate([(place[..., None] >> np.arange(2) & 1).astype(bool), signs], axis=2)
        return {"codes": pack_bitmap(bits.reshape(n, -1))}

    def read(self, sizes: Planes, arrays: Arrays, ordinary: np.ndarray | None) -> np.ndarray:
        """Signs put beside the zeros."""
        n, blocks = sizes.n, ceil_divide(sizes.k, BLOCK_COLUMNS)
        bits = bitmap(shaped(array(arrays, "codes"), n), BLOCK_BITS * blocks).reshape(n, blocks, BLOCK_BITS)
        place = bits[..., 0] + 2 * bits[..., 1].astype(np.int64)
        found = np.zeros((n, blocks, BLOCK_COLUMNS), np.int8)
        np.put_along_axis(found, _SIGNED[place], 1 - 2 * bits[..., 2:].astype(np.int8), axis=2)
        return found.reshape(n, -1)[None, :, : sizes.k]
