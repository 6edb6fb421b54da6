"""Layout "three-of-four": one plane in which three of any four columns hold -1 or +1 and one 0: five bits.

The packing is ``hw.trit``'s.
"""

from typing import TYPE_CHECKING

import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError
from hw.trit import BLOCK_BITS, BLOCK_TRITS, pack_three_of_four, unpack_three_of_four
from quant.weights.layouts.bitmaps import array, bitmap_bytes, shaped
from quant.weights.layouts.layout import Arrays, Layout, Planes

if TYPE_CHECKING:
    import torch

__all__ = ["BLOCK_COLUMNS", "ThreeOfFour"]

BLOCK_COLUMNS = BLOCK_TRITS


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
        return {"codes": pack_three_of_four(trits[0].cpu().numpy())}

    def read(self, sizes: Planes, arrays: Arrays, ordinary: np.ndarray | None) -> np.ndarray:
        """Signs put beside the zeros."""
        return unpack_three_of_four(shaped(array(arrays, "codes"), sizes.n), sizes.k)[None]
