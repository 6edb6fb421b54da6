"""Gate-level figures as a cost source: our own circuits, synthesized and simulated with an open cell library."""

from functools import cache, cached_property, lru_cache
from pathlib import Path
from statistics import linear_regression
from typing import ClassVar, NamedTuple, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from energy.costs.operators import MacCost
from energy.costs.placed import load_placed, placed_shares
from energy.costs.sram import sram_notes
from energy.costs.tables import TECH_FOLDER, ZERO, Cost, Share, SramChoice
from energy.costs.vector import VectorUnit, block_rows, vector_unit
from hw.arithmetics import ARITHMETICS, VectorMac
from hw.artifact import read_artifact, sha256_json
from hw.config import ArrayConfig
from hw.document import Record, load_document
from hw.errors import InputError
from sim.counts import ActionCounts
from sim.trace.statistics import RANDOM_TOGGLE_RATE

__all__ = ["GATES_PREFIX", "AreaTable", "GateSource", "Work", "gate_names", "load_area_table", "load_gates"]

GATES_PREFIX = "gates:"

_RESULTS = Path(__file__).parents[2] / "hw" / "gates" / "results"
_SCHEMA, _VERSION = "tritforge.gates", 1
_TYPICAL_ZEROS = 0.4  # between absmean rounding (0.31) and the threshold of least error (0.46)
_SUM_LANES = ("lane", ARITHMETICS["ternary"].gate_format, "synthetic")
_VECTOR = {name: ("lane", ARITHMETICS[name].gate_format) for name in get_args(VectorMac)}
_NEEDED = {("tree", arithmetic.gate_format) for arithmetic in ARITHMETICS.values()} | {*_VECTOR.values()}


class FlipFlop(Record):
    """The smallest flip-flop of a library without reset, or with one where there is none."""

    um2: float
    cell: str


class LibraryEntry(Record):
    """What goes with a cell library beside its gate figures."""

    node_nm: float
    sram: SramChoice
    sram_area_factor: Share  # on the SRAM table's areas
    flip_flop: FlipFlop


class AreaTable(Record):
    """From cells to placed logic, and figures of parts that the gates tables do not hold."""

    file_schema: ClassVar[str | None] = "tritforge.area-costs.1"

    name: str
    note: str
    utilization: Share
    vector_lane: Share
    requantizer: Share
    accumulator_ports: Share
    lane_loading: Share
    control_tables: int
    array_tables_per_lane: float
    control: Share


class LibraryTable(Record):
    """All cell libraries."""

    file_schema: ClassVar[str | None] = "tritforge.cell-libraries.1"

    libraries: dict[str, LibraryEntry]


class GateRow(BaseModel):
    """The fields of a measurement that the join needs; see ``hw.gates.measure.Measurement`` for all of them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    organisation: str
    format: str
    accumulator_bits: int
    rows: int
    cols: int
    operands: str
    zero_fraction: float | None
    dynamic_j: float
    clock_j: float  # of that, the registers' clock pins and gates
    leakage_w: float
    area_um2: float  # of the whole design


class Work(NamedTuple):
    """What a phase's netlists took, J, and for how long there was a clock."""

    array: Cost
    vector: Cost
    cycles: float
    cores: int


class SumBit(NamedTuple):
    """One bit of an adder that ends in a register: the slope of ternary lanes over the widths of their sums."""

    energy_j: float  # per sum
    leakage_w: float
    um2: float


class _Switching(NamedTuple):
    """Energy of one MAC: clock, the rest at no toggles, and what a toggle per bit adds. Unit: J."""

    clock_j: float
    idle_j: float
    toggle_j: float


