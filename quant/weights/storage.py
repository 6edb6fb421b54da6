"""How one quantized linear is stored: the arrays whose bytes ``LinearSolution.bits`` counts, written and read back.

``LinearHeader`` says how to read them. Codes and scales are read with NumPy alone, so the simulator can. Bitmaps hold
8 weights per byte, the first in bit 0, rows padded to bytes; unsigned fields of other widths follow each other, lowest
bit first, padded to a byte at the end.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hw.document import Record
from hw.errors import InputError
from hw.trit import unpack
from quant.weights.widths import ZERO_POINT_BITS

if TYPE_CHECKING:
    import torch

    from quant.weights.solution import LinearSolution

__all__ = [
    "LinearHeader",
    "load_linear",
    "read_low_rank",
    "read_offsets",
    "read_permutation",
    "read_scales",
    "read_trits",
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
    layout: Literal["trits", "bits", "signs", "zones"]
    ratios: tuple[int, ...] | None = None
    exponent_bits: Annotated[int, Field(ge=0, le=8)] = 0

    @model_validator(mode="after")
    def _one_ratio_per_plane(self) -> "LinearHeader":
        if self.ratios is not None and len(self.ratios) != self.planes:
            raise ValueError(f"ratios must be as many as planes, {self.planes}, not {len(self.ratios)}")
        if self.layout in ("signs", "zones") and self.planes != (planes := 1 if self.layout == "signs" else 6):
            raise ValueError(f"planes of layout {self.layout!r} must be {planes}, not {self.planes}")
        return self

    @property
    def groups(self) -> int:
        """Scale groups per row."""
        return 1 if self.group is None else -(-self.k // self.group)


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
    arrays = _store_codes(solution)
    if solution.scale_kind == "tensor":
        arrays["scales"] = np.ascontiguousarray(scales[:, 0, 0])
    elif solution.scale_kind == "pow2":
        arrays["scales"] = scales[0].max(axis=1)
        arrays["exponents"] = _pack_fields(solution.exponents().cpu().numpy(), header.exponent_bits)
    else:
        arrays["scales"] = scales
    if solution.offsets is not None:
        arrays["offsets"] = solution.offsets.cpu().numpy()
    if solution.zeros is not None:
        arrays["zeros"] = _pack_fields(solution.zeros.cpu().numpy(), ZERO_POINT_BITS)
    if solution.permutation is not None:
        arrays["permutation"] = _pack_fields(solution.permutation.cpu().numpy(), _index_bits(solution.k))
    if solution.outliers is not None:
        mask = solution.outliers.mask.cpu().numpy()
        arrays["outlier_mask"] = np.packbits(mask, axis=-1, bitorder="little")
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
    n, k = header.n, header.k
    codes = _array(arrays, "codes")
    if header.layout == "trits":
        return unpack(_shaped(codes, header.planes, n), k, "5in8")
    if header.layout == "bits":
        return _bitmap(_shaped(codes, header.planes, n), k).astype(np.int8)
    if header.layout == "signs":
        ordinary = np.ones((n, k), bool)
        if "outlier_mask" in arrays:
            ordinary = ~_bitmap(_shaped(arrays["outlier_mask"], n), k)
        trits = np.zeros((1, n, k), np.int8)
        negative = np.unpackbits(codes, count=int(ordinary.sum()), bitorder="little")
        trits[0][ordinary] = 1 - 2 * negative.astype(np.int8)
        return trits
    sign = 1 - 2 * _bitmap(_shaped(codes, n), k).astype(np.int8)
    second = _bitmap(_shaped(_array(arrays, "zones"), n), k)
    salient = np.broadcast_to(_bitmap(_array(arrays, "salient_columns"), k), (n, k))
    high = second & ~salient
    low = ~second & ~salient
    second_sign = 1 - 2 * second.astype(np.int8)
    return np.stack([sign * low, sign * high, sign * salient, second_sign * salient, high, salient]).astype(np.int8)


def read_scales(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scales as ``LinearSolution.scales`` holds them: (planes, n, groups), (1, n, groups) for tied planes."""
    stored = 1 if header.ratios is not None else header.planes
    shape = (stored, header.n, header.groups)
    scales = _array(arrays, "scales")
    if header.scale_kind == "tensor":
        return np.broadcast_to(scales[:, None, None], shape).copy()
    if header.scale_kind == "pow2":
        exponents = _unpack_fields(_array(arrays, "exponents"), shape[1:], header.exponent_bits)
        return (scales.astype(np.float32)[:, None] * np.exp2(-exponents.astype(np.float32)))[None].astype(np.float16)
    return scales.reshape(shape)


