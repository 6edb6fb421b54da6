"""What a GEMM's descriptor says beside its sizes: planes of trits, and how sums become results.

Two numbers of an output are fixed point: ``multiplier`` (and ``offset``, which weighs the sum of the token's
activations), signed integers of ``SCALE_BITS`` bits, over the power of two ``shift`` that all outputs share.
"""

from typing import Literal, NamedTuple

__all__ = ["INT8_BITS", "INT8_LIMIT", "PLAIN", "SCALE_BITS", "SHIFT_BITS", "GemmFormat", "Results"]

Results = Literal["sums", "int8"]  # what a result beat holds per output: the accumulator, or its requantized value

SCALE_BITS = 16  # of a multiplier and of an offset, two's complement
SHIFT_BITS = 6
INT8_BITS = 8  # of an activation, and of a requantized result
INT8_LIMIT = 127  # results saturate at plus and minus this, as activations do: a negation never overflows


class GemmFormat(NamedTuple):
    """Formats of one GEMM. ``sums`` arrays read ``planes`` alone; the rest is the requantizer's.

    ``result = clip(round_half_even((sum * multiplier + sum_of_x * offset) / 2**shift), -127, 127)``
    """

    planes: int = 1  # ternary planes, streamed sequentially over the same activations, added up
    row_scales: bool = False  # multiplier and offset of each output come with its weights; else the two below
    multiplier: int = 1
    offset: int = 0
    shift: int = 0


PLAIN = GemmFormat()
