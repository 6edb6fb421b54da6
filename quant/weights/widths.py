"""Bits of the numbers that are stored beside codes; without torch."""

__all__ = ["SCALE_BITS", "ZERO_POINT_BITS"]

SCALE_BITS = 16  # scales, offsets, factors of a low-rank correction: float16
ZERO_POINT_BITS = 2  # of 2-bit codes
