"""``ArrayConfig``: the one description of an array that gateware, simulator and energy read."""

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hw.arithmetics import ARITHMETICS, Arithmetic, Mac
from hw.artifact import sha256_json
from hw.document import Record, load_named, names_in
from hw.errors import InputError, did_you_mean
from hw.formats import DIGIT_STAGES, MAX_PLANES, SCALE_BITS, Results, planes_weight
from hw.organisations import ORGANISATIONS, Organisation, OrganisationName
from hw.trit import TRIT_BITS, Packing

__all__ = [
    "ARRAY_FOLDER",
    "ArrayConfig",
    "RivalBus",
    "SramCell",
    "SramCells",
    "array_names",
    "load_array",
    "required_accumulator_bits",
]

ARRAY_FOLDER = Path(__file__).parent / "arrays"

RivalBus = Literal["same", "balanced"]
SramCell = Literal["hp", "lop", "lstp", "bram"]  # high performance, low operating, low standby power; of an FPGA
SramCells = Literal["auto", "hp", "lop", "lstp"]
Positive = Annotated[int, Field(ge=1)]

_REQUANTIZER_STAGES = 4  # operands, product, shift, rounding
_QUEUE_SLACK = 2  # result slots beyond the pipeline's depth, so that one result per cycle never waits for credits
_MAX_DIMENSION = 1024
_MAX_SPREAD = 4
_MAX_BUS_BITS = 1 << 24  # eight times a whole tile of the largest array
_MAX_REQUANTIZED_BITS = 32  # products of a multiplier then stay exact in int64, offsets included
_OPTIONS = ("planes", "digits", "lane_loading", "group_exponent_bits", "sum_of_x", "results")  # beyond plain sums
_CELLS = ("weight_cells", "activation_cells", "accumulator_cells")  # of energy and area alone: not hashed
_YOUNGER_FIELDS = (  # not hashed at their defaults: older arrays keep their hashes
    "digits", "lane_loading", "vector_units", "attention_lanes", "vector_bus_bits", "weight_port_bits",
    "activation_port_bits", "accumulator_port_bits", "spread_stages",
)  # fmt: skip


def required_accumulator_bits(k: int) -> int:
    """Two's-complement bits that hold every ``sum(t * q)`` over ``k`` lanes, |q| <= 127: no overflow possible."""
    return (127 * k).bit_length() + 1


