"""Shapes of what passes between the blocks of the whole-token machine."""

from amaranth import signed, unsigned
from amaranth.lib import data

from hw.program.instructions import FIELDS
from hw.program.machine import INSTRUCTION_BITS

__all__ = [
    "ADDRESS_BITS",
    "COUNT_BITS",
    "POSITION_BITS",
    "InstructionLayout",
    "RowState",
    "ScaleLayout",
    "log2",
    "request_layout",
    "write_layout",
]

ADDRESS_BITS, COUNT_BITS, POSITION_BITS = 28, 28, 20

InstructionLayout = data.FlexibleLayout(
    INSTRUCTION_BITS,
    {
        name: data.Field(signed(field.bits) if field.signed else unsigned(field.bits), field.low)
        for name, field in FIELDS.items()
    },
)

ScaleLayout = data.StructLayout({"mantissa": 16, "exponent": signed(10)})
RowState = data.StructLayout({"maximum": signed(17), "total": 32, "shift": 6})


def request_layout() -> data.StructLayout:
    """A burst of reads: the first memory word, and how many."""
    return data.StructLayout({"address": ADDRESS_BITS, "count": COUNT_BITS})


def write_layout(word_bits: int) -> data.StructLayout:
    """A write of some bytes of a memory word of so many bits."""
    return data.StructLayout({"address": ADDRESS_BITS, "data": word_bits, "mask": word_bits // 8})


def log2(size: int) -> int:
    """The exponent of a power of two."""
    return size.bit_length() - 1