class GateSource:
    """Costs of one cell library. A figure's range is that of the operands it was measured with."""

    def __init__(self, library: str, rows: list[GateRow], sram: SramChoice, vector: VectorUnit | None = None) -> None:
        self.name = GATES_PREFIX + library
        self.source = f"gate-level simulation with {library} cells, see docs/gates.md"
        self.sram = sram
        self.vector = vector  # None: lanes of the arrays' formats stand for it
        self._library = library
        self._rows = rows
        self._found: dict[tuple, list[GateRow]] = {}  # what was looked up before
        self._lines: dict[tuple, _Switching | None] = {}

    def mac(self, array: ArrayConfig) -> MacCost:
        """One MAC of an adder tree or of a grid's element, registers and clock pins included, with its operands."""
        rows = self._of(array)
        first = rows[0]
        width = "" if array.arithmetic.is_float else f"{first.accumulator_bits}-bit accumulator, "
        design = f"{first.format} {first.organisation} {first.rows}x{first.cols}"
        recipe = f"{design}, {width}registers and clock pins, {self.name}"
        return MacCost(_range([row.dynamic_j for row in rows]), recipe)

    def array_energy(self, array: ArrayConfig, counts: ActionCounts) -> Cost:
        """Clocks as measured; logic and registers as they switch at the operands' own toggle rate.

        Trees of trits were measured with several shares of zeros while weights rest, so with (1 - zeros) / 2 toggles
        per bit of random activations: the line through these figures gives those of any rate. Other designs keep the
        figures of the operands that they were measured with. The adders of digit planes are registered in every
        column's way, open or not, and are counted as open.
        """
        products = self._products(array, counts)
        if not array.digits:
            return products
        return products + Cost.exact(sum(array.digit_adder_bits) * counts.accumulations * self.sum_bit.energy_j)

    def _products(self, array: ArrayConfig, counts: ActionCounts) -> Cost:
        """The multiply-accumulates alone."""
        measured = self.mac(array).energy
        line = self._switching(array)
        if line is None:
            return measured.scaled(counts.array_macs)
        some = np.where(counts.array_macs, counts.array_macs, 1.0)  # where there are none, they take nothing
        toggles = RANDOM_TOGGLE_RATE * counts.array_macs_active / some
        typical = np.maximum(line.clock_j, line.clock_j + line.idle_j + line.toggle_j * toggles)
        ends = np.minimum(measured.low, typical), typical, np.maximum(measured.high, typical)
        return Cost(*ends).scaled(counts.array_macs)  # type: ignore[arg-type]

    def mac_parts(self, array: ArrayConfig) -> tuple[float, float]:
        """J of one MAC's clock pins, and of its logic and registers; the most representative row."""
        row = self._of(array)[0]
        return row.clock_j, row.dynamic_j - row.clock_j

    def clock_share(self, array: ArrayConfig) -> float | None:
        """Of the most representative row."""
        row = self._of(array)[0]
        return row.clock_j / row.dynamic_j

    def _switching(self, array: ArrayConfig) -> "_Switching | None":
        """Energy of a tree's MAC over its operands' toggle rate; None where too few shares of zeros were measured.

        Where the nearest accumulator has one figure only, the line of another width is scaled to pass through it.
        """
        if array.structure.outputs_stationary or not array.arithmetic.stores_trits:
            return None
        design = array.structure.gate_design, array.arithmetic.gate_format
        key = *design, array.accumulator_bits
        if key not in self._lines:
            self._lines[key] = self._line(design, self._of(array))
        return self._lines[key]

    def _line(self, design: tuple[str, str], rows: list[GateRow]) -> "_Switching | None":
        rows = [row for row in rows if row.operands == "synthetic"]
        synthetic = [row for row in self._rows if (row.organisation, row.format) == design]
        synthetic = [row for row in synthetic if row.operands == "synthetic" and row.zero_fraction is not None]
        widths = {
            row.accumulator_bits: [r for r in synthetic if r.accumulator_bits == row.accumulator_bits]
            for row in synthetic
        }
        curve = max(widths.values(), key=len, default=[])
        if len(curve) < 2 or not rows:
            return None
        slope, intercept = linear_regression(
            [_toggles(row) for row in curve], [row.dynamic_j - row.clock_j for row in curve]
        )
        here = rows[0]
        scale = (here.dynamic_j - here.clock_j) / (intercept + slope * _toggles(here))
        return _Switching(here.clock_j, scale * intercept, scale * slope)

    def vector_mac(self, mac: VectorMac) -> Cost:
        """A lane: int8 with the widest sum that was measured, or FP16 into FP32."""
        rows = self._nearest(*_VECTOR[mac], 32)
        return _range([row.dynamic_j for row in rows])

    def reduction(self, array: ArrayConfig) -> Cost:
        """At most a lane of the vector unit, whose adder is as wide and has a product before it."""
        return self.vector_mac(array.arithmetic.vector_mac)

    def element(self, op: str, array: ArrayConfig) -> Cost:
        """A measured block's share; of a float array, from an int8 to an FP16 -> FP32 lane, typically half of this."""
        if self.vector is not None and not array.arithmetic.is_float:
            return self.vector.operation(op)
        low, high = self.vector_mac("int8").typical, self.vector_mac("fp16").typical
        return Cost(min(low, high / 2), high / 2, high)

    def scale(self, array: ArrayConfig) -> Cost:
        """A measured block, both of its products; of a float array an FP16 -> FP32 lane."""
        if self.vector is not None and not array.arithmetic.is_float:
            return self.vector.work("scale")
        return self.vector_mac("fp16")

    def vector_recipe(self, array: ArrayConfig) -> str:
        """The blocks or lanes."""
        if self.vector is not None and not array.arithmetic.is_float:
            return f"{self.vector.recipe}; multiply-accumulates: int8 lanes, {self.name}"
        return f"FP16 -> FP32 lanes, {self.name}"

    def logic_leakage_w(self, array: ArrayConfig, cores: int = 1) -> Cost:
        """Leakage of every lane of the array, of its adders of digit planes, and of its vector unit, W."""
        lanes = self._of(array)[0].leakage_w * array.lanes
        if array.digits:
            lanes += sum(array.digit_adder_bits) * array.cols * self.sum_bit.leakage_w
        if self.vector is not None and not array.arithmetic.is_float:
            lanes += self.vector.lane_leakage_w * array.vector_lanes
        return Cost.exact(lanes * cores)

    def placed(self, array: ArrayConfig, counts: ActionCounts, work: Work) -> "tuple[Cost, Cost]":
        """Clock distribution, with the clock of idle cycles, and wires of array and vector unit."""
        if not self._has_wires:
            return ZERO, ZERO
        own, vector = (placed_shares(self._library, one) for one in (array.arithmetic, ARITHMETICS["int8"]))
        pins_j = self._of(array)[0].clock_j
        pins = Cost.exact(pins_j * counts.array_macs)
        vector_pins = work.vector.scaled(self.vector.clock_share if self.vector else 0.0)
        idle = load_placed().idle_clock
        slots = np.maximum(0.0, work.cycles * array.lanes * work.cores - counts.array_macs)
        resting = idle.ends.scaled(slots * pins_j)
        clock = (pins + resting).times(own.clock) + resting + vector_pins.times(vector.clock)
        wires = _less(work.array, pins).times(own.wires) + _less(work.vector, vector_pins).times(vector.wires)
        return clock, wires

    def placed_recipe(self, array: ArrayConfig) -> str:
        """Shares and their library."""
        if not self._has_wires:
            return "none: no library of this name was placed"
        wires, clock = placed_shares(self._library, array.arithmetic)
        return (
            f"wires {wires.typical:.0%} of logic and registers ({wires.low:.0%} to {wires.high:.0%}), clock "
            f"distribution {clock.typical:.0%} of clock pins ({clock.low:.0%} to {clock.high:.0%}) in {self._library}, "
            f"idle cycles {load_placed().idle_clock.typical:.0%} of the clock"
        )

    @property
    def _has_wires(self) -> bool:
        """Not of libraries that tests make up."""
        return self._library in _libraries()

    def area_basis(self) -> "tuple[GateSource, float] | None":
        """These cells as they are; None where nothing is known of their flip-flops and SRAM."""
        return (self, 1.0) if self._library in _libraries() else None

    def lane_area_um2(self, array: ArrayConfig) -> float:
        """Cell area of one lane of the design that stands for ``array``, um2."""
        return _lane_area(self._of(array)[0])

    def area_recipe(self, array: ArrayConfig) -> str:
        """The design whose area that is."""
        row = self._of(array)[0]
        width = "" if array.arithmetic.is_float else f", {row.accumulator_bits}-bit accumulator"
        return f"{row.format} {row.organisation} {row.rows}x{row.cols}{width}"

    def design_area_um2(self, organisation: str, format_: str, accumulator_bits: int) -> float:
        """Cell area per lane of a design by name, at the accumulator width nearest to ``accumulator_bits``, um2."""
        return _lane_area(self._nearest(organisation, format_, accumulator_bits)[0])

    def design_energy_j(self, organisation: str, format_: str, accumulator_bits: int | None) -> float | None:
        """Dynamic energy of one MAC of a design by name, J; None where it was not measured at that very width.

        With random operands, trits of which 40 % are zero: recorded ones were not measured in every format.
        ``accumulator_bits`` None: the only width there is.
        """
        rows = [row for row in self._rows if (row.organisation, row.format) == (organisation, format_)]
        rows = [row for row in rows if row.operands == "synthetic"]
        rows = [row for row in rows if accumulator_bits in (None, row.accumulator_bits)]
        return min(rows, key=_representative).dynamic_j if rows else None

    @property
    def node_nm(self) -> float:
        """Node of the library, nm."""
        return _libraries()[self._library].node_nm

    def digits_area_um2(self, array: ArrayConfig) -> float:
        """Cell area of the adders of digit planes behind all columns, um2."""
        return sum(array.digit_adder_bits) * array.cols * self.sum_bit.um2 if array.digits else 0.0

    @cached_property
    def sum_bit(self) -> SumBit:
        """One bit of a registered adder.

        Raises:
            InputError: lanes of fewer than two widths were measured.
        """
        rows = [row for row in self._rows if (row.organisation, row.format, row.operands) == _SUM_LANES]
        rows = [row for row in rows if row.zero_fraction == _TYPICAL_ZEROS]
        bits = [row.accumulator_bits for row in rows]
        if len(set(bits)) < 2:
            raise InputError(f"costs {self.name}: ternary lanes of two widths must be measured; run make gates")
        figures = ([getattr(row, name) for row in rows] for name in ("dynamic_j", "leakage_w", "area_um2"))
        return SumBit(*(linear_regression(bits, values).slope for values in figures))

    @property
    def flip_flop_um2(self) -> float:
        """Area of one flip-flop, um2."""
        return _libraries()[self._library].flip_flop.um2

    @property
    def sram_area_factor(self) -> Share:
        """From the SRAM table's node to this library's."""
        return _libraries()[self._library].sram_area_factor

    def leakage_recipe(self) -> str:
        """Measured, as the array's own cells leak."""
        return f"logic from the cells of {self._library}"

    def clocked(self, array: ArrayConfig) -> ArrayConfig:
        """As it is: periods of these cells are told with the designs (docs/gates.md)."""
        return array

    def notes(self, array: ArrayConfig, cores: int) -> list[str]:
        """Buffers that no cell type makes fast enough."""
        return sram_notes(array, self.sram)

    def sha256(self) -> str:
        """Hash of every row."""
        blocks = block_rows(self._library) or {}
        return sha256_json([row.model_dump() for row in [*self._rows, *blocks.values()]])

    def _of(self, array: ArrayConfig) -> list[GateRow]:
        """Rows of the design that stands for ``array``."""
        return self._nearest(array.structure.gate_design, array.arithmetic.gate_format, array.accumulator_bits)

    def _nearest(self, organisation: str, format_: str, accumulator_bits: int) -> list[GateRow]:
        """Rows of one design: the accumulator width nearest to the wanted one, real operands first."""
        key = organisation, format_, accumulator_bits
        if key not in self._found:
            self._found[key] = self._looked_up(*key)
        return self._found[key]

    def _looked_up(self, organisation: str, format_: str, accumulator_bits: int) -> list[GateRow]:
        rows = [row for row in self._rows if (row.organisation, row.format) == (organisation, format_)]
        if not rows:
            raise InputError(f"costs {self.name}: no {organisation} of {format_} was measured; run make gates")
        width = min((row.accumulator_bits for row in rows), key=lambda bits: (abs(bits - accumulator_bits), bits))
        same = [row for row in rows if row.accumulator_bits == width]
        return sorted(same, key=_representative)


