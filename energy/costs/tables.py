"""Cost tables: what one action costs, low / typical / high, with a source and a kind on every number. SI inside."""

import math
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from hw.config import SramCell
from hw.document import Record, load_document, load_named, names_in

__all__ = [
    "EQUAL",
    "TECH_FOLDER",
    "Cost",
    "HostTable",
    "Kind",
    "OpTable",
    "Share",
    "SramTable",
    "alike",
    "cost_names",
    "is_close",
    "load_costs",
    "load_host",
    "load_sram",
]

TECH_FOLDER = Path(__file__).parents[1] / "tech"
_HOST = TECH_FOLDER / "host" / "processor.yaml"

Kind = Literal["measured", "published", "derived", "assumed"]
OperatorName = Literal["int8_add", "int32_add", "int8_mul", "fp16_add", "fp32_add", "fp16_mul", "fp32_mul"]
Pico = Annotated[float, Field(ge=0)]

EQUAL = 1.005  # ratio of two figures that are equal

_PJ = 1e-12  # J per pJ
_MW = 1e-3  # W per mW


class Cost(NamedTuple):
    """A figure with its range. Unit: J, or W or mm2 where the name says so."""

    low: float
    typical: float
    high: float

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        """Sum of two ranges."""
        return Cost(self.low + other.low, self.typical + other.typical, self.high + other.high)

    def scaled(self, factor: float) -> "Cost":
        """The cost of ``factor`` actions."""
        return Cost(self.low * factor, self.typical * factor, self.high * factor)

    def times(self, factors: "Cost") -> "Cost":
        """Each end by that end of ``factors``."""
        return Cost(self.low * factors.low, self.typical * factors.typical, self.high * factors.high)

    @classmethod
    def exact(cls, value: float) -> "Cost":
        """A cost without a range."""
        return cls(value, value, value)


ZERO = Cost(0.0, 0.0, 0.0)


def alike(one: Cost, other: Cost, same_tables: bool) -> bool:
    """Whether two figures cannot be told apart, as their ranges go.

    Figures that the same tables price share their costs: what is dear for one is dear for the other, so that one is
    less where it is less at both ends. Figures of other tables are told apart only where their ranges do not overlap.
    Typical figures within half a per cent are equal.
    """
    if is_close(one.typical, other.typical):
        return True
    if same_tables:
        return (one.low - other.low) * (one.high - other.high) <= 0
    return one.low <= other.high and other.low <= one.high


def is_close(one: float, other: float) -> bool:
    """Whether two figures are equal within half a per cent."""
    return max(one, other) <= EQUAL * min(one, other) if min(one, other) > 0 else one == other


class Operator(Record):
    """Energy of one arithmetic operator in pJ."""

    value: Pico
    kind: Kind
    source: str = ""


class Spread(Record):
    """Factors from a typical figure to its low and high ends."""

    low: Annotated[float, Field(gt=0, le=1)]
    high: Annotated[float, Field(ge=1)]
    kind: Kind
    source: str


class Share(Record):
    """A ratio with its range."""

    low: float
    typical: float
    high: float
    kind: Kind
    source: str

    @property
    def ends(self) -> Cost:
        """Low, typical and high alone."""
        return Cost(self.low, self.typical, self.high)


class SramChoice(Record):
    """The SRAM tables that go with the operators, by cell type, and what another node makes of them."""

    tables: dict[SramCell, str]
    factor: Annotated[float, Field(gt=0)]  # on the tables' energies
    leakage_factor: Annotated[float, Field(gt=0)]  # on their leakage
    cycle_factor: Annotated[float, Field(gt=0)]  # on their cycle times
    spread: Share | None = None  # on energies, beside what banks and cell types differ by
    kind: Kind
    source: str


class AreaChoice(Record):
    """The cell library whose areas go with operators that have none."""

    library: str
    factor: Annotated[float, Field(gt=0)]  # on its areas, of logic and SRAM
    kind: Kind
    source: str