class ArrayConfig(Record):
    """A dot-product array of ``rows`` lanes (along K) x ``cols`` outputs (along N), its buses, buffers and clock.

    The microarchitecture whose cycles these fields fix is described in ``docs/architecture.md``. Widths in bits,
    buffers in bytes, clock in Hz.
    """

    file_schema: ClassVar[str | None] = "tritforge.array.1"

    name: str  # under which tables, folders and messages show it
    description: str = ""  # a sentence on what the array is for
    organisation: OrganisationName = "tree"  # tree: weights rest, adder trees; systolic: outputs rest
    mac: Mac = "ternary"  # formats of weights and activations, and the arithmetic of a lane
    rows: Annotated[int, Field(ge=1, le=_MAX_DIMENSION)]  # lanes of a column, along K
    cols: Annotated[int, Field(ge=1, le=_MAX_DIMENSION)]  # columns, each an output along N
    packing: Packing = "2bit"  # of trits in memory and on the bus: 2 bits each, or five in a byte
    weight_bus_bits: Annotated[int, Field(ge=8, le=_MAX_BUS_BITS, multiple_of=8)] = 256  # of weights per cycle
    accumulator_bits: Annotated[int, Field(ge=9, le=48)] = 24  # of a sum over all tiles, two's complement
    token_tile: Positive = 64  # depth of the accumulator buffer
    chain_lanes: Positive = 1  # lanes that add in turn, one register each, before the tree; 1 = none
    adders_per_register: Positive = 2  # tree levels between pipeline registers
    spread_stages: Annotated[int, Field(ge=0, le=_MAX_SPREAD)] = 0  # registers on the way to columns that lie far apart
    clock_hz: Annotated[float, Field(gt=0)] = 1e9  # of the array, its buffers and the vector unit
    activation_buffer_bytes: Positive = 256 * 1024  # SRAM for int8 activations
    weight_buffer_bytes: Positive = 256 * 1024  # SRAM for weights on their way from memory: two tiles or more
    weight_cells: SramCells = "auto"  # cell type of the weight buffer; auto: least leakage that keeps up with the clock
    activation_cells: SramCells = "auto"  # the same of the activation buffer
    accumulator_cells: SramCells = "auto"  # the same of the accumulators
    planes: Annotated[int, Field(ge=1, le=MAX_PLANES)] = 1  # most ternary planes that one GEMM may add up
    digits: bool = False  # plane p of a GEMM may weigh 3**p: balanced-ternary digits, such as those of K and V
    lane_loading: bool = False  # weight tiles may stream lane by lane, as V is stored, and not only column by column
    group_exponent_bits: Annotated[int, Field(ge=0, le=3)] = 0  # of each tile's power-of-two scale per column; 0 = none
    sum_of_x: bool = False  # sum each token's activations, for methods with offsets
    results: Results = "sums"  # int8: a requantizer stands before the result queue
    vector_lanes: Positive = 64  # of a vector unit: multiply-accumulates or element operations per cycle
    vector_units: Positive = 1  # each works on tokens of its own
    attention_lanes: Annotated[int, Field(ge=0)] = 0  # of a unit for attention alone; 0: the vector units do it
    vector_bus_bits: Positive | None = None  # per cycle, of weights and K and V to vector unit; None: as they come
    weight_port_bits: Positive | None = None  # that the weight buffer reads and writes per cycle; None: all that come
    activation_port_bits: Positive | None = None  # the same of the activation buffer
    accumulator_port_bits: Positive | None = None  # the same of the accumulators of a core

    @model_validator(mode="after")
    def _can_work(self) -> "ArrayConfig":
        if not self.arithmetic.is_float and self.accumulator_bits < (need := self._sum_bits(self.rows)):
            raise ValueError(
                f"accumulator_bits must be at least {need} for a tile of {self.rows} lanes, not {self.accumulator_bits}"
            )
        if self.digits and self.planes == 1:
            raise ValueError(f"planes must be 2 to {MAX_PLANES} where digits is true, not 1")
        if self.digits and self.max_k_of(self.planes, digits=True) < self.rows:
            need = self._sum_bits(self.rows * planes_weight(self.planes, digits=True))
            raise ValueError(
                f"accumulator_bits must be at least {need} for a tile of {self.rows} lanes in {self.planes} digits, "
                f"not {self.accumulator_bits}"
            )
        if self.results == "int8" and self.accumulator_bits > _MAX_REQUANTIZED_BITS:
            raise ValueError(
                f"accumulator_bits must be at most {_MAX_REQUANTIZED_BITS} where results are int8, "
                f"not {self.accumulator_bits}"
            )
        if self.options and not (self.arithmetic.stores_trits and self.structure.has_options):
            raise ValueError(
                f"{self.options[0]} must keep its default but for mac ternary and organisation tree, "
                f"not {self.mac} and {self.organisation}"
            )
        if self.chain_lanes > self.rows:
            raise ValueError(f"chain_lanes must be at most rows = {self.rows}, not {self.chain_lanes}")
        if refusal := self.structure.refusal(self):
            raise ValueError(refusal)
        if self.weight_buffer_bytes < 2 * self.tile_bytes:
            raise ValueError(
                f"weight_buffer_bytes must hold two tiles (2 x {self.tile_bytes} bytes), not {self.weight_buffer_bytes}"
            )
        return self

    @property
    def structure(self) -> Organisation:
        """The organisation itself: its limits, cycle model, gateware and cost key."""
        return ORGANISATIONS[self.organisation]

    @property
    def arithmetic(self) -> Arithmetic:
        """The multiply-accumulate itself: its formats, limits and cost keys."""
        return ARITHMETICS[self.mac]

    @property
    def lanes(self) -> int:
        """Multiply-accumulates (or selected additions) per cycle at full use."""
        return self.rows * self.cols

    @property
    def all_vector_lanes(self) -> int:
        """Lanes of the vector units and of the attention unit."""
        return self.vector_lanes * self.vector_units + self.attention_lanes

    @property
    def activation_bits(self) -> int:
        """Bits of one activation on its stream."""
        return self.arithmetic.activation_bits

    @property
    def weight_bits(self) -> float:
        """Stored bits of one weight, padding to bytes not included."""
        return self.arithmetic.weight_bits(self.packing)

    @property
    def tile_bytes(self) -> int:
        """Bytes of one weight tile on its stream, before padding to bus words."""
        return math.ceil(self.lanes * self.weight_bits / 8)

    @property
    def options(self) -> list[str]:
        """Fields that make the core more than a maker of plain sums of one plane."""
        return [name for name in _OPTIONS if getattr(self, name) != type(self).model_fields[name].default]

    @property
    def trit_beats(self) -> int:
        """Bus words of the trits of one weight tile."""
        return math.ceil(self.tile_bytes * 8 / self.weight_bus_bits)

    @property
    def exponent_beats(self) -> int:
        """Bus words of a tile's power-of-two scales, which follow its trits."""
        return math.ceil(self.cols * self.group_exponent_bits / self.weight_bus_bits)

    @property
    def weight_beats(self) -> int:
        """Bus words of one weight tile: the cycles that loading it takes."""
        return self.trit_beats + self.exponent_beats

    @property
    def scale_bits(self) -> int:
        """Bits of one output's multiplier, and offset where the array sums activations."""
        return SCALE_BITS * (1 + self.sum_of_x) if self.results == "int8" else 0

    @property
    def scale_beats(self) -> int:
        """Bus words of a column tile's multipliers and offsets, which follow its last fold in GEMMs with row scales."""
        return math.ceil(self.cols * self.scale_bits / self.weight_bus_bits)

    @property
    def chains(self) -> int:
        """Chains of a column: the operands of its adder tree."""
        return math.ceil(self.rows / self.chain_lanes)

    @property
    def tree_levels(self) -> int:
        """Adder levels that reduce the chains of a column to one sum."""
        return (self.chains - 1).bit_length()

    @property
    def column_stages(self) -> int:
        """Registers of a column: one per lane of a chain, one per ``adders_per_register`` tree levels."""
        return self.chain_lanes + math.ceil(self.tree_levels / self.adders_per_register)

    @property
    def array_stages(self) -> int:
        """Registers from the vector register to the columns' totals: on the way to the columns, and theirs."""
        return self.spread_stages + self.column_stages

    @property
    def total_stages(self) -> int:
        """Registers from the vector register to the accumulator: array, plane weight, exponent."""
        return self.array_stages + self.digit_stages + (self.group_exponent_bits > 0)

    @property
    def digit_stages(self) -> int:
        """Registers that multiply a column's total by the weight of its digit plane: times 3, times 9, times 9."""
        return {2: 1, 3: 2, 4: 2, 5: 3}[self.planes] if self.digits else 0

    @property
    def digit_adder_bits(self) -> tuple[int, ...]:
        """Bits of each of these adders and registers: a column's total times the largest weight of a plane so far."""
        weights, bits = [1] * self.planes, []
        for stage in DIGIT_STAGES[: self.digit_stages]:
            weights = [weight * stage.factor(plane) for plane, weight in enumerate(weights)]
            bits.append((128 * self.rows * max(weights)).bit_length() + 1)
        return tuple(bits)

    @property
    def requantizer_stages(self) -> int:
        """Registers between accumulator and result queue; adding offsets takes one more."""
        return _REQUANTIZER_STAGES + self.sum_of_x if self.results == "int8" else 0

    @property
    def tiles_in_flight(self) -> int:
        """Slots for scales of tiles that have been loaded and whose sums have not left the accumulator.

        The shadow, the active one, and those in the pipeline, of which one enters every other edge at most because a
        tile with scales takes two beats or more.
        """
        return 2 + math.ceil((self.total_stages + 2) / 2)

    @property
    def pipeline_latency(self) -> int:
        """Edges from the one that accepts an activation vector to the first that can transfer its result."""
        return self.structure.pipeline_latency(self)

    @property
    def result_queue_depth(self) -> int:
        """Slots of the result queue: enough credits for a result every cycle."""
        return self.pipeline_latency + _QUEUE_SLACK + self.structure.results_at_once(self) - 1

    @property
    def accumulator_buffer_bits(self) -> int:
        """Partial sums of ``token_tile`` tokens x ``cols`` outputs."""
        return self.token_tile * self.cols * self.accumulator_bits

    @property
    def max_k(self) -> int:
        """The largest K, over all planes, whose sums cannot overflow the accumulator."""
        return self.arithmetic.max_k(self.accumulator_bits, self.max_exponent)

    @property
    def largest_plane_weight(self) -> int:
        """What the sums of a plane are multiplied with at most."""
        return 3 ** (self.planes - 1) if self.digits else 1

    def max_k_of(self, planes: int, digits: bool = False) -> int:
        """The largest K of a GEMM of so many planes whose sums cannot overflow the accumulator.

        ``|q| <= 127`` and ``|weight| <= planes_weight``, so ``K <= max_k // planes_weight``.
        """
        return self.max_k // planes_weight(planes, digits)

    @property
    def max_exponent(self) -> int:
        """The largest power-of-two scale of a tile's column: its sum is shifted left by so many bits."""
        return 2**self.group_exponent_bits - 1

    def _sum_bits(self, k: int) -> int:
        """Accumulator bits that hold every sum over ``k`` lanes with the largest power-of-two scale."""
        return self.arithmetic.sum_bits(k, self.max_exponent)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy that works out its own hash: pydantic's takes over what this array has cached."""
        copied = super().model_copy(update=update, deep=deep)
        for cached in self.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[cached]
        return copied

    @cached_property
    def sha256(self) -> str:
        """Hash of every field but the description: identifies the hardware."""
        unused = {name for name in _YOUNGER_FIELDS if getattr(self, name) == type(self).model_fields[name].default}
        return sha256_json(self.model_dump(exclude={"description", *_CELLS} | unused))

    @property
    def dense_array(self) -> "ArrayConfig":
        """This array as attention products and lm_head see it, whose operands are not weights of its format."""
        return self.model_copy(update={"mac": self.arithmetic.dense_mac or self.mac})

    def baseline(self, mac: Mac, bus: RivalBus = "same") -> "ArrayConfig":
        """The same lanes, buffers and clock with another multiply-accumulate and its own formats.

        ``bus``: the weight bus stays the same, or (balanced) takes a tile in as many cycles as this array's does. The
        weight buffer grows to two tiles where the wider format needs it.
        """
        fields = self.model_dump() | {"name": f"{self.name}/{mac}", "mac": mac, "description": f"{mac} baseline"}
        arithmetic = ARITHMETICS[mac]
        if not arithmetic.stores_trits:
            fields |= {name: type(self).model_fields[name].default for name in _OPTIONS}
        fields["accumulator_bits"] = arithmetic.baseline_accumulator_bits or self.accumulator_bits
        bits = arithmetic.weight_bits(self.packing)
        if bus == "balanced":
            fields["weight_bus_bits"] = 8 * math.ceil(self.weight_bus_bits * bits / self.weight_bits / 8)
        if arithmetic.dense_mac:
            bits = max(bits, ARITHMETICS[arithmetic.dense_mac].weight_bits(self.packing))
        wide_tile = math.ceil(self.lanes * bits / 8)
        fields["weight_buffer_bytes"] = max(self.weight_buffer_bytes, 2 * wide_tile)
        return ArrayConfig(**fields)

    def resized(self, rows: int, cols: int, widen_bus: bool = True) -> "ArrayConfig":
        """The same array with other rows and columns, and a weight buffer of two tiles at least, dense ones included.

        ``widen_bus``: a larger array's bus takes a tile in as many cycles as this one's; a smaller one keeps its bus,
        which must keep up with the memory.
        """
        fields = self.model_dump() | {"rows": rows, "cols": cols, "chain_lanes": min(self.chain_lanes, rows)}
        fields |= self.structure.fixed_fields(rows)
        times = max(1.0, rows * cols / self.lanes) if widen_bus else 1.0
        fields["weight_bus_bits"] = 8 * math.ceil(self.weight_bus_bits * times / 8)
        tile_bytes = math.ceil(rows * cols * max(self.weight_bits, self.dense_array.weight_bits) / 8)
        fields["weight_buffer_bytes"] = max(self.weight_buffer_bytes, 2 * tile_bytes)
        return ArrayConfig(**fields)

    def reorganised(self, organisation: OrganisationName) -> "ArrayConfig":
        """The same lanes, bus and buffers in another organisation."""
        fields = {"organisation": organisation, "name": f"{self.name}/{organisation}"}
        return ArrayConfig(**self.model_dump() | fields | ORGANISATIONS[organisation].fixed_fields(self.rows))

    def check_ternary(self) -> None:
        """Refuse an array that only the simulator knows.

        Raises:
            InputError: naming the array and its multiply-accumulate.
        """
        if not self.arithmetic.stores_trits:
            raise InputError(f"array {self.name!r}: mac must be ternary for gateware, not {self.mac}")

    def check_k(self, k: int, where: str, digits: int = 0) -> None:
        """Refuse a reduction length whose sums could overflow the accumulator; ``digits``: planes that weigh 3**p.

        Raises:
            InputError: naming ``where``, both widths and the way out.
        """
        weight = planes_weight(digits, digits=True) if digits else 1
        if not self.arithmetic.is_float and k > self.max_k // weight:
            raise InputError(
                f"{where}: K = {k}{f' in {digits} digits' if digits else ''} needs accumulator_bits of at least "
                f"{self._sum_bits(k * weight)}, not {self.accumulator_bits} of array {self.name!r} "
                f"(good for K <= {self.max_k // weight})"
            )


