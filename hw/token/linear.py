"""A linear of the whole token: GEMMs of int8 activations and balanced-ternary digits, each with DEQ behind it.

A linear is a sum of *parts*, each with a stored scale per output over a slice of the inputs: planes or groups that
have scales of their own are parts of their own, added in the order in which they are listed. Planes that weigh powers
of three of one scale are one part of several digits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hw.errors import InputError
from hw.token.dequantize import Dequantizer, dequantized, dequantizer
from hw.token.digits import digit_limit
from hw.token.formats import Flags, check_accumulator, products, saturated
from hw.token.scales import Scale, stored_scales

__all__ = ["LinearPart", "linear_part", "outputs", "with_fraction"]


class LinearPart(NamedTuple):
    """Integer weights float32 ``(n, stop - start)``, their digits, the inputs they take, and DEQ's constants."""

    weights: np.ndarray
    digits: int
    start: int
    stop: int
    constants: Dequantizer


def linear_part(
    weights: np.ndarray, scales: np.ndarray, digits: int, start: int, fraction: int, what: str
) -> LinearPart:
    """Constants of a part: integers ``(n, k)`` within the digits' limit, real scales ``(n,)``; ``what``: its name.

    Raises:
        InputError: weights beyond the digits, or sums that may leave the accumulator.
    """
    check_accumulator(weights.shape[1], digits, what)
    sign = np.where(scales < 0, -1, 1)
    held = (weights * sign[:, None]).astype(np.float32)
    if np.abs(held).max(initial=0) > digit_limit(digits):
        raise InputError(f"{what}: weights must be within {digit_limit(digits)} for {digits} digits")
    constants = dequantizer(stored_scales(np.abs(scales)), held, fraction)
    return LinearPart(held, digits, start, start + weights.shape[1], constants)


def outputs(
    q: np.ndarray, token: Scale, parts: Sequence[LinearPart], bits: int, flags: Flags | None = None
) -> np.ndarray:
    """int8 activations ``(m, k)`` and real token scales ``(m,)`` -> words of ``bits`` bits ``(m, n)``."""
    total = None
    for part in parts:
        sums = products(q[:, part.start : part.stop], part.weights)
        y = dequantized(sums, part.constants, token, bits, flags)
        total = y if total is None else saturated(total + y, bits, flags)
    return total


def with_fraction(parts: Sequence[LinearPart], more: int) -> tuple[LinearPart, ...]:
    """The same linear with ``more`` fraction bits in its words."""
    return tuple(
        part._replace(constants=part.constants._replace(second=part.constants.second - more)) for part in parts
    )
