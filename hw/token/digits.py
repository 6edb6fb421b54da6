"""Balanced-ternary digits: an integer as trits, plane p of which weighs ``3**p``, p = 0 first.

``d`` digits hold every integer of ``-limit..limit``, ``limit = (3**d - 1) / 2``, in exactly one way.
"""

import numpy as np

__all__ = ["digit_limit", "from_digits", "to_digits"]


def digit_limit(digits: int) -> int:
    """The largest integer of that many digits: 1, 4, 13, 40, 121."""
    return (3**digits - 1) // 2


def to_digits(values: np.ndarray, digits: int) -> np.ndarray:
    """Integers ``(...)`` within the limit -> trits int8 ``(digits, ...)``."""
    rest, planes = np.asarray(values, np.int64), []
    for _ in range(digits):
        trit = (rest + 1) % 3 - 1
        planes.append(trit.astype(np.int8))
        rest = (rest - trit) // 3
    return np.stack(planes)


def from_digits(planes: np.ndarray) -> np.ndarray:
    """Trits ``(digits, ...)`` -> integers int64 ``(...)``."""
    weights = 3 ** np.arange(len(planes), dtype=np.int64)
    return np.tensordot(weights, planes.astype(np.int64), axes=1)
