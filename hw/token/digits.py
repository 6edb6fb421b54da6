"""Balanced-ternary digits of ``hw.golden`` as planes: trits first along the digits, plane p of which weighs ``3**p``.

``d`` digits hold every integer of ``-limit..limit``, ``limit = (3**d - 1) / 2``, in exactly one way.
"""

import numpy as np

from hw import golden
from hw.golden import digit_limit

__all__ = ["digit_limit", "from_digits", "to_digits"]


def to_digits(values: np.ndarray, digits: int) -> np.ndarray:
    """Integers ``(...)`` within the limit -> trits int8 ``(digits, ...)``.

    Raises:
        InputError: a value that so many digits do not hold.
    """
    return np.moveaxis(golden.digits(values, digits), -1, 0)


def from_digits(planes: np.ndarray) -> np.ndarray:
    """Trits ``(digits, ...)`` -> integers int64 ``(...)``."""
    return golden.from_digits(np.moveaxis(planes, 0, -1))
