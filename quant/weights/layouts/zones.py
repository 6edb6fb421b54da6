"""Layout "zones": six planes of which every weight is in one or two, stored as two bits per weight and one per column.

========  =====================================  =====================================
bit       ordinary column                        salient column
========  =====================================  =====================================
codes     sign, in the low or the high zone      first sign
zones     1: high zone                           second sign
========  =====================================  =====================================

``salient_columns`` holds one bit per column. Rows of both bitmaps are padded to bytes.
"""

from typing import TYPE_CHECKING

import numpy as np

from hw.errors import InputError
from quant.weights.layouts.bitmaps import array, bitmap, bitmap_bytes, pack_bitmap, shaped
from quant.weights.layouts.layout import Arrays, Layout, Planes

if TYPE_CHECKING:
    import torch

__all__ = ["ZONE_PLANES", "Zones"]

ZONE_PLANES = ("low signs", "high signs", "salient signs", "second salient signs", "high zone", "salient columns")


class Zones(Layout):
    """The planes of ``ZONE_PLANES``, in this order."""

    parts = {"codes": "code", "zones": "mask", "salient_columns": "mask"}
    planes = len(ZONE_PLANES)
    takes_side_data = False

    def shapes(self, sizes: Planes) -> dict[str, tuple[int, ...]]:
        """Two bitmaps of the weights, one of the columns."""
        row = bitmap_bytes(sizes.k)
        return {"codes": (sizes.n, row), "zones": (sizes.n, row), "salient_columns": (row,)}

    def check(self, trits: "torch.Tensor", outliers: "torch.Tensor | None", widths: tuple[int, ...] = ()) -> None:
        """Every weight has one sign in the zone that it belongs to, two in a salient column."""
        import torch

        if len(trits) != self.planes:
            raise InputError(f"layout 'zones' must have {self.planes} planes, not {len(trits)}")
        low, high, first, second, in_high, salient = trits
        ordinary = salient == 0
        consistent = (
            torch.equal(low != 0, ordinary & (in_high == 0))
            and torch.equal(high != 0, in_high == 1)
            and torch.equal(first != 0, ~ordinary)
            and torch.equal(second != 0, ~ordinary)
            and not (in_high.bool() & ~ordinary).any()
            and (salient == salient[:1]).all()
            and (salient >= 0).all()
        )
        if not consistent:
            raise InputError("layout 'zones': every weight must have one sign in the zone that it belongs to")

    def store(self, trits: "torch.Tensor", widths: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
        """The planes folded into the three bitmaps."""
        low, high, first, second, in_high, salient = trits.cpu().numpy()
        return {
            "codes": pack_bitmap(low + high + first < 0),
            "zones": pack_bitmap((in_high > 0) | (second < 0)),
            "salient_columns": pack_bitmap(salient[0].astype(bool)),
        }

    def read(self, sizes: Planes, arrays: Arrays, ordinary: np.ndarray | None) -> np.ndarray:
        """The bitmaps unfolded into the planes."""
        n, k = sizes.n, sizes.k
        sign = 1 - 2 * bitmap(shaped(array(arrays, "codes"), n), k).astype(np.int8)
        second = bitmap(shaped(array(arrays, "zones"), n), k)
        salient = np.broadcast_to(bitmap(array(arrays, "salient_columns"), k), (n, k))
        high = second & ~salient
        low = ~second & ~salient
        second_sign = 1 - 2 * second.astype(np.int8)
        return np.stack([sign * low, sign * high, sign * salient, second_sign * salient, high, salient]).astype(np.int8)
