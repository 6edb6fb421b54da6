"""``LinearSolution``: what every solver returns for one linear: codes, scales and side data of the hardware."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import torch

from hw.division import ceil_divide
from hw.errors import InputError
from quant.manifest import OUTLIER_BITS
from quant.weights.layouts.bitmaps import bitmap_bytes, field_bytes
from quant.weights.layouts.layout import Planes
from quant.weights.layouts.registry import LAYOUTS, CodeLayout
from quant.weights.side_data import LowRank, Outliers, check_tensor
from quant.weights.widths import (
    SCALE_BITS,
    WIDTH_BITS,
    ZERO_POINT_BITS,
    column_widths,
    index_bits,
    is_partition,
    zero_widths,
)

__all__ = ["LinearSolution", "ScaleKind", "StoredBits", "as_stored", "field_bits", "join_rows"]

ScaleKind = Literal["tensor", "row", "group", "pow2"]


class StoredBits(NamedTuple):
    """Bits of what is stored for one linear, padding included."""

    code: int
    scale: int
    offset: int
    mask: int
    permutation: int
    low_rank: int = 0

    @property
    def total(self) -> int:
        """Everything."""
        return sum(self)


def field_bits(count: int, width: int) -> int:
    """Stored bits of ``count`` unsigned integers of ``width`` bits, packed without gaps and padded to a whole byte."""
    return 8 * field_bytes(count, width)


def as_stored(values: torch.Tensor) -> torch.Tensor:
    """The float32 values that remain after storing ``values`` as float16: solvers round before they compensate."""
    return values.half().float()


@dataclass(frozen=True)
class LinearSolution:
    """A linear of n outputs and k inputs as a sum of ternary planes; on construction every field is validated.

    ``w[n, c] = sum over planes p of scale[p, n, g(c)] * trits[p, n, c] + offset[n, g(c)]`` with ``g(c) = c // group``,
    replaced by the outlier's value where there is one. Column c multiplies input ``permutation[c]`` (c without one). To
    all of this a ``low_rank`` correction is added, in the order of the inputs.

    - ``trits``: int8 (planes, n, k) in {-1, 0, 1}.
    - ``scales``: float16 (planes, n, groups), or (1, n, groups) with ``ratios``; a native checkpoint's one scale per
      tensor is float32.
    - ``layout``: how the planes are stored, by its name in ``quant.weights.layouts``.
    - ``group``: columns per scale group, the last may be short; None = the whole row.
    - ``ratios``: tied planes: plane p counts ``ratios[p]`` times, one scale serves all.
    - ``offsets``: float16 (n, groups), added for each input of the group (hardware: times the group's sum of x).
    - ``zeros``: uint8 (n, groups) in 0..3, zero points of 2-bit codes: the offset is ``-scale * zero``.
    - ``widths``: bits of the codes of each group, 1 to 4, for the layout "mixed", whose planes hold digits. Groups of 1
      bit have ``offsets``; codes of b bits have ``zeros`` below ``2**b``, the offset is ``scale * (2**(b-1) - zero)``.
    - ``scale_kind``: "tensor": all scales of a plane are equal and one is stored; "row": one group; "group": any;
      "pow2": within a row every scale is the largest one times ``2**-e``, one plane.

    Raises:
        InputError: a field of the wrong shape, dtype or value, named.
    """

    trits: torch.Tensor
    scales: torch.Tensor
    group: int | None
    scale_kind: ScaleKind
    layout: CodeLayout = "trits"
    ratios: tuple[int, ...] | None = None
    offsets: torch.Tensor | None = None
    zeros: torch.Tensor | None = None
    permutation: torch.Tensor | None = None
    outliers: Outliers | None = None
    low_rank: LowRank | None = None
    widths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Validate every field."""
        self._check_codes()
        self._check_scales()
        self._check_layout()

    @property
    def planes(self) -> int:
        """Ternary planes summed."""
        return self.trits.shape[0]

    @property
    def n(self) -> int:
        """Outputs."""
        return self.trits.shape[1]

    @property
    def k(self) -> int:
        """Inputs."""
        return self.trits.shape[2]

    @property
    def groups(self) -> int:
        """Scale groups per row."""
        return 1 if self.group is None else ceil_divide(self.k, self.group)

    @cached_property
    def zero_fraction(self) -> float:
        """Share of zero trits over all planes."""
        return 1.0 - torch.count_nonzero(self.trits).item() / self.trits.numel()

    @property
    def column_widths(self) -> tuple[int, ...]:
        """Bits of the code in each column; none without ``widths``."""
        return () if self.widths is None else column_widths(self.widths, self.group, self.k)

    def plane_scales(self) -> torch.Tensor:
        """Scale of every plane, tied ones multiplied out: float32 (planes, n, groups)."""
        scales = self.scales.float()
        if self.ratios is None:
            return scales
        return scales * torch.tensor(self.ratios, dtype=torch.float32, device=scales.device)[:, None, None]

    def group_offsets(self) -> torch.Tensor | None:
        """Offset of every group, whichever way it is stored: float32 (n, groups), or None."""
        if self.widths is not None:
            width = torch.tensor(self.widths, device=self.scales.device)
            half = (1 << (width - 1)).float()
            zeros, offsets = (torch.zeros_like(self.scales[0], dtype=torch.float32) if one is None else one.float()
                              for one in (self.zeros, self.offsets))  # fmt: skip
            return torch.where(width == 1, offsets, self.scales[0].float() * (half - zeros))
        if self.zeros is not None:
            return -self.scales[0].float() * self.zeros.float()
        return None if self.offsets is None else self.offsets.float()

    def exponents(self) -> torch.Tensor:
        """``e`` of the kind "pow2", ``scale = row maximum * 2**-e``: int64 (n, groups), 0 in rows of zeros."""
        scales = self.scales[0].float()
        largest = scales.amax(1, keepdim=True)
        ratio = torch.where(scales > 0, largest / scales.clamp_min(torch.finfo(torch.float32).tiny), 1.0)
        return torch.log2(ratio).round().long()

    def dense(self) -> torch.Tensor:
        """The weights that the hardware uses, columns in the order of the inputs: float32 (n, k)."""
        group_of = torch.arange(self.k, device=self.trits.device) // (self.group or self.k)
        weight = torch.zeros(self.n, self.k, dtype=torch.float32, device=self.trits.device)
        for scale, plane in zip(self.plane_scales(), self.trits, strict=True):
            weight += scale[:, group_of] * plane
        if (offsets := self.group_offsets()) is not None:
            weight += offsets[:, group_of]
        if self.outliers is not None:
            weight = torch.where(self.outliers.mask, self.outliers.dense(), weight)
        if self.permutation is not None:
            ordered = torch.empty_like(weight)
            ordered[:, self.permutation] = weight
            weight = ordered
        return weight if self.low_rank is None else weight + self.low_rank.dense()

    def to(self, device: torch.device) -> "LinearSolution":
        """The same on another device."""
        parts = ("trits", "scales", "offsets", "zeros", "permutation", "outliers", "low_rank")
        present = {name: value for name in parts if (value := getattr(self, name)) is not None}
        return replace(self, **{name: value.to(device) for name, value in present.items()})

    def split_rows(self, counts: Sequence[int]) -> list["LinearSolution"]:
        """Linears that were solved stacked along their rows, apart again; no permutation, no outliers.

        Each keeps the whole right factor of a low-rank correction, beside its rows of the left one.

        Raises:
            InputError: a solution whose rows share more than the inputs.
        """
        if self.permutation is not None or self.outliers is not None or self.scale_kind == "tensor":
            raise InputError("rows that share a permutation, outliers or a scale cannot be taken apart")
        pieces = zip(self.trits.split(list(counts), 1), self.scales.split(list(counts), 1), strict=True)
        found = [
            replace(self, trits=trits, scales=scales, offsets=None, zeros=None, low_rank=None)
            for trits, scales in pieces
        ]
        for name in ("offsets", "zeros"):
            if (values := getattr(self, name)) is not None:
                found = [replace(one, **{name: v}) for one, v in zip(found, values.split(list(counts)), strict=True)]
        if self.low_rank is not None:
            lefts = zip(found, self.low_rank.left.split(list(counts)), strict=True)
            found = [replace(one, low_rank=replace(self.low_rank, left=left)) for one, left in lefts]
        return found

    def bits(self) -> StoredBits:
        """Bits of what is stored (``quant.weights.storage`` writes exactly these)."""
        n, k, groups = self.n, self.k, self.groups
        salient = 0 if self.outliers is None else int(self.outliers.mask.sum())
        codes = LAYOUTS[self.layout].bits(Planes(self.planes, n, k, n * k - salient, self.column_widths))
        code, mask = codes["code"], codes["mask"]
        stored_planes = self.scales.shape[0]
        if self.scale_kind == "tensor":
            scale = 8 * self.scales.element_size() * stored_planes
        elif self.scale_kind == "pow2":
            scale = SCALE_BITS * n + field_bits(n * groups, int(self.exponents().max()).bit_length())
        else:
            scale = SCALE_BITS * stored_planes * n * groups
        if self.widths is None:
            offset = 0 if self.offsets is None else SCALE_BITS * n * groups
            offset += 0 if self.zeros is None else field_bits(n * groups, ZERO_POINT_BITS)
        else:
            offset = SCALE_BITS * n * self.widths.count(1) + field_bits(n, sum(zero_widths(self.widths)))
            mask += field_bits(groups, WIDTH_BITS)
        if self.outliers is not None:
            code += OUTLIER_BITS * salient
            mask += 8 * n * bitmap_bytes(k)
            scale += SCALE_BITS * n
            offset += OUTLIER_BITS * n
        if self.permutation is None:
            permutation = 0
        elif self.widths is not None and is_partition(self.permutation.cpu().numpy()):
            permutation = 8 * bitmap_bytes(k)
        else:
            permutation = field_bits(k, index_bits(k))
        low_rank = 0 if self.low_rank is None else SCALE_BITS * self.low_rank.rank * (n + k)
        return StoredBits(code, scale, offset, mask, permutation, low_rank)

    def _check_codes(self) -> None:
        trits = self.trits
        if trits.dtype != torch.int8 or trits.ndim != 3 or 0 in trits.shape:
            raise InputError(f"trits must be int8 (planes, n, k), not {trits.dtype} {tuple(trits.shape)}")
        if trits.abs().max() > 1 or trits.min() < -1:
            raise InputError(f"trits must be in -1..1, not {int(trits.min())}..{int(trits.max())}")
        if LAYOUTS[self.layout].takes_widths and self.widths is None:
            raise InputError("widths must be given with layout 'mixed', one for each group")
        if self.group is not None and self.group < 1:
            raise InputError(f"group must be at least 1 or None for whole rows, not {self.group}")
        if (p := self.permutation) is not None and (
            p.shape != (self.k,) or not torch.equal(p.sort().values, torch.arange(self.k, device=p.device))
        ):
            raise InputError(f"permutation must hold each of the {self.k} columns once, not {tuple(p.shape)} values")

    def _check_scales(self) -> None:
        stored_planes = self.planes if self.ratios is None else 1
        whole = self.scale_kind == "tensor" and self.scales.dtype == torch.float32
        dtype = torch.float32 if whole else torch.float16
        check_tensor("scales", self.scales, dtype, (stored_planes, self.n, self.groups))
        if self.ratios is not None and (len(self.ratios) != self.planes or min(self.ratios) < 1):
            raise InputError(f"ratios must be {self.planes} positive integers, one per plane, not {self.ratios}")
        if self.widths is not None:
            self._check_widths()
        elif self.offsets is not None and self.zeros is not None:
            raise InputError("offsets and zeros must not be given together: zeros are another form of offsets")
        if self.offsets is not None:
            check_tensor("offsets", self.offsets, torch.float16, (self.n, self.groups))
        if self.zeros is not None:
            check_tensor("zeros", self.zeros, torch.uint8, (self.n, self.groups))
            if self.widths is None and (self.ratios is None or self.zeros.max() >= 2**ZERO_POINT_BITS):
                raise InputError(f"zeros need tied planes and values in 0..3, not {int(self.zeros.max())}")
        if self.scale_kind == "tensor" and not (self.scales == self.scales[:, :1, :1]).all():
            raise InputError("scales of kind 'tensor' must all be equal within a plane")
        if self.scale_kind == "row" and self.groups != 1:
            raise InputError(f"scales of kind 'row' must have one group per row, not {self.groups}")
        if self.scale_kind == "pow2":
            if self.planes != 1 or (self.scales < 0).any():
                raise InputError("scales of kind 'pow2' must be non-negative and of one plane")
            largest = self.scales[0].float().amax(1, keepdim=True)
            if not torch.equal(self.scales[0].float(), largest * torch.exp2(-self.exponents().float())):
                raise InputError("scales of kind 'pow2' must be the row's largest scale times powers of two")

    def _check_widths(self) -> None:
        widths = self.widths or ()
        if len(widths) != self.groups or LAYOUTS[self.layout].takes_widths is False:
            raise InputError(f"widths must be one for each of the {self.groups} groups of layout 'mixed', not {widths}")
        powers = tuple(3**power for power in reversed(range(self.planes)))
        if self.ratios != powers:
            raise InputError(f"planes of layout 'mixed' must be digits worth {powers}, not {self.ratios}")
        limits = torch.tensor([1 << width if width > 1 else 1 for width in widths], device=self.trits.device)
        if self.zeros is not None and (self.zeros >= limits).any():
            raise InputError("zeros of layout 'mixed' must be codes of their groups, and 0 where codes are signs")
        if self.offsets is not None and self.offsets[:, limits > 1].any():
            raise InputError("offsets of layout 'mixed' must be 0 but in groups whose codes are signs")

    def _check_layout(self) -> None:
        outliers, low_rank = self.outliers, self.low_rank
        if outliers is not None and outliers.mask.shape != (self.n, self.k):
            raise InputError(f"outlier mask must be {(self.n, self.k)}, not {tuple(outliers.mask.shape)}")
        if low_rank is not None and (low_rank.left.shape[0], low_rank.right.shape[1]) != (self.n, self.k):
            shapes = f"{tuple(low_rank.left.shape)} and {tuple(low_rank.right.shape)}"
            raise InputError(f"low-rank factors must be ({self.n}, r) and (r, {self.k}), not {shapes}")
        LAYOUTS[self.layout].check(self.trits, None if outliers is None else outliers.mask, self.column_widths)


def join_rows(pieces: Sequence[LinearSolution]) -> LinearSolution:
    """The linear whose rows were solved in ``pieces``, one below the other; what they share is the first's.

    Raises:
        InputError: a solution whose rows share more than the inputs.
    """
    first = pieces[0]
    if first.outliers is not None or first.low_rank is not None or first.scale_kind == "tensor":
        raise InputError("rows that share outliers, factors or a scale cannot be put together")
    joined = {name: torch.cat([getattr(one, name) for one in pieces], 1) for name in ("trits", "scales")}
    for name in ("offsets", "zeros"):
        if getattr(first, name) is not None:
            joined[name] = torch.cat([getattr(one, name) for one in pieces])
    return replace(first, **joined)