def _less(cost: Cost, part: Cost) -> Cost:
    """``cost`` without a part of it."""
    return Cost(*(np.maximum(0.0, one - other) for one, other in zip(cost, part, strict=True)))


def gate_names() -> list[str]:
    """Cell libraries whose committed table prices every array and the vector unit; one in the making is not offered."""
    return [name for name in _libraries() if {(row.organisation, row.format) for row in _rows(name)} >= _NEEDED]


def load_gates(name: str) -> GateSource:
    """The committed results of one cell library.

    Raises:
        InputError: unknown library (the known ones are listed), or a damaged file.
    """
    if name not in gate_names():
        raise InputError(f"costs gates:LIBRARY must be one of {', '.join(gate_names()) or 'none yet'}, not {name!r}")
    lanes = [_int8_lane(library) for library in (name, "asap7")]
    return GateSource(name, _rows(name), _libraries()[name].sram, vector_unit(name, *lanes))


def _int8_lane(library: str) -> tuple[float, float]:
    """Energy in J and area in um2 of a library's int8 lane with a 32-bit sum."""
    row = next(row for row in _rows(library) if (row.organisation, row.format) == ("lane", "int8"))
    return row.dynamic_j, _lane_area(row)


@cache
def load_area_table() -> AreaTable:
    """From cells to placed logic."""
    return load_document(TECH_FOLDER / "area" / "logic.yaml", AreaTable)


