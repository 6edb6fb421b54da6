"""K, V, queries and probabilities rounded: symmetric integers per vector, asymmetric groups, Walsh-Hadamard transform.

Pure functions of tensors; ``hw.golden.quantize_digits`` and ``hw.golden.hadamard`` define the first and the last.
"""

import torch
from torch import Tensor

from hw.golden import hadamard_block

__all__ = ["grouped", "hadamard", "integers", "stored", "transform"]

_STORED_BITS = 12  # significant bits of a stored scale: hw.token's F16, one more than IEEE's half precision


def hadamard(x: Tensor) -> Tensor:
    """``hw.golden.hadamard`` in torch: unnormalized transforms along the last axis, by additions alone."""
    block = hadamard_block(x.shape[-1])
    values = x.unflatten(-1, (-1, block))
    half = 1
    while half < block:
        pairs = values.unflatten(-1, (-1, 2, half))
        low, high = pairs[..., 0, :], pairs[..., 1, :]
        values = torch.stack((low + high, low - high), -2).flatten(-3)
        half *= 2
    return values.flatten(-2)


def transform(x: Tensor) -> Tensor:
    """The orthonormal transform: products of two transformed vectors are those of the vectors."""
    return hadamard(x) * hadamard_block(x.shape[-1]) ** -0.5


def integers(x: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """``(..., d)`` -> whole numbers of at most ``limit`` in x's own type, and scales ``(...)``: ``s = max|x| / limit``.

    ``round_half_even(x / s)``; a zero vector gives zeros. Equal to ``hw.golden.quantize_digits`` bit for bit.
    """
    scale = x.abs().amax(-1) / limit
    divisor = torch.where(scale > 0, scale, 1.0)[..., None]
    return torch.round(x / divisor).clamp_(-limit, limit), scale


def stored(scale: Tensor) -> Tensor:
    """Scales as the cache keeps them in 16 bits: 12 significant bits, rounded half to even; the exponent is free."""
    mantissa, exponent = torch.frexp(scale)
    return torch.ldexp(torch.round(mantissa * 2**_STORED_BITS) / 2**_STORED_BITS, exponent)


def grouped(x: Tensor, bits: int, group: int) -> Tensor:
    """What asymmetric integers of groups along the last axis stand for: ``(..., n)`` with n a multiple of ``group``.

    ``s = (max - min) / (2**bits - 1)``, ``q = clip(round((x - min) / s), 0, 2**bits - 1)``; s and min are kept in half
    precision and used as kept.
    """
    parts = x.unflatten(-1, (-1, group))
    low, high = parts.amin(-1, keepdim=True), parts.amax(-1, keepdim=True)
    steps = 2**bits - 1
    scale = ((high - low) / steps).half().float()
    low = low.half().float()
    divisor = torch.where(scale > 0, scale, 1.0)
    codes = torch.round((parts - low) / divisor).clamp_(0, steps)
    return (codes * scale + low).flatten(-2).to(x.dtype)