def array_names() -> list[str]:
    """Names of the arrays that ship with the project."""
    return names_in(ARRAY_FOLDER)


def load_array(name: str) -> ArrayConfig:
    """A shipped array by name, ``RxC`` for default fields with that size, or a ``.yaml`` file.

    Raises:
        InputError: unknown name, or a faulty file.
    """
    rows, cross, cols = name.partition("x")
    if name not in array_names() and cross and rows.isdigit() and cols.isdigit():
        if not (1 <= int(rows) <= _MAX_DIMENSION and 1 <= int(cols) <= _MAX_DIMENSION):
            raise InputError(f"array size must be 1x1 to {_MAX_DIMENSION}x{_MAX_DIMENSION}, not {name}")
        return sized(int(rows), int(cols))
    if name not in array_names() and not name.endswith((".yaml", ".yml")):
        raise InputError(
            f"array must be RxC (e.g. 8x8), one of {', '.join(array_names())}, or a .yaml file, "
            f"not {name!r}{did_you_mean(name, array_names())}"
        )
    return load_named(name, ARRAY_FOLDER, ArrayConfig, "array")


def sized(rows: int, cols: int) -> ArrayConfig:
    """An array of the given size with the default fields and a bus that loads a tile in about eight cycles."""
    bus_bits = max(8, 8 * math.ceil(rows * cols * TRIT_BITS["2bit"] / 8 / 8))
    return ArrayConfig(
        name=f"{rows}x{cols}",
        description=f"{rows} lanes x {cols} columns, default fields",
        rows=rows,
        cols=cols,
        weight_bus_bits=bus_bits,
        accumulator_bits=max(24, required_accumulator_bits(rows)),
    )