def _lane_area(row: GateRow) -> float:
    return row.area_um2 / (row.rows * row.cols)


def _rows(name: str) -> list[GateRow]:
    path = _RESULTS / f"{name}.json"
    if not path.is_file():
        return []
    file = path.stat()
    return _rows_of(path, file.st_mtime_ns, file.st_size)


@lru_cache
def _rows_of(path: Path, *_: int) -> list[GateRow]:
    """Rows of a file, read again once it has changed."""
    document = read_artifact(path, _SCHEMA, _VERSION, "measure again: make gates")
    return [GateRow.model_validate(row) for row in document["rows"].values()]


@cache
def _libraries() -> dict[str, LibraryEntry]:
    return load_document(TECH_FOLDER / "gates" / "libraries.yaml", LibraryTable).libraries


def _toggles(row: GateRow) -> float:
    """Toggles per bit of random activations that trits of the row's zeros select while they rest."""
    zeros = _TYPICAL_ZEROS if row.zero_fraction is None else row.zero_fraction
    return (1 - zeros) / 2


def _representative(row: GateRow) -> tuple[bool, float]:
    """Sort key: recorded operands before synthetic ones, then zero fractions near that of ternarized weights."""
    zeros = _TYPICAL_ZEROS if row.zero_fraction is None else row.zero_fraction
    return row.operands == "synthetic", abs(zeros - _TYPICAL_ZEROS)


def _range(values: list[float]) -> Cost:
    """The first value, that of the most representative operands, between the least and the greatest."""
    return Cost(min(values), values[0], max(values))
