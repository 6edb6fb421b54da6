"""An FPGA as a cost source: static power of a part, energy per table, flip-flop, DSP and block RAM and clock.

  energy of a lane = tables x table + flip-flops x flip-flop + DSPs x DSP, per clock in which it works

Figures of an element hold its part of routing and of the clock network, so that wires and clock are no parts of their
own. What our designs take was synthesized (docs/results, told again in ``energy/tech/area/tables.yaml``).
"""

from functools import cache
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from energy.costs.gates import GateSource, Work
from energy.costs.operators import MacCost
from energy.costs.tables import TECH_FOLDER, ZERO, Cost, Share, SramChoice
from energy.costs.vector import OPERATIONS, kind_of
from hw.arithmetics import VectorMac
from hw.artifact import sha256_json
from hw.config import ArrayConfig
from hw.document import Record, load_document, names_in
from hw.errors import InputError, did_you_mean
from sim.counts import ActionCounts

__all__ = ["FPGA_PREFIX", "Elements", "FpgaPart", "FpgaSource", "fpga_names", "load_fpga"]

FPGA_PREFIX = "fpga:"

_FOLDER = TECH_FOLDER / "fpga"
_FEMTO, _PICO = 1e-15, 1e-12
_TABLE_BITS = 1.0  # an adder's bit takes a table

Count = Annotated[int, Field(ge=1)]


class FpgaPart(Record):
    """One part of a family: what it has, and its power at rest."""

    tables: Count
    flip_flops: Count
    block_rams: Count
    dsps: Count
    static_w: Share


class FpgaTable(Record):
    """One family."""

    file_schema: ClassVar[str | None] = "tritforge.fpga-costs.1"

    name: str
    inputs: Annotated[int, Field(ge=4, le=6)]
    source: str
    table_fj: Share
    flip_flop_fj: Share
    dsp_pj: Share
    block_ram: str  # SRAM table
    block_ram_spread: Share
    clock_hz: Share
    parts: dict[str, FpgaPart]


class _Counts(Record):
    """What parts of a core take on tables of four or of six inputs."""

    lane_tables: Share
    lane_flip_flops: Share
    control_tables: Share
    control_flip_flops: Share
    vector_factor: Share
    ram_bits: Count
    ram_width: Count


class _Rival(Record):
    """A lane of another arithmetic."""

    dsps: Share
    tables: Share

    @property
    def elements(self) -> "Elements":
        """A flip-flop beside every table."""
        return Elements(self.tables.ends, self.tables.ends, self.dsps.ends)


class TableCounts(Record):
    """All of these."""

    file_schema: ClassVar[str | None] = "tritforge.table-counts.1"

    name: str
    note: str
    inputs4: _Counts
    inputs6: _Counts
    rivals: dict[str, _Rival]
    vector: dict[str, tuple[int, int, int, int]]


class Elements(NamedTuple):
    """Elements of an FPGA, low / typical / high."""

    tables: Cost = ZERO
    flip_flops: Cost = ZERO
    dsps: Cost = ZERO
    block_rams: Cost = ZERO

    def scaled(self, factor: float) -> "Elements":
        """So many of them."""
        return Elements(*(cost.scaled(factor) for cost in self))

    def __add__(self, other: "Elements") -> "Elements":  # type: ignore[override]
        """Both."""
        return Elements(*(a + b for a, b in zip(self, other, strict=True)))


@cache
def table_counts() -> TableCounts:
    """What our designs take."""
    return load_document(TECH_FOLDER / "area" / "tables.yaml", TableCounts)


def fpga_names() -> list[str]:
    """Families that ship with the project."""
    return names_in(_FOLDER)


@cache
def load_fpga(name: str) -> "FpgaSource":
    """A family by name.

    Raises:
        InputError: unknown name (the known ones are listed).
    """
    if name not in fpga_names():
        meant = did_you_mean(name, fpga_names())
        raise InputError(f"costs fpga:FAMILY must be one of {', '.join(fpga_names())}, not {name!r}{meant}")
    return FpgaSource(load_document(_FOLDER / f"{name}.yaml", FpgaTable))


