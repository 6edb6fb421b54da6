"""Layout "signs": one plane of -1 and +1 that is 0 at the outliers: a bit per ordinary weight, rows not padded."""

from typing import TYPE_CHECKING

import numpy as np

from hw.errors import InputError
from quant.weights.layouts.bitmaps import array, field_bytes
from quant.weights.layouts.layout import Arrays, Layout, Planes

if TYPE_CHECKING:
    import torch

__all__ = ["Signs"]


class Signs(Layout):
    """A binary plane beside outliers."""

    parts = {"codes": "code"}
    planes = 1

    def shapes(self, sizes: Planes) -> dict[str, tuple[int, ...]]:
        """One row of bits."""
        return {"codes": (field_bytes(sizes.ordinary, 1),)}

    def check(self, trits: "torch.Tensor", outliers: "torch.Tensor | None", widths: tuple[int, ...] = ()) -> None:
        """Zeros and outliers are the same weights."""
        import torch

        empty = torch.zeros_like(trits[0], dtype=torch.bool) if outliers is None else outliers
        if len(trits) != self.planes or not torch.equal(trits[0] == 0, empty):
            raise InputError("layout 'signs' must be one plane that is zero at the outliers and nowhere else")

    def store(self, trits: "torch.Tensor", widths: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
        """Set where an ordinary weight is -1."""
        plane = trits[0].cpu().numpy()
        return {"codes": np.packbits(plane[plane != 0] < 0, bitorder="little")}

    def read(self, sizes: Planes, arrays: Arrays, ordinary: np.ndarray | None) -> np.ndarray:
        """Put the signs where the ordinary weights are."""
        places = np.ones((sizes.n, sizes.k), bool) if ordinary is None else ordinary
        trits = np.zeros((1, sizes.n, sizes.k), np.int8)
        negative = np.unpackbits(array(arrays, "codes"), count=int(places.sum()), bitorder="little")
        trits[0][places] = 1 - 2 * negative.astype(np.int8)
        return trits
