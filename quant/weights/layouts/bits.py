"""Layout "bits": every plane holds 0 and 1 as a bitmap, rows padded to bytes."""

from typing import TYPE_CHECKING

import numpy as np

from hw.errors import InputError
from quant.weights.layouts.bitmaps import array, bitmap, bitmap_bytes, pack_bitmap, shaped
from quant.weights.layouts.layout import Arrays, Layout, Planes

if TYPE_CHECKING:
    import torch

__all__ = ["Bits"]


class Bits(Layout):
    """Planes without -1."""

    parts = {"codes": "code"}

    def shapes(self, sizes: Planes) -> dict[str, tuple[int, ...]]:
        """A bitmap per plane."""
        return {"codes": (sizes.planes, sizes.n, bitmap_bytes(sizes.k))}

    def check(self, trits: "torch.Tensor", outliers: "torch.Tensor | None", widths: tuple[int, ...] = ()) -> None:
        """No weight is -1."""
        if (trits < 0).any():
            raise InputError("planes of layout 'bits' must hold 0 and 1, not -1")

    def store(self, trits: "torch.Tensor", widths: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
        """Set where the plane holds 1."""
        return {"codes": pack_bitmap(trits.cpu().numpy().astype(bool))}

    def read(self, sizes: Planes, arrays: Arrays, ordinary: np.ndarray | None) -> np.ndarray:
        """Unpack the bitmaps."""
        return bitmap(shaped(array(arrays, "codes"), sizes.planes, sizes.n), sizes.k).astype(np.int8)