class FpgaSource:
    """Costs of one family of FPGAs."""

    def __init__(self, table: FpgaTable) -> None:
        self.table = table
        self.name = FPGA_PREFIX + table.name
        self.source = table.source
        spread = table.block_ram_spread
        self.sram = SramChoice(
            tables={"bram": table.block_ram}, factor=1.0, leakage_factor=1.0, cycle_factor=1.0, spread=spread,
            kind="derived", source=spread.source,
        )  # fmt: skip
        self.counts: _Counts = getattr(table_counts(), f"inputs{table.inputs}")

    def clocked(self, array: ArrayConfig) -> ArrayConfig:
        """At most at the clock that the family reaches."""
        return array.model_copy(update={"clock_hz": min(array.clock_hz, self.table.clock_hz.typical)})

    def energy(self, elements: Elements) -> Cost:
        """J of one clock of ``elements``, block RAM aside."""
        table, ends = self.table, []
        for end in ("low", "typical", "high"):
            logic = getattr(elements.tables, end) * getattr(table.table_fj, end)
            logic += getattr(elements.flip_flops, end) * getattr(table.flip_flop_fj, end)
            ends.append(logic * _FEMTO + getattr(elements.dsps, end) * getattr(table.dsp_pj, end) * _PICO)
        return Cost(*ends)

    def lane(self, array: ArrayConfig) -> Elements:
        """One lane of the array with its weight; a lane of a systolic grid is taken for one of a tree."""
        own = Elements(self.counts.lane_tables.ends, self.counts.lane_flip_flops.ends)
        if array.arithmetic.stores_trits:
            return own
        return table_counts().rivals[array.mac].elements + Elements(flip_flops=own.flip_flops)

    def block(self, name: str) -> Elements:
        """A block of the vector unit."""
        tables, flip_flops, dsps, rams = table_counts().vector[name]
        factor = self.counts.vector_factor.ends
        return Elements(factor.scaled(tables), Cost.exact(flip_flops), Cost.exact(dsps), Cost.exact(rams))

    @property
    def vector_lane(self) -> Elements:
        """Low: one product with a rounding; typical: a datapath and two tables of functions, shared by two lanes."""
        datapath, simplest = self.block("accumulate") + self.block("exponential"), self.block("norm")
        high = sum(
            (self.block(name).scaled(1 / work.operations) for work in OPERATIONS.values() for name in work.blocks),
            Elements(),
        )
        rams = Cost(0.5, 1.0, 2.0)  # exponential and sigmoid in two ports each, or in tables, or one each
        ends = zip(simplest, datapath, high, strict=True)
        found = Elements(*(Cost(a.low, b.typical, max(b.high, c.high)) for a, b, c in ends))
        return found._replace(block_rams=rams)

    def mac(self, array: ArrayConfig) -> MacCost:
        """A lane's elements for a clock."""
        lane = self.lane(array)
        recipe = f"{lane.tables.typical:g} tables, {lane.flip_flops.typical:g} flip-flops, {lane.dsps.typical:g} DSPs"
        return MacCost(self.energy(lane), f"{recipe} per lane, {self.name}; routing and clock included")

    def array_energy(self, array: ArrayConfig, counts: ActionCounts) -> Cost:
        """All multiply-accumulates, at the tools' default activity."""
        return self.mac(array).energy.scaled(counts.array_macs)

    def clock_share(self, array: ArrayConfig) -> float | None:
        """Elements hold their part of the clock."""
        return None

    def vector_mac(self, mac: VectorMac) -> Cost:
        """A lane of that arithmetic."""
        return self.energy(table_counts().rivals[mac].elements)

    def reduction(self, array: ArrayConfig) -> Cost:
        """An adder and its register, a table a bit."""
        bits = Cost.exact(array.accumulator_bits * _TABLE_BITS)
        return self.energy(Elements(bits, bits))

    def element(self, op: str, array: ArrayConfig) -> Cost:
        """Its share of the block that does the whole element."""
        work = OPERATIONS[kind_of(op)]
        return sum((self.energy(self.block(name)) for name in work.blocks), ZERO).scaled(1 / work.operations)

    def scale(self, array: ArrayConfig) -> Cost:
        """The dequantizer."""
        return self.energy(self.block("dequantize"))

    def vector_recipe(self, array: ArrayConfig) -> str:
        """The blocks."""
        return f"integer blocks synthesized for FPGAs, {self.name}"

    def placed(self, array: ArrayConfig, counts: ActionCounts, work: Work) -> tuple[Cost, Cost]:
        """Elements hold their part of routing and clock."""
        return ZERO, ZERO

    def placed_recipe(self, array: ArrayConfig) -> str:
        """Where they are."""
        return "in the figures of tables and flip-flops, which hold signals and clocks"

    def core(self, array: ArrayConfig) -> dict[str, Elements]:
        """Elements of one core by part, its buffers of weights and activations aside."""
        control = Elements(self.counts.control_tables.ends, self.counts.control_flip_flops.ends)
        lane = self.vector_lane
        if array.arithmetic.dense_mac is None:
            lane = lane + table_counts().rivals["int8"].elements
        sums = 0.0 if array.structure.outputs_stationary else array.accumulator_buffer_bits
        return {
            "array": self.lane(array).scaled(array.lanes),
            "accumulators": self.ram(sums, array.cols * array.accumulator_bits),
            "vector": lane.scaled(array.all_vector_lanes),
            "sequencing": control,
        }

    def buffers(self, array: ArrayConfig) -> Elements:
        """Weight and activation buffer."""
        weights = self.ram(8.0 * array.weight_buffer_bytes, array.weight_bus_bits)
        return weights + self.ram(8.0 * array.activation_buffer_bytes, array.rows * array.activation_bits)

    def _total(self, array: ArrayConfig, cores: int) -> Elements:
        return sum(self.core(array).values(), Elements()).scaled(cores) + self.buffers(array)

    def ram(self, bits: float, width: float) -> Elements:
        """Block RAMs of so many bits that give ``width`` of them in a clock; high: half filled."""
        if not bits:
            return Elements()
        count = max(bits / self.counts.ram_bits, width / self.counts.ram_width)
        return Elements(block_rams=Cost(bits / self.counts.ram_bits, count, 2 * count))

    def part_for(self, array: ArrayConfig, cores: int = 1) -> tuple[str, FpgaPart, bool]:
        """The smallest part that holds the machine, or the largest, and whether it does."""
        total = self._total(array, cores)
        parts = sorted(self.table.parts.items(), key=lambda item: item[1].tables)
        for name, part in parts:
            if all(getattr(total, what).typical <= getattr(part, what) for what in Elements._fields):
                return name, part, True
        return *parts[-1], False

    def logic_leakage_w(self, array: ArrayConfig, cores: int = 1) -> Cost:
        """Static power of the part, W."""
        return self.part_for(array, cores)[1].static_w.ends

    def notes(self, array: ArrayConfig, cores: int) -> list[str]:
        """The part, or that there is none, and the clock."""
        name, part, fits = self.part_for(array, cores)
        total = self._total(array, cores)
        mhz = array.clock_hz / 1e6
        if fits:
            return [f"{self.name}: array {array.name!r} on {name} at {mhz:.0f} MHz"]
        wanted = ", ".join(
            f"{getattr(total, what).typical:,.0f} of {getattr(part, what):,} {what.replace('_', ' ')}"
            for what in Elements._fields
            if getattr(total, what).typical > getattr(part, what)
        )
        return [f"{self.name}: array {array.name!r} at {mhz:.0f} MHz is larger than {name}, the largest part: {wanted}"]

    def area_basis(self) -> tuple[GateSource, float] | None:
        """Elements have no area in mm2."""
        return None

    def leakage_recipe(self) -> str:
        """Of the whole part, whatever of it is used."""
        return "static power of the smallest part that holds the machine"

    def sha256(self) -> str:
        """Hash of both tables."""
        return sha256_json([self.table.model_dump(mode="json"), table_counts().model_dump(mode="json")])
