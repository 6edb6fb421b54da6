"""What a GEMM's descriptor says beside its sizes: planes of trits, what they weigh, how sums become results.

Two numbers of an output are fixed point: ``multiplier`` (and ``offset``, which weighs the sum of the token's
activations), signed integers of ``SCALE_BITS`` bits, over the power of two ``shift`` that all outputs share.
"""

from typing import Literal, NamedTuple

from hw.trit import packed_bytes

__all__ = [
    "DIGIT_COUNTS",
    "DIGIT_STAGES",
    "INT8_BITS",
    "INT8_LIMIT",
    "KEY_DIGITS",
    "LAST_PLANE_BITS",
    "MAX_PLANES",
    "PLAIN",
    "SCALE_BITS",
    "SHIFT_BITS",
    "SIZE_BITS",
    "STORED_SCALE_BITS",
    "VALUE_DIGITS",
    "DigitCount",
    "DigitStage",
    "GemmFormat",
    "Results",
    "digit_vector_bytes",
    "planes_weight",
]

Results = Literal["sums", "int8"]  # what a result beat holds per output: the accumulator, or its requantized value

SIZE_BITS = 24  # of each size of a GEMM in its descriptor
SCALE_BITS = 16  # of a multiplier and of an offset, two's complement
SHIFT_BITS = 6
MAX_PLANES = 5  # of one GEMM: the digits of a base-3 byte
LAST_PLANE_BITS = 3  # of the number of a GEMM's last plane in its descriptor, on arrays with more than two planes
INT8_BITS = 8  # of an activation, and of a requantized result
STORED_SCALE_BITS = 16  # of a K or V vector's scale in memory: exponent 5 bits, fraction 11 (``hw.token.scales``)
INT8_LIMIT = 127  # results saturate at plus and minus this, as activations do: a negation never overflows

DigitCount = Literal[2, 3, 4, 5]  # balanced-ternary digits of an element of K or V
DIGIT_COUNTS: tuple[DigitCount, ...] = (2, 3, 4, 5)
KEY_DIGITS: DigitCount = 4  # what costs little perplexity, with q and k rotated: docs/whole_token.md
VALUE_DIGITS: DigitCount = 3


class DigitStage(NamedTuple):
    """A gated addition behind every column, with a register: ``y = x + (x << shift)`` for ``planes``, else ``x``."""

    shift: int
    planes: tuple[int, ...]

    def factor(self, plane: int) -> int:
        """What it multiplies a total of ``plane`` with."""
        return 1 + (1 << self.shift) if plane in self.planes else 1


DIGIT_STAGES = (DigitStage(1, (1, 3)), DigitStage(3, (2, 3, 4)), DigitStage(3, (4,)))  # 3**plane of planes 0 to 4


class GemmFormat(NamedTuple):
    """Formats of one GEMM. ``sums`` arrays read the planes and how they come; the rest is the requantizer's.

    ``result = clip(round_half_even((sum * multiplier + sum_of_x * offset) / 2**shift), -127, 127)``
    """

    planes: int = 1  # ternary planes, streamed sequentially over the same activations, added up
    row_scales: bool = False  # multiplier and offset of each output come with its weights; else the two below
    multiplier: int = 1
    offset: int = 0
    shift: int = 0
    digits: bool = False  # plane p weighs 3**p, the digits of balanced-ternary numbers; else every plane weighs 1
    by_lanes: bool = False  # weight tiles stream lane by lane, each with its columns; else column by column

    @property
    def plane_weights(self) -> tuple[int, ...]:
        """What each plane's sums are multiplied with."""
        return tuple(3**plane if self.digits else 1 for plane in range(self.planes))


def planes_weight(planes: int, digits: bool) -> int:
    """The largest magnitude of a weight of so many planes: their number, or (3**planes - 1) / 2 of digits."""
    return (3**planes - 1) // 2 if digits else planes


def digit_vector_bytes(elements: int, digits: int, lanes: int) -> int:
    """Bytes in memory of the digits of one K or V vector: one token and head, its scale not counted.

    Plane by plane a row of trits, five in a byte whatever the array's packing; ``lanes`` elements meet the array
    together, and their trits of a plane start with a byte of their own, so that a tile is made of whole bytes.
    """
    whole, rest = divmod(elements, lanes)
    return digits * (whole * packed_bytes(lanes, "5in8") + packed_bytes(rest, "5in8"))


PLAIN = GemmFormat()
