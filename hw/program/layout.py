"""Where a layer's K and V lie, rows of a linear or table, and the fields of a quantization."""

import math
from typing import NamedTuple

import numpy as np

from hw.division import ceil_divide
from hw.program.machine import MachineConfig
from hw.program.sizes import Sizes
from hw.token.linear import LinearPart
from hw.token.scales import Scale, StoredScales, constant
from hw.token.table import Table
from hw.trit import TRITS_PER_BYTE

__all__ = ["EMBEDDINGS", "NOTHING", "Kept", "Piece", "quantizer", "rows_of", "table_chunk"]

EMBEDDINGS = ("rows", "tiles")  # where the embedding is read, see ``hw.program.compiler.compiled``
NOTHING = Scale(np.int64(0), np.int64(0))  # no factor


class Kept(NamedTuple):
    """Where K or V of one layer lie: per head ``jump`` memory words of digits and ``scale_jump`` of stored scales."""

    planes: int
    stride: int  # K: per column tile of tokens; V: per plane
    jump: int
    scale_jump: int
    per_block: int
    data: int = 0
    scales: int = 0

    @classmethod
    def of(cls, sizes: Sizes, machine: MachineConfig, planes: int, values: bool) -> "Kept":
        """Sizes for as many tokens as the context has."""
        d, tokens = sizes.head_dim, sizes.capacity
        rows, cols, tile = machine.array.rows, machine.array.cols, machine.tile_words
        if values:  # per channel tile and plane, the lanes of all tokens
            stride = tokens // rows * tile
            jump, per_block = ceil_divide(d, cols) * planes * stride, sizes.block // rows * tile
        else:  # per column tile of tokens, planes and folds of the channels
            stride = planes * ceil_divide(d, rows) * tile
            jump, per_block = tokens // cols * stride, sizes.block // cols * stride
        return cls(planes, stride, jump, tokens * 2 // machine.word_bytes, per_block)

    def data_of(self, head: int) -> int:
        """First memory word of a head's digits."""
        return self.data + head * self.jump

    def scales_of(self, head: int) -> int:
        """First memory word of a head's stored scales."""
        return self.scales + head * self.scale_jump


class Piece(NamedTuple):
    """Some outputs of a linear or table."""

    weights: np.ndarray
    digits: int
    scales: StoredScales


def rows_of(whole: LinearPart | Table, start: int, stop: int) -> Piece:
    """Outputs ``start`` to ``stop - 1`` of a linear's part or of a table."""
    scales = whole.constants.rows if isinstance(whole, LinearPart) else whole.rows
    scales = StoredScales(scales.mantissa[start:stop], scales.exponent[start:stop], scales.bias)
    return Piece(whole.weights[start:stop], whole.digits, scales)


def table_chunk(machine: MachineConfig, most: int) -> int:
    """Rows of a table's tiles that a GEMM takes, at most ``most`` where that can be.

    Whole column tiles whose beats are whole fives, where five lie in four memory words, and whole words of scales.
    """
    fives = TRITS_PER_BYTE[machine.weight_packing] if machine.unpacks else 1
    unit = math.lcm(fives * machine.array.cols, 2 * machine.lanes)
    return max(unit, most // unit * unit)


def quantizer(limit: int, factor: Scale = NOTHING) -> dict[str, int]:
    """Fields of a quantization."""
    inverse = constant(1 / limit)
    return {
        "limit": limit,
        "inverse_mantissa": int(inverse.mantissa),
        "inverse_exponent": int(inverse.exponent),
        "factor_mantissa": int(factor.mantissa),
        "factor_exponent": int(factor.exponent),
    }
