"""What the arrays of a packed linear must be by its header; other files are refused before they are unpacked.

Nothing here allocates: a header's sizes are held against those of the arrays that the file really has.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hw.errors import InputError
from quant.weights.layouts.bitmaps import bitmap_bytes, field_bytes, unpack_fields
from quant.weights.layouts.registry import LAYOUTS
from quant.weights.widths import WIDTH_BITS, ZERO_POINT_BITS, index_bits, zero_widths

if TYPE_CHECKING:
    from quant.weights.storage import LinearHeader

__all__ = ["check_arrays"]

_BYTES = ("uint8",)
_FLOATS = ("float16", "float32")
_HALF = ("float16",)


def check_arrays(header: "LinearHeader", arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Hold names, types and shapes of ``arrays`` against ``header``.

    Raises:
        InputError: the first that is missing, unknown, or of another type or shape, after ``where``.
    """
    expected = _expected(header, arrays)
    layout = LAYOUTS[header.layout]
    needed = {"scales", *layout.parts} | ({"exponents"} if header.scale_kind == "pow2" else set())
    needed |= {"widths", "offsets", "zeros"} if layout.takes_widths else set()
    together = ({"low_rank_left", "low_rank_right"}, {"outlier_mask", "outlier_codes", "outlier_scale", "outlier_zero"})
    for group in together:
        needed |= group if group & arrays.keys() else set()
    if missing := sorted(needed - arrays.keys()):
        raise InputError(f"{where}: array {missing[0]!r} is missing: the file is damaged")
    for name, array in arrays.items():
        if name not in expected:
            raise InputError(f"{where}: array {name!r} has no place in layout {header.layout!r}: the file is damaged")
        types, shape = expected[name]
        if array.dtype.name not in types or array.shape != shape:
            raise InputError(
                f"{where}: array {name!r} must be {' or '.join(types)} {shape}, not {array.dtype} {array.shape}: "
                "the file is damaged"
            )


def _expected(
    header: "LinearHeader", arrays: Mapping[str, np.ndarray]
) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Types and shape of each array that the layout may have."""
    n, k, planes, groups = header.n, header.k, header.planes, header.groups
    stored = 1 if header.ratios is not None else planes
    scales = {"tensor": (stored,), "pow2": (n,)}.get(header.scale_kind, (stored, n, groups))
    found = {
        "scales": (_FLOATS, scales),
        "offsets": (_FLOATS, (n, groups)),
        "zeros": (_BYTES, (field_bytes(n * groups, ZERO_POINT_BITS),)),
        "permutation": (_BYTES, (field_bytes(k, index_bits(k)),)),
        "partition": (_BYTES, (bitmap_bytes(k),)),
    }
    if header.scale_kind == "pow2":
        found["exponents"] = (_BYTES, (field_bytes(n * groups, header.exponent_bits),))
    layout, kept = LAYOUTS[header.layout], _kept(arrays)
    widths = _widths(header, arrays) if layout.takes_widths else None
    if widths is not None:
        found["widths"] = (_BYTES, (field_bytes(groups, WIDTH_BITS),))
        found["offsets"] = (_HALF, (n, widths.count(1)))
        found["zeros"] = (_BYTES, (field_bytes(n, sum(zero_widths(widths))),))
    codes = layout.shapes(
        header.sizes(None, widths)._replace(ordinary=n * k - (kept if "outlier_mask" in arrays else 0))
    )
    found |= {name: (_BYTES, shape) for name, shape in codes.items()}
    if not layout.takes_side_data:
        return found
    left = arrays.get("low_rank_left")
    rank = left.shape[-1] if left is not None and left.ndim == 2 else 0
    return found | {
        "low_rank_left": (_HALF, (n, rank)),
        "low_rank_right": (_HALF, (rank, k)),
        "outlier_mask": (_BYTES, (n, bitmap_bytes(k))),
        "outlier_codes": (_BYTES, (kept,)),
        "outlier_scale": (_HALF, (n,)),
        "outlier_zero": (_BYTES, (n,)),
    }


def _widths(header: "LinearHeader", arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Bits of each group's codes as far as they can be read; signs where they cannot, which is then refused."""
    stored = arrays.get("widths")
    if stored is None or stored.dtype != np.uint8 or stored.shape != (field_bytes(header.groups, WIDTH_BITS),):
        return (1,) * header.groups
    return tuple((unpack_fields(stored, (header.groups,), WIDTH_BITS) + 1).tolist())


def _kept(arrays: Mapping[str, np.ndarray]) -> int:
    """Outliers by their bitmap."""
    mask = arrays.get("outlier_mask")
    return 0 if mask is None or mask.dtype != np.uint8 else int(np.bitwise_count(mask).sum())
