"""Shapes of what passes between the blocks of the core, each a function of the array."""

from amaranth import Shape, signed
from amaranth.lib import data
from amaranth.utils import bits_for

from hw.config import ArrayConfig
from hw.lane import ACTIVATION_BITS, TritCode

__all__ = [
    "SIZE_BITS",
    "Descriptor",
    "beat_shape",
    "negatives_layout",
    "sums_layout",
    "tile_layout",
    "token_shape",
    "total_shape",
    "totals_layout",
    "trits_per_word",
    "vector_layout",
]

SIZE_BITS = 24

# One GEMM: m tokens, n outputs, k inputs.
Descriptor = data.StructLayout({"m": SIZE_BITS, "n": SIZE_BITS, "k": SIZE_BITS})


def vector_layout(config: ArrayConfig) -> data.ArrayLayout:
    """One token's activations of one fold, int8 as raw bits."""
    return data.ArrayLayout(ACTIVATION_BITS, config.rows)


def trits_per_word(config: ArrayConfig) -> int:
    """Trits in one word of the weight bus."""
    return config.weight_bus_bits // 8 * {"2bit": 4, "5in8": 5}[config.packing]


def tile_layout(config: ArrayConfig) -> data.ArrayLayout:
    """A weight tile; trit ``(c, r)`` is number ``c * rows + r``."""
    return data.ArrayLayout(TritCode, config.lanes)


def negatives_layout(config: ArrayConfig) -> data.ArrayLayout:
    """Per column, the number of -1 trits of a tile."""
    return data.ArrayLayout(range(config.rows + 1), config.cols)


def total_shape(config: ArrayConfig) -> Shape:
    """One column's total: every sum of ``rows`` values of +-128."""
    return signed(bits_for(128 * config.rows, require_sign_bit=True))


def totals_layout(config: ArrayConfig) -> data.ArrayLayout:
    """The totals of all columns."""
    return data.ArrayLayout(total_shape(config), config.cols)


def sums_layout(config: ArrayConfig) -> data.ArrayLayout:
    """One accumulator per column, signed: a result beat."""
    return data.ArrayLayout(signed(config.accumulator_bits), config.cols)


def token_shape(config: ArrayConfig) -> Shape:
    """Number of a token inside its token tile; at least one bit, because Verilog has no empty signals."""
    return Shape.cast(range(max(2, config.token_tile)))


def beat_shape(config: ArrayConfig) -> Shape:
    """Number of a bus word inside its tile; at least one bit."""
    return Shape.cast(range(max(2, config.weight_beats)))
