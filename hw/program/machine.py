"""``MachineConfig``: an array with vector lanes, memories and one memory port, which computes everything of a token.

One *memory word* is what the port carries per edge: a beat of packed trits for the array, or 32 bits for every vector
lane. One *scratch word* holds a number of 32 bits per lane, so that a vector of n numbers takes ``ceil(n / lanes)``.
"""

from functools import cached_property
from typing import Annotated, ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from hw.artifact import sha256_json
from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.document import Record
from hw.errors import InputError
from hw.formats import MAX_PLANES
from hw.token.formats import ACCUMULATOR_BITS, WORD_BITS
from hw.trit import TRITS_PER_BYTE, Packing

__all__ = ["INSTRUCTION_BITS", "LINE_INSTRUCTIONS", "MachineConfig", "machine_around"]

INSTRUCTION_BITS = 256
LINE_INSTRUCTIONS = 8  # fetched in one burst
_TRIT_BITS = 2  # packing 2bit: a token's trits of K and V start at a whole number of bits of a memory word
_ADDRESS_BITS = 28  # of a memory word, in an instruction
Depth = Annotated[int, Field(ge=16, le=1 << 16)]


class MachineConfig(Record):
    """The one description of a whole-token machine; ``docs/whole_token.md`` says what its cycles are."""

    file_schema: ClassVar[str | None] = "tritforge.machine.1"

    array: ArrayConfig
    scratch_words: Depth = Field(4096, description="words of scratch memory, 32 bits per vector lane each")
    activation_words: Depth = Field(1024, description="words of the activation buffer, an int8 per row of the array")
    row_registers: Annotated[int, Field(ge=2, le=64)] = Field(16, description="rows of attention that keep a state")
    weight_packing: Packing = Field(
        "2bit", description="packing of linears and table in memory; 5in8 (five trits a byte) has an unpacker"
    )
    instruction_lines: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="lines of 8 instructions that stay on chip; a power of two"
    )

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        array, lanes = self.array, self.lanes
        needs = {
            "packing 2bit": array.packing == "2bit",
            f"digits in {MAX_PLANES} planes": array.digits and array.planes == MAX_PLANES,
            "lane_loading": array.lane_loading,
            "plain sums": array.results == "sums" and not array.group_exponent_bits and not array.sum_of_x,
            f"accumulator_bits {ACCUMULATOR_BITS}": array.accumulator_bits == ACCUMULATOR_BITS,
            "mac ternary in a tree": array.arithmetic.stores_trits and not array.structure.outputs_stationary,
        }
        if missing := [need for need, there in needs.items() if not there]:
            raise ValueError(f"array {array.name!r} of a whole-token machine must have {missing[0]}")
        powers = {name: getattr(array, name) for name in ("rows", "cols", "weight_bus_bits")}
        for name, value in {**powers, "instruction_lines": self.instruction_lines}.items():
            if value & (value - 1):
                raise ValueError(f"{name} of a whole-token machine must be a power of two, not {value}")
        if min(array.rows, array.cols) < 4:
            raise ValueError(f"array of a whole-token machine must be 4x4 or larger, not {array.rows}x{array.cols}")
        if lanes < 2 or array.rows % lanes or array.cols % lanes:
            raise ValueError(
                f"weight_bus_bits must be 64 or more and at most 32 per row and per column ({array.rows} x "
                f"{array.cols}), not {array.weight_bus_bits}: each 32 bits are a vector lane"
            )
        if _TRIT_BITS * max(array.rows, array.cols) > array.weight_bus_bits:
            raise ValueError(
                f"weight_bus_bits must be at least {_TRIT_BITS * max(array.rows, array.cols)} so that it holds a "
                f"column and a lane of {array.rows} x {array.cols} trits, not {array.weight_bus_bits}"
            )
        if _TRIT_BITS * array.lanes < array.weight_bus_bits:
            raise ValueError(
                f"weight_bus_bits must be at most {_TRIT_BITS * array.lanes}, a whole tile of {array.rows} x "
                f"{array.cols} trits, not {array.weight_bus_bits}"
            )
        if array.weight_bus_bits > INSTRUCTION_BITS:
            raise ValueError(f"weight_bus_bits must be at most {INSTRUCTION_BITS}, not {array.weight_bus_bits}")
        if array.token_tile < self.row_registers:
            raise ValueError(
                f"row_registers must be at most token_tile = {array.token_tile} of the array, not {self.row_registers}"
            )
        return self

    @property
    def lanes(self) -> int:
        """Vector lanes: numbers of 32 bits in a memory word and in a scratch word."""
        return self.array.weight_bus_bits // WORD_BITS

    @property
    def word_bytes(self) -> int:
        """Bytes of a memory word."""
        return self.array.weight_bus_bits // 8

    @property
    def tile_words(self) -> int:
        """Memory words of a weight tile."""
        return self.array.trit_beats

    @property
    def unpacks(self) -> bool:
        """Whether weights in memory have another packing than the array's."""
        return self.weight_packing != self.array.packing

    def burst_words(self, tiles: int) -> int:
        """Memory words of a linear's or table's tiles: 4 for 5 beats in 5in8."""
        trits = tiles * self.tile_words * TRITS_PER_BYTE[self.array.packing]
        return ceil_divide(trits, TRITS_PER_BYTE[self.weight_packing])

    @property
    def instruction_words(self) -> int:
        """Memory words of an instruction."""
        return INSTRUCTION_BITS // self.array.weight_bus_bits

    @property
    def stretch(self) -> int:
        """Tokens by which the visible part of a block grows: whole columns of K and whole lanes of V."""
        return max(self.array.rows, self.array.cols)

    @property
    def own_options(self) -> dict[str, int]:
        """Fields beside array and packing that are not their defaults."""
        own, fields = self.model_dump(exclude={"array", "weight_packing"}), type(self).model_fields
        return {name: value for name, value in own.items() if value != fields[name].default}

    @property
    def max_bytes(self) -> int:
        """Bytes of memory that instructions can address."""
        return self.word_bytes << _ADDRESS_BITS

    def words(self, numbers: int) -> int:
        """Scratch words of a vector."""
        return ceil_divide(numbers, self.lanes)

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that a program depends on."""
        return sha256_json({"array": self.array.sha256, **self.model_dump(exclude={"array"})})


def machine_around(array: ArrayConfig, lanes: int | None = None, **fields: int | str) -> MachineConfig:
    """A machine with the rows, columns and clock of ``array``, which gets what a whole token needs.

    ``lanes``: of the vector unit, by default as few as the port needs to carry a column and a lane of trits.

    Raises:
        InputError: a size that no machine can have.
    """
    fewest = max(2, _TRIT_BITS * max(array.rows, array.cols) // WORD_BITS)
    lanes = fewest if lanes is None else lanes
    if lanes < 1:
        raise InputError(f"lanes must be at least 1, not {lanes}")
    changed = {
        "packing": "2bit",
        "planes": MAX_PLANES,
        "digits": True,
        "lane_loading": True,
        "accumulator_bits": ACCUMULATOR_BITS,
        "weight_bus_bits": WORD_BITS * lanes,
        "token_tile": fields.get("row_registers", 16),
        "weight_buffer_bytes": max(array.weight_buffer_bytes, array.rows * array.cols),
    }
    made = array.model_dump() | changed
    try:
        return MachineConfig(array=ArrayConfig(**made), **fields)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"array {array.name!r}: {reason}") from None