def read_offsets(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Offset added for each input of a group, from offsets or zero points: float32 (n, groups), or None."""
    if "offsets" in arrays:
        return arrays["offsets"].astype(np.float32)
    if "zeros" not in arrays:
        return None
    zeros = _unpack_fields(arrays["zeros"], (header.n, header.groups), ZERO_POINT_BITS)
    return -read_scales(header, arrays)[0].astype(np.float32) * zeros.astype(np.float32)


def read_permutation(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Input that each stored column multiplies: int64 (k,), or None for columns in the order of the inputs."""
    if "permutation" not in arrays:
        return None
    return _unpack_fields(arrays["permutation"], (header.k,), _index_bits(header.k))


def read_low_rank(header: LinearHeader, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Factors of the low-rank correction as stored, float16 (n, r) and (r, k), inputs in their own order; or None.

    Raises:
        InputError: one factor without the other, or factors that do not fit the header.
    """
    if "low_rank_left" not in arrays and "low_rank_right" not in arrays:
        return None
    left, right = _array(arrays, "low_rank_left"), _array(arrays, "low_rank_right")
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
    zeros = permutation = outliers = None
    if "zeros" in arrays:
        zeros = tensor(_unpack_fields(arrays["zeros"], (n, header.groups), ZERO_POINT_BITS).astype(np.uint8))
    if "permutation" in arrays:
        permutation = tensor(_unpack_fields(arrays["permutation"], (k,), _index_bits(k)))
    if "outlier_mask" in arrays:
        mask = _bitmap(_shaped(arrays["outlier_mask"], n), k)
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
        offsets=tensor(arrays["offsets"]) if "offsets" in arrays else None,
        zeros=zeros,
        permutation=permutation,
        outliers=outliers,
        low_rank=None if low_rank is None else LowRank(*map(tensor, low_rank)),
    )


def _store_codes(solution: "LinearSolution") -> dict[str, np.ndarray]:
    layout = solution.layout
    if layout == "trits":
        return {"codes": _pack_trits(solution.trits).cpu().numpy()}
    trits = solution.trits.cpu().numpy()
    if layout == "bits":
        return {"codes": np.packbits(trits.astype(bool), axis=-1, bitorder="little")}
    if layout == "signs":
        return {"codes": np.packbits(trits[0][trits[0] != 0] < 0, bitorder="little")}
    low, high, first, second, in_high, salient = trits
    return {
        "codes": np.packbits(low + high + first < 0, axis=-1, bitorder="little"),
        "zones": np.packbits((in_high > 0) | (second < 0), axis=-1, bitorder="little"),
        "salient_columns": np.packbits(salient[0].astype(bool), bitorder="little"),
    }


def _pack_trits(trits: "torch.Tensor") -> "torch.Tensor":
    """``hw.trit.pack`` of "5in8" on the device where the trits are: billions of weights are packed in no time."""
    import torch

    digits = torch.nn.functional.pad(trits, (0, -trits.shape[-1] % 5)).add(1).to(torch.uint8)
    return sum(digits[..., position::5] * 3**position for position in range(5))


def _index_bits(k: int) -> int:
    return max(1, (k - 1).bit_length())


def _pack_fields(values: np.ndarray, width: int) -> np.ndarray:
    bits = (values.reshape(-1, 1) >> np.arange(width)) & 1
    return np.packbits(bits.astype(bool), bitorder="little")


def _unpack_fields(data: np.ndarray, shape: tuple[int, ...], width: int) -> np.ndarray:
    count = int(np.prod(shape))
    if data.size != -(-count * width // 8):
        raise InputError(f"{count} fields of {width} bits must be {-(-count * width // 8)} bytes, not {data.size}")
    bits = np.unpackbits(data, count=count * width, bitorder="little").reshape(count, width).astype(np.int64)
    return (bits << np.arange(width)).sum(axis=1).reshape(shape)


def _bitmap(data: np.ndarray, k: int) -> np.ndarray:
    if data.shape[-1] != -(-k // 8):
        raise InputError(f"a bitmap of {k} weights must be {-(-k // 8)} bytes, not {data.shape[-1]}")
    return np.unpackbits(data, axis=-1, count=k, bitorder="little").astype(bool)


def _shaped(data: np.ndarray, *leading: int) -> np.ndarray:
    if data.shape[:-1] != leading:
        raise InputError(f"stored codes must have {leading} rows, not {data.shape[:-1]}: the file is damaged")
    return data


def _array(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise InputError(f"array {name!r} is missing: the file is damaged")
    return arrays[name]
