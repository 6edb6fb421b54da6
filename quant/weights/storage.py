"""How one quantized linear is stored: the arrays whose bytes ``LinearSolution.bits`` counts, written and read back.

``LinearHeader`` says how to read them. Codes and scales are read with NumPy alone, so the simulator can. Bitmaps hold
8 weights per byte, the first in bit 0, rows padded to bytes; unsigned fields of other widths follow each other, lowest
bit first, padded to a byte at the end.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hw.division import ceil_divide
from hw.document import Record
from hw.errors import InputError
from quant.weights.layouts.bitmaps import array, bitmap, pack_bitmap, pack_fields, shaped, unpack_fields
from quant.weights.layouts.layout import Planes
from quant.weights.layouts.mixed import covered_columns
from quant.weights.layouts.registry import LAYOUTS, CodeLayout
from quant.weights.widths import (
    WIDTH_BITS,
    ZERO_POINT_BITS,
    column_widths,
    index_bits,
    is_partition,
    partition_order,
)

if TYPE_CHECKING:
    from quant.weights.solution import LinearSolution

__all__ = [
    "LinearHeader",
    "load_linear",
    "read_covered",
    "read_low_rank",
    "read_offsets",
    "read_permutation",
    "read_scales",
    "read_trits",
    "read_widths",
    "store_linear",
]


Size = Annotated[int, Field(ge=1, lt=1 << 31)]


class LinearHeader(Record):
    """What the arrays of one linear mean; see ``quant.weights.solution.LinearSolution`` for the fields."""

    planes: Annotated[int, Field(ge=1, le=6)]
    n: Size
    k: Size
    group: Size | None
    scale_kind: Literal["row", "pow2", "group", "tensor"]
    layout: CodeLayout
    ratios: tuple[int, ...] | None = None
    exponent_bits: Annotated[int, Field(ge=0, le=8)] = 0

    @model_validator(mode="after")
    def _one_ratio_per_plane(self) -> "LinearHeader":
        if self.ratios is not None and len(self.ratios) != self.planes:
            raise ValueError(f"ratios must be as many as planes, {self.planes}, not {len(self.ratios)}")
        if (planes := LAYOUTS[self.layout].planes or self.planes) != self.planes:
            raise ValueError(f"planes of layout {self.layout!r} must be {planes}, not {self.planes}")
        return self

    @property
    def groups(self) -> int:
        """Scale groups per row."""
        return 1 if self.group is None else ceil_divide(self.k, self.group)

    def sizes(self, ordinary: np.ndarray | None, widths: tuple[int, ...] | None = None) -> Planes:
        """Sizes of the planes; ``ordinary``: bool (n, k), weights that are no outliers, or None for all.

        ``widths``: bits of the codes of each group, where the layout takes them.
        """
        columns = () if widths is None else column_widths(widths, self.group, self.k)
        count = self.n * self.k if ordinary is None else int(ordinary.sum())
        return Planes(self.planes, self.n, self.k, count, columns)


def store_linear(solution: "LinearSolution") -> tuple[LinearHeader, dict[str, np.ndarray]]:
    """Arrays to store, whose bytes are exactly ``solution.bits()``, and their header."""
    header = LinearHeader(
        planes=solution.planes,
        n=solution.n,
        k=solution.k,
        group=solution.group,
        scale_kind=solution.scale_kind,
        layout=solution.layout,
        ratios=solution.ratios,
        exponent_bits=int(solution.exponents().max()).bit_length() if solution.scale_kind == "pow2" else 0,
    )
    scales = solution.scales.cpu().numpy()
    arrays = LAYOUTS[solution.layout].store(solution.trits, solution.column_widths)
    if solution.scale_kind == "tensor":
        arrays["scales"] = np.ascontiguousarray(scales[:, 0, 0])
    elif solution.scale_kind == "pow2":
        arrays["scales"] = scales[0].max(axis=1)
        arrays["exponents"] = pack_fields(solution.exponents().cpu().numpy(), header.exponent_bits)
    else:
        arrays["scales"] = scales
    if solution.widths is not None:
        arrays |= _store_widths(solution)
    else:
        if solution.offsets is not None:
            arrays["offsets"] = solution.offsets.cpu().numpy()
        if solution.zeros is not None:
            arrays["zeros"] = pack_fields(solution.zeros.cpu().numpy(), ZERO_POINT_BITS)
    if solution.permutation is not None:
        order = solution.permutation.cpu().numpy()
        if solution.widths is not None and is_partition(order):
            last = np.zeros(solution.k, bool)
            last[order[1 + int(np.argmax(np.append(order[1:] < order[:-1], True))) :]] = True
            arrays["partition"] = pack_bitmap(last)
        else:
            arrays["permutation"] = pack_fields(order, index_bits(solution.k))
    if solution.outliers is not None:
        mask = solution.outliers.mask.cpu().numpy()
        arrays["outlier_mask"] = pack_bitmap(mask)
        arrays["outlier_codes"] = solution.outliers.codes.cpu().numpy()[mask]
        arrays["outlier_scale"] = solution.outliers.scale.cpu().numpy()
        arrays["outlier_zero"] = solution.outliers.zero.cpu().numpy()
    if solution.low_rank is not None:
        arrays["low_rank_left"] = solution.low_rank.left.cpu().numpy()
        arrays["low_rank_right"] = solution.low_rank.right.cpu().numpy()
    return header, arrays


def read_trits(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Trits of every plane: int8 (planes, n, k), columns in stored order.

    Raises:
        InputError: arrays that are missing or do not fit the header.
    """
    ordinary = None
    if "outlier_mask" in arrays:
        ordinary = ~bitmap(shaped(arrays["outlier_mask"], header.n), header.k)
    return LAYOUTS[header.layout].read(header.sizes(ordinary, read_widths(header, arrays)), arrays, ordinary)


