"""Shapes of what passes between the blocks of the core, each a function of the array."""

from amaranth import Shape, signed
from amaranth.lib import data
from amaranth.utils import bits_for

from hw.arithmetic.lane import ACTIVATION_BITS, TritCode
from hw.config import ArrayConfig
from hw.formats import LAST_PLANE_BITS, SCALE_BITS, SHIFT_BITS, SIZE_BITS

__all__ = [
    "Descriptor",
    "addends_layout",
    "beat_shape",
    "descriptor_layout",
    "exponents_layout",
    "format_fields",
    "negatives_layout",
    "number_by_lanes",
    "plane_shape",
    "results_layout",
    "scales_layout",
    "sums_layout",
    "tile_layout",
    "token_shape",
    "total_shape",
    "totals_layout",
    "trits_per_word",
    "vector_layout",
    "weighted_layout",
]

# One GEMM: m tokens, n outputs, k inputs.
Descriptor = data.StructLayout({"m": SIZE_BITS, "n": SIZE_BITS, "k": SIZE_BITS})


def format_fields(config: ArrayConfig) -> dict[str, Shape]:
    """Fields of a descriptor behind its sizes, see ``hw.formats.GemmFormat``; none for an array without options."""
    fields = {"second_plane": Shape(1)} if config.planes == 2 else {}
    if config.planes > 2:
        fields["last_plane"] = Shape(LAST_PLANE_BITS)
    if config.digits:
        fields["digits"] = Shape(1)
    if config.lane_loading:
        fields["by_lanes"] = Shape(1)
    if config.results == "int8":
        fields |= {"row_scales": Shape(1), "shift": Shape(SHIFT_BITS), "multiplier": signed(SCALE_BITS)}
        if config.sum_of_x:
            fields["offset"] = signed(SCALE_BITS)
    return fields


def descriptor_layout(config: ArrayConfig) -> data.StructLayout:
    """One GEMM: its sizes, and its formats where the array has a choice of them."""
    return data.StructLayout({name: SIZE_BITS for name in "mnk"} | format_fields(config))


def vector_layout(config: ArrayConfig) -> data.ArrayLayout:
    """One token's activations of one fold, int8 as raw bits."""
    return data.ArrayLayout(ACTIVATION_BITS, config.rows)


def trits_per_word(config: ArrayConfig) -> int:
    """Trits in one word of the weight bus."""
    return config.weight_bus_bits // 8 * {"2bit": 4, "5in8": 5}[config.packing]


def number_by_lanes(config: ArrayConfig, number: int) -> int:
    """Number of trit ``c * rows + r`` in a tile that streams lane by lane."""
    column, lane = divmod(number, config.rows)
    return lane * config.cols + column


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


def plane_shape(config: ArrayConfig) -> Shape:
    """Number of a plane; at least one bit, because Verilog has no empty signals."""
    return Shape(1) if config.planes <= 2 else Shape(LAST_PLANE_BITS)


def weighted_layout(config: ArrayConfig) -> data.ArrayLayout:
    """The totals of all columns, times the weight of their plane."""
    return data.ArrayLayout(signed(bits_for(128 * config.rows * config.largest_plane_weight, True)), config.cols)


def exponents_layout(config: ArrayConfig) -> data.ArrayLayout:
    """Per column, the exponent of a tile's power-of-two scale."""
    return data.ArrayLayout(config.group_exponent_bits, config.cols)


def addends_layout(config: ArrayConfig) -> data.ArrayLayout:
    """The totals of all columns, times the weight of their plane and shifted left by their exponents."""
    return data.ArrayLayout(signed(weighted_layout(config).elem_shape.width + config.max_exponent), config.cols)


def sums_layout(config: ArrayConfig) -> data.ArrayLayout:
    """One accumulator per column, signed, and behind them that of the activations where the array sums them."""
    return data.ArrayLayout(signed(config.accumulator_bits), config.cols + config.sum_of_x)


def scales_layout(config: ArrayConfig) -> data.ArrayLayout:
    """Per column, what the requantizer multiplies with."""
    names = ("multiplier", "offset") if config.sum_of_x else ("multiplier",)
    return data.ArrayLayout(data.StructLayout(dict.fromkeys(names, signed(SCALE_BITS))), config.cols)


def results_layout(config: ArrayConfig) -> data.ArrayLayout:
    """A result beat: the sums, or one int8 per column."""
    return data.ArrayLayout(signed(8), config.cols) if config.results == "int8" else sums_layout(config)


def token_shape(config: ArrayConfig) -> Shape:
    """Number of a token inside its token tile; at least one bit, because Verilog has no empty signals."""
    return Shape.cast(range(max(2, config.token_tile)))


def beat_shape(config: ArrayConfig) -> Shape:
    """Number of a bus word inside its tile and the scales behind it; at least one bit."""
    return Shape.cast(range(max(2, config.weight_beats + config.scale_beats)))
