"""Layout "trits": every plane as 5 trits per byte (``hw.trit``), rows padded to bytes."""

from typing import TYPE_CHECKING

import numpy as np

from hw.trit import packed_bytes, unpack
from quant.weights.layouts.bitmaps import array, shaped
from quant.weights.layouts.layout import Arrays, Layout, Planes

if TYPE_CHECKING:
    import torch

__all__ = ["Trits"]


class Trits(Layout):
    """Any planes."""

    parts = {"codes": "code"}

    def shapes(self, sizes: Planes) -> dict[str, tuple[int, ...]]:
        """One array of packed rows."""
        return {"codes": (sizes.planes, sizes.n, packed_bytes(sizes.k, "5in8"))}

    def check(self, trits: "torch.Tensor", outliers: "torch.Tensor | None", widths: tuple[int, ...] = ()) -> None:
        """Every plane is allowed."""

    def store(self, trits: "torch.Tensor", widths: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
        """``hw.trit.pack`` on the device where the trits are: billions of weights are packed in no time."""
        import torch

        digits = torch.nn.functional.pad(trits, (0, -trits.shape[-1] % 5)).add(1).to(torch.uint8)
        packed = sum(digits[..., position::5] * 3**position for position in range(5))
        return {"codes": packed.cpu().numpy()}

    def read(self, sizes: Planes, arrays: Arrays, ordinary: np.ndarray | None) -> np.ndarray:
        """Unpack the rows."""
        return unpack(shaped(array(arrays, "codes"), sizes.planes, sizes.n), sizes.k, "5in8")