def read_widths(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> tuple[int, ...] | None:
    """Bits of the codes of each group, where the layout takes them.

    Raises:
        InputError: they are missing.
    """
    if not LAYOUTS[header.layout].takes_widths:
        return None
    return tuple((unpack_fields(array(arrays, "widths"), (header.groups,), WIDTH_BITS) + 1).tolist())


def read_covered(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Which columns each plane covers, bool (planes, k), columns in stored order; None where each covers all."""
    widths = read_widths(header, arrays)
    if widths is None:
        return None
    return covered_columns(column_widths(widths, header.group, header.k), header.planes)


def read_scales(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scales as ``LinearSolution.scales`` holds them: (planes, n, groups), (1, n, groups) for tied planes."""
    stored = 1 if header.ratios is not None else header.planes
    shape = (stored, header.n, header.groups)
    scales = array(arrays, "scales")
    if header.scale_kind == "tensor":
        return np.broadcast_to(scales[:, None, None], shape).copy()
    if header.scale_kind == "pow2":
        exponents = unpack_fields(array(arrays, "exponents"), shape[1:], header.exponent_bits)
        return (scales.astype(np.float32)[:, None] * np.exp2(-exponents.astype(np.float32)))[None].astype(np.float16)
    return scales.reshape(shape)


def read_offsets(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Offset added for each input of a group, from offsets or zero points: float32 (n, groups), or None."""
    if (widths := read_widths(header, arrays)) is not None:
        offsets, zeros = _read_mixed_offsets(header, arrays, widths)
        half = (1 << (np.array(widths) - 1)).astype(np.float32)
        scales = read_scales(header, arrays)[0].astype(np.float32)
        return np.where(np.array(widths) == 1, offsets.astype(np.float32), scales * (half - zeros.astype(np.float32)))
    if "offsets" in arrays:
        return arrays["offsets"].astype(np.float32)
    if "zeros" not in arrays:
        return None
    zeros = unpack_fields(arrays["zeros"], (header.n, header.groups), ZERO_POINT_BITS)
    return -read_scales(header, arrays)[0].astype(np.float32) * zeros.astype(np.float32)


def read_permutation(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Input that each stored column multiplies: int64 (k,), or None for columns in the order of the inputs."""
    if "partition" in arrays:
        return partition_order(bitmap(arrays["partition"], header.k))
    if "permutation" not in arrays:
        return None
    return unpack_fields(arrays["permutation"], (header.k,), index_bits(header.k))


def read_low_rank(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Factors of the low-rank correction as stored, float16 (n, r) and (r, k), inputs in their own order; or None.

    Raises:
        InputError: one factor without the other, or factors that do not fit the header.
    """
    if "low_rank_left" not in arrays and "low_rank_right" not in arrays:
        return None
    left, right = array(arrays, "low_rank_left"), array(arrays, "low_rank_right")
    if left.shape[:-1] != (header.n,) or right.shape != (left.shape[-1], header.k):
        raise InputError(
            f"low-rank factors must be ({header.n}, r) and (r, {header.k}), not {left.shape} and {right.shape}: "
            "the file is damaged"
        )
    return left, right


def load_linear(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> "LinearSolution":
    """Read the whole solution back, equal in every field; this imports torch.

    Raises:
        InputError: arrays that are missing or do not fit the header.
    """
    import torch

    from quant.weights.side_data import LowRank, Outliers
    from quant.weights.solution import LinearSolution

    def tensor(value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(value))

    n, k = header.n, header.k
    zeros = offsets = outliers = None
    if (widths := read_widths(header, arrays)) is not None:
        offsets, zeros = map(tensor, _read_mixed_offsets(header, arrays, widths))
    else:
        offsets = tensor(arrays["offsets"]) if "offsets" in arrays else None
        if "zeros" in arrays:
            zeros = tensor(unpack_fields(arrays["zeros"], (n, header.groups), ZERO_POINT_BITS).astype(np.uint8))
    permutation = read_permutation(header, arrays)
    if "outlier_mask" in arrays:
        mask = bitmap(shaped(arrays["outlier_mask"], n), k)
        codes = np.zeros((n, k), np.uint8)
        codes[mask] = arrays["outlier_codes"]
        outliers = Outliers(
            tensor(mask), tensor(codes), tensor(arrays["outlier_scale"]), tensor(arrays["outlier_zero"])
        )
    low_rank = read_low_rank(header, arrays)
    return LinearSolution(
        trits=tensor(read_trits(header, arrays)),
        scales=tensor(read_scales(header, arrays)),
        group=header.group,
        scale_kind=header.scale_kind,  # type: ignore[arg-type]
        layout=header.layout,  # type: ignore[arg-type]
        ratios=header.ratios,
        offsets=offsets,
        zeros=zeros,
        permutation=None if permutation is None else tensor(permutation),
        outliers=outliers,
        low_rank=None if low_rank is None else LowRank(*map(tensor, low_rank)),
        widths=widths,
    )


def _store_widths(solution: "LinearSolution") -> dict[str, np.ndarray]:
    """Widths of the groups, offsets of those whose codes are signs, zero points of the others."""
    widths = np.array(solution.widths)
    shape = (solution.n, widths.size)
    none = np.zeros(shape, np.uint8)
    offsets = none.astype(np.float16) if solution.offsets is None else solution.offsets.cpu().numpy()
    zeros = none if solution.zeros is None else solution.zeros.cpu().numpy()
    group, place = _zero_bits(widths)
    bits = (zeros[:, group].astype(np.int64) >> place) & 1
    return {
        "widths": pack_fields(widths - 1, WIDTH_BITS),
        "offsets": np.ascontiguousarray(offsets[:, widths == 1]),
        "zeros": pack_fields(bits, 1),
    }


def _read_mixed_offsets(
    header: LinearHeader, arrays: Mapping[str, np.ndarray], widths: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets float16 and zero points uint8, (n, groups) each, 0 where a group has none."""
    width = np.array(widths)
    offsets = np.zeros((header.n, width.size), np.float16)
    offsets[:, width == 1] = array(arrays, "offsets")
    group, place = _zero_bits(width)
    bits = unpack_fields(array(arrays, "zeros"), (header.n, group.size), 1)
    zeros = np.zeros((header.n, width.size), np.uint8)
    np.add.at(zeros, (slice(None), group), (bits << place).astype(np.uint8))
    return offsets, zeros


def _zero_bits(width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group of each stored bit of a row's zero points, and its place in the zero point."""
    stored = np.where(width > 1, width, 0)
    group = np.repeat(np.arange(width.size), stored)
    return group, np.arange(group.size) - np.repeat(np.cumsum(stored) - stored, stored)
