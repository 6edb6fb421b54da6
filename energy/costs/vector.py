"""The vector unit at its own formats: measured blocks of the integer gateware, per operation of the simulator.

A run counts elementary operations (``sim.trace.step``: five per gated element, three per normalised one); a block of
``hw.gateware.vector`` does a whole element per clock, so that an operation takes its share of the block. A lane of the
unit, which does one operation per clock, is one datapath with a 24 x 16 bit multiplier and the tables of two functions.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from energy.costs.tables import ZERO, Cost
from hw.artifact import read_artifact

__all__ = ["OPERATIONS", "BlockRow", "VectorUnit", "block_rows", "kind_of", "vector_unit"]

_RESULTS = Path(__file__).parents[2] / "hw" / "gates" / "results"
_SCHEMA, _VERSION = "tritforge.vector-gates", 1
_REFERENCE = "asap7"  # whose blocks stand for those of a library that has none


class _Work(NamedTuple):
    """Blocks that one element passes, and the operations that the simulator counts for what they take."""

    blocks: tuple[str, ...]
    operations: int


# Kind of work -> blocks and operations. An addition stands for whatever has no block: biases, gathers, sums.
OPERATIONS: dict[str, _Work] = {
    "norm": _Work(("square", "norm"), 3),
    "rope": _Work(("rotary",), 6),  # of two neighbouring elements
    "gate": _Work(("glu",), 5),
    "quantize": _Work(("quantize",), 2),
    "softmax": _Work(("score", "exponential"), 5),
    "rotate": _Work(("hadamard",), 24),  # 8 words, three additions each
    "addition": _Work(("residual",), 1),
    "scale": _Work(("dequantize",), 1),
}
_KINDS = {  # of ops by name; else by how the name begins or ends
    "rope": "rope",
    "gate": "gate",
    "softmax": "softmax",
    "routing": "softmax",
    "logit_softcap": "gate",
    "rotate": "rotate",
    "kv_cache_write": "quantize",
}
# Blocks of a lane: the datapath that all work may share, with the tables of exponential and sigmoid. A glu is a
# dequantizer with such a table.
_DATAPATH, _EXPONENTIAL = "accumulate", "exponential"
_SIGMOID, _SIGMOID_WITHOUT = "glu", "dequantize"
_SIMPLEST = "norm"  # a shift, one multiplier, a rounding


class BlockRow(BaseModel):
    """Fields of a measurement that the join needs; see ``hw.gates.vector_unit`` for all of them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    block: str
    latency: int
    multiplications: int
    cells: int
    area_um2: float
    critical_s: float
    filled_j: float
    sized_j: float
    clock_j: float
    leakage_w: float


class VectorUnit:
    """Costs of a vector unit of one cell library."""

    def __init__(self, rows: dict[str, BlockRow], recipe: str, energy_factor: float = 1.0, area_factor: float = 1.0):
        """``energy_factor`` and ``area_factor``: on the figures of the rows, where they are another library's."""
        self._rows = rows
        self.recipe = recipe
        self._energy_factor, self._area_factor = energy_factor, area_factor
        self._work: dict[str, Cost] = {}  # found before

    def operation(self, op: str) -> Cost:
        """One operation of the op called ``op``, J: operands whose rows fill them, from the lesser to the greater."""
        return self.work(kind_of(op))

    def work(self, kind: str) -> Cost:
        """One operation of a kind of work."""
        if kind not in self._work:
            blocks, operations = OPERATIONS[kind]
            total = sum((self._energy(self._rows[name]) for name in blocks), ZERO)
            self._work[kind] = total.scaled(self._energy_factor / operations)
        return self._work[kind]

    @property
    def clock_share(self) -> float:
        """Of a lane's energy, its registers' clock pins."""
        row = self._rows[_DATAPATH]
        return row.clock_j / row.filled_j

    @property
    def lane_area_um2(self) -> Cost:
        """Cells of a lane. Low: one multiplier with a fixed rounding; high: a block of its own for every kind of work.

        The blocks of the high end are as many as take an operation per clock and lane.
        """
        area = {name: row.area_um2 for name, row in self._rows.items()}
        shared = area[_DATAPATH] + self.tables_area_um2 / self._area_factor
        simplest = area[_SIMPLEST] + area[_EXPONENTIAL]
        own = sum(area[name] / work.operations for work in OPERATIONS.values() for name in work.blocks)
        return Cost(simplest, shared, max(own, shared)).scaled(self._area_factor)

    @property
    def tables_area_um2(self) -> float:
        """Cells of the tables of exponential and sigmoid, which a lane of floats needs as well."""
        area = {name: self._rows[name].area_um2 for name in (_EXPONENTIAL, _SIGMOID, _SIGMOID_WITHOUT)}
        return (area[_EXPONENTIAL] + area[_SIGMOID] - area[_SIGMOID_WITHOUT]) * self._area_factor

    @property
    def lane_leakage_w(self) -> float:
        """Leakage of a lane, W, in proportion to its area."""
        row = self._rows[_DATAPATH]
        return row.leakage_w / row.area_um2 * self.lane_area_um2.typical * self._energy_factor

    @staticmethod
    def _energy(row: BlockRow) -> Cost:
        return Cost(min(row.filled_j, row.sized_j), row.filled_j, max(row.filled_j, row.sized_j))


def block_rows(library: str) -> dict[str, BlockRow] | None:
    """The committed blocks of a library by name; None: it has none."""
    path = _RESULTS / f"vector-{library}.json"
    if not path.is_file():
        return None
    document = read_artifact(path, _SCHEMA, _VERSION, "measure again: tritforge gates --vector --lib FILE...")
    return {row["block"]: BlockRow.model_validate(row) for row in document["blocks"]}


@cache
def vector_unit(library: str, lane: tuple[float, float], reference_lane: tuple[float, float]) -> VectorUnit:
    """The vector unit of ``library``.

    One without blocks of its own takes the reference's, scaled as their int8 lanes are; ``lane`` and
    ``reference_lane``: energy in J and area in um2 of these.
    """
    rows = block_rows(library)
    if rows is not None:
        return VectorUnit(rows, f"integer blocks with {library} cells, 24 x 16 bit products")
    factors = [own / other for own, other in zip(lane, reference_lane, strict=True)]
    recipe = f"integer blocks with {_REFERENCE} cells x {factors[0]:.3g}, as int8 lanes of {library} and {_REFERENCE}"
    return VectorUnit(block_rows(_REFERENCE) or {}, recipe, *factors)


def kind_of(op: str) -> str:
    """Kind of work of an op."""
    if op in _KINDS:
        return _KINDS[op]
    if op.startswith("quantize"):
        return "quantize"
    if op.endswith("norm"):
        return "norm"
    return "addition"
