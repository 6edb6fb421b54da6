"""What a linear may keep beside its ternary planes, validated when made: weights at 8 bits, a low-rank correction."""

from dataclasses import dataclass

import torch

from hw.errors import InputError

__all__ = ["LowRank", "Outliers", "check_tensor"]

_NAMES = {torch.float16: "float16", torch.float32: "float32"}


def check_tensor(name: str, value: torch.Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Refuse a stored tensor of another dtype or shape, or one that is not finite.

    Raises:
        InputError: with ``name``, what it must be and what it is.
    """
    if value.dtype != dtype or tuple(value.shape) != shape:
        raise InputError(f"{name} must be {dtype} {shape}, not {value.dtype} {tuple(value.shape)}")
    if dtype.is_floating_point and not torch.isfinite(value).all():
        raise InputError(f"{name} must be finite in {_NAMES[dtype]}, not {value.float().abs().max().item()}")


@dataclass(frozen=True)
class Outliers:
    """Weights kept at 8 bits beside the planes: value ``scale[n] * (codes[n, k] - zero[n])`` where ``mask[n, k]``.

    ``mask``: bool (n, k); ``codes``: uint8 (n, k), 0 outside the mask; ``scale``: float16 (n,); ``zero``: uint8 (n,).

    Raises:
        InputError: a field of the wrong shape, dtype or value, named.
    """

    mask: torch.Tensor
    codes: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor

    def __post_init__(self) -> None:
        """Validate every field."""
        if self.mask.ndim != 2:
            raise InputError(f"outlier mask must be (n, k), not {tuple(self.mask.shape)}")
        n, k = self.mask.shape
        check_tensor("outlier mask", self.mask, torch.bool, (n, k))
        check_tensor("outlier codes", self.codes, torch.uint8, (n, k))
        check_tensor("outlier scale", self.scale, torch.float16, (n,))
        check_tensor("outlier zero", self.zero, torch.uint8, (n,))
        if self.codes[~self.mask].any():
            raise InputError("outlier codes must be 0 outside the mask")

    def dense(self) -> torch.Tensor:
        """float32 (n, k), zero outside the mask."""
        values = self.scale.float()[:, None] * (self.codes.float() - self.zero.float()[:, None])
        return torch.where(self.mask, values, torch.zeros_like(values))

    def to(self, device: torch.device) -> "Outliers":
        """The same on another device."""
        return Outliers(*(t.to(device) for t in (self.mask, self.codes, self.scale, self.zero)))


@dataclass(frozen=True)
class LowRank:
    """A correction ``left @ right`` of rank r that is added to a linear's weights; hardware: two small float products.

    ``left``: float16 (n, r); ``right``: float16 (r, k), its columns in the order of the inputs, whatever order the
    planes' columns have.

    Raises:
        InputError: a factor of the wrong shape, dtype or value, named.
    """

    left: torch.Tensor
    right: torch.Tensor

    def __post_init__(self) -> None:
        """Validate both factors."""
        if self.left.ndim != 2 or self.right.ndim != 2 or not 1 <= self.left.shape[1] == self.right.shape[0]:
            shapes = f"{tuple(self.left.shape)} and {tuple(self.right.shape)}"
            raise InputError(f"low-rank factors must be (n, r) and (r, k) with r of at least 1, not {shapes}")
        check_tensor("low-rank factor left", self.left, torch.float16, tuple(self.left.shape))
        check_tensor("low-rank factor right", self.right, torch.float16, tuple(self.right.shape))

    @property
    def rank(self) -> int:
        """Rank r of the correction."""
        return self.left.shape[1]

    def dense(self) -> torch.Tensor:
        """float32 (n, k)."""
        return self.left.float() @ self.right.float()

    def to(self, device: torch.device) -> "LowRank":
        """The same on another device."""
        return LowRank(self.left.to(device), self.right.to(device))