class OpTable(Record):
    """Energies of arithmetic operators at one node, and the SRAM that goes with them."""

    file_schema: ClassVar[str | None] = "tritforge.costs.1"

    name: str  # under which tables and messages show it
    kind: Kind  # of the operators' energies as a whole
    node_nm: float  # process node, nm
    source: str  # paper or report of the energies
    note: str  # what the energies leave out
    ops_pj: dict[OperatorName, Operator]  # operator -> energy of one operation in pJ, and its kind
    spread: Spread  # factors from typical energies to low and high ones
    sram: SramChoice  # the SRAM tables that go with the operators, and factors to this node
    logic_leakage_share: Share  # leakage of logic over its dynamic power at full use
    area: AreaChoice | None = None  # the cell library whose areas stand in; None: areas are not known

    def op(self, name: OperatorName) -> Cost:
        """Energy of one operator, J."""
        return self.ranged(self.ops_pj[name].value * _PJ)

    def ranged(self, typical_j: float) -> Cost:
        """``typical_j`` with the spread of this table."""
        return Cost(typical_j * self.spread.low, typical_j, typical_j * self.spread.high)

    def integer_add(self, bits: int) -> Cost:
        """Energy of an integer adder of ``bits`` bits, J: the line through the 8- and 32-bit figures (derived)."""
        add8, add32 = self.ops_pj["int8_add"].value, self.ops_pj["int32_add"].value
        return self.ranged((add8 + (add32 - add8) * (bits - 8) / 24) * _PJ)


class Figure(Record):
    """One number with its source."""

    value: Annotated[float, Field(gt=0)]
    kind: Kind
    source: str


class SramPoint(Record):
    """One array that was modelled; energies per access of ``word_bits``."""

    kib: Annotated[float, Field(gt=0)]
    read_pj: Pico
    write_pj: Pico
    leakage_mw: Pico
    cycle_ns: Annotated[float, Field(gt=0)]
    area_mm2: Annotated[float, Field(gt=0)]


class SramTable(Record):
    """Energies of SRAM arrays over capacity, for one cell type and node."""

    file_schema: ClassVar[str | None] = "tritforge.sram-costs.1"

    name: str
    kind: Kind
    source: str
    cell: str
    node_nm: float
    word_bits: int
    hot_leakage: Figure  # leakage of a hot chip over that of the points
    points: Annotated[list[SramPoint], Field(min_length=2)]

    def bit_energy_j(self, capacity_bytes: float, write: bool) -> float:
        """Energy per bit of an array of ``capacity_bytes``: power law through the two nearest points (derived)."""
        values = [(p.kib, p.write_pj if write else p.read_pj) for p in self.points]
        return _power_law(values, capacity_bytes / 1024) / self.word_bits * _PJ

    def leakage_w(self, capacity_bytes: float) -> float:
        """Leakage power of ``capacity_bytes``: proportional to the smallest array's (arrays are built from banks)."""
        first = self.points[0]
        return first.leakage_mw * _MW * capacity_bytes / 1024 / first.kib

    def area_mm2(self, capacity_bytes: float) -> float:
        """Area of one array of ``capacity_bytes``: power law between points, below the smallest in proportion."""
        if capacity_bytes < self.bank_bytes:
            return self.points[0].area_mm2 * capacity_bytes / self.bank_bytes
        return _power_law([(p.kib, p.area_mm2) for p in self.points], capacity_bytes / 1024)

    @property
    def bank_bytes(self) -> float:
        """Capacity of the bank from which buffers are built: the smallest array that was modelled."""
        return self.points[0].kib * 1024


class HostTable(Record):
    """What the host processor spends."""

    file_schema: ClassVar[str | None] = "tritforge.host-costs.1"

    name: str
    note: str
    operation_pj: Share
    link_pj_per_bit: Share

    @property
    def operation(self) -> Cost:
        """Energy of one element operation or multiply-accumulate, J."""
        return Cost(*(v * _PJ for v in (self.operation_pj.low, self.operation_pj.typical, self.operation_pj.high)))

    @property
    def link_bit(self) -> Cost:
        """Energy of one bit over its link, J."""
        link = self.link_pj_per_bit
        return Cost(*(v * _PJ for v in (link.low, link.typical, link.high)))


def cost_names() -> list[str]:
    """Names of the operator tables that ship with the project."""
    return names_in(TECH_FOLDER)


@cache
def load_costs(name: str) -> OpTable:
    """An operator table by name, or a ``.yaml`` file.

    Raises:
        InputError: unknown name (the known ones are listed), or a faulty file.
    """
    return load_named(name, TECH_FOLDER, OpTable, "costs")


@cache
def load_sram(name: str) -> SramTable:
    """An SRAM table by name, or a ``.yaml`` file."""
    return load_named(name, TECH_FOLDER / "sram", SramTable, "SRAM table")


@cache
def load_host() -> HostTable:
    """The processor's table."""
    return load_document(_HOST, HostTable)


def _power_law(points: list[tuple[float, float]], x: float) -> float:
    """Value at ``x`` of the power law through the two points that enclose it, or the two at the nearer end."""
    index = min(max(sum(x > px for px, _ in points) - 1, 0), len(points) - 2)
    (x0, y0), (x1, y1) = points[index], points[index + 1]
    return y0 * (x / x0) ** (math.log(y1 / y0) / math.log(x1 / x0))
