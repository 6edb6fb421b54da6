"""WHT: the Walsh-Hadamard transform of a head by additions, not normalized, so that it is exact.

``log2(size)`` stages ``(a, b) -> (a + b, a - b)`` over elements ``size / 2``, then ``size / 4``, ... apart; a value
grows by at most ``log2(size)`` bits. Both q and k go through it, so a score grows by ``size`` exactly, which the
constant of SCORE takes back. A head that is no power of two (96) is transformed in blocks of its largest one (32).
Ref: QuaRot, arXiv 2404.00456, section 4 (rotated keys).
"""

import numpy as np

__all__ = ["block_size", "transformed"]


def block_size(head_dim: int) -> int:
    """The largest power of two that divides a head."""
    return head_dim & -head_dim


def transformed(x: np.ndarray) -> np.ndarray:
    """The transform of the last axis ``(..., d)``, block by block; exact, no error."""
    size = block_size(x.shape[-1])
    y = x.reshape(*x.shape[:-1], -1, size)
    step = size // 2
    while step:
        pairs = y.reshape(*y.shape[:-1], -1, 2, step)
        y = np.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]], axis=-2).reshape(
            y.shape
        )
        step //= 2
    return y.reshape(x.shape)
