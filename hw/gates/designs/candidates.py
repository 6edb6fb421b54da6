"""The designs that are measured: ternary and its baselines, as one lane and as an array of adder-tree columns.

Each design lists the structures and mapping recipes that compete; a measurement keeps the one that takes least energy,
so that no baseline stands for a badly chosen multiplier, adder or register placement.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from amaranth.back import rtlil
from amaranth.lib import wiring

from hw.errors import InputError
from hw.gates.designs.array import ColumnArray, array_rtlil
from hw.gates.designs.columns import CoreColumn, IntegerColumn, TernaryColumn, TwoBitColumn
from hw.gates.designs.float_columns import FloatColumn, FloatLane
from hw.gates.designs.floats import BF16, FP16, FP32, FloatFormat
from hw.gates.designs.lanes import IntegerLane, TernaryLane
from hw.gates.flow.cells import Library
from hw.gates.flow.technology_mapping import Recipe, has_adder_cell

__all__ = ["CORE", "FORMATS", "Candidate", "Design", "candidates", "operand_kind"]

Organisation = Literal["lane", "tree"]
Chain = Literal["ripple", "brent-kung"]

_FLOATS: dict[str, tuple[FloatFormat, FloatFormat]] = {
    "fp16-fp32": (FP16, FP32),
    "fp16-fp16": (FP16, FP16),
    "bf16-fp32": (BF16, FP32),
}
FORMATS = ("ternary", "int2", "int4", "int8", *_FLOATS)
CORE = "core"  # the ternary column of the core itself; ``ternary`` is the best structure of a stand-alone one
_WEIGHT_BITS = {"int2": 2, "int4": 4, "int8": 8}


@dataclass(frozen=True)
class Design:
    """What is computed: format, accumulator width (of integers), and the size, 1 x 1 for a lane."""

    organisation: Organisation
    format: str
    accumulator_bits: int
    rows: int = 1
    cols: int = 1

    @property
    def name(self) -> str:
        """A short name, unique within a table."""
        width = f"-{self.accumulator_bits}" if self.format in ("ternary", *_WEIGHT_BITS) else ""
        size = f" {self.rows}x{self.cols}" if self.organisation == "tree" else ""
        return f"{self.organisation} {self.format}{width}{size}"


@dataclass(frozen=True)
class Candidate:
    """One way to build a design: ``build`` makes a lane, or the column of an array of ``cols`` (0: a lane)."""

    label: str
    build: Callable[[], wiring.Component]
    recipe: Recipe
    cols: int

    def rtlil(self, component: wiring.Component) -> str:
        """RTLIL with top module ``top`` around what ``build`` made."""
        if self.cols:
            return array_rtlil(ColumnArray(component, self.cols))
        return rtlil.convert(component, name="top", emit_src=False)


def operand_kind(name: str) -> str | FloatFormat:
    """What the weights of a format are, for ``operands.synthetic``."""
    return "ternary" if name == CORE else _FLOATS[name][0] if name in _FLOATS else name


def candidates(design: Design, library: Library) -> list[Candidate]:
    """The structures that compete for a design in a library.

    Raises:
        InputError: an unknown format.
    """
    if design.format not in (*FORMATS, CORE) or (design.format == CORE and design.organisation != "tree"):
        raise InputError(f"format must be one of {', '.join(FORMATS)}, not {design.format!r}")
    tree = design.organisation == "tree"
    chains: tuple[Chain, ...] = ("ripple",)
    if design.format in _FLOATS:
        chains = ("brent-kung",) if tree else ("ripple", "brent-kung")
    build = _columns if tree else _lanes
    return [
        Candidate(
            label=", ".join([label, adder, *([chain] if len(chains) > 1 else [])]),
            build=make,
            recipe=Recipe(adder=chain, clock_gate=tree, adder_cells=cells),
            cols=design.cols if tree else 0,
        )
        for adder, cells in _adders(design, library)
        for chain in chains
        for label, make in build(design)
    ]


def _adders(design: Design, library: Library) -> list[tuple[str, bool]]:
    """How full adders are built.

    What abc makes of them is tried only where the library has no adder cell (it lost to adder cells in every lane of
    SKY130 and ASAP7), and in trees only for ternary and 2-bit ones: abc takes minutes for others.
    """
    if has_adder_cell(library):
        return [("adder cells", True)]
    mapped = [("adders by abc", False)] if design.organisation == "lane" or design.format in ("ternary", "int2") else []
    return [("xor and nand adders", True), *mapped]


def _lanes(design: Design) -> list[tuple[str, Callable[[], wiring.Component]]]:
    bits = design.accumulator_bits
    if design.format == "ternary":
        return [("one adder", lambda: TernaryLane(bits))]
    if design.format in _WEIGHT_BITS:
        weight = _WEIGHT_BITS[design.format]
        return [
            ("one stage", lambda: IntegerLane(weight, bits, pipelined=False)),
            ("product register", lambda: IntegerLane(weight, bits, pipelined=True)),
        ]
    return [("product register", lambda: FloatLane(*_FLOATS[design.format]))]


def _columns(design: Design) -> list[tuple[str, Callable[[], wiring.Component]]]:
    rows, bits = design.rows, design.accumulator_bits
    if design.format == CORE:
        return [("the core's", lambda: CoreColumn(rows, bits))]
    if design.format == "ternary":
        return [
            ("compressors", lambda: TernaryColumn(rows, bits, "compressors")),
            ("adders", lambda: TernaryColumn(rows, bits, "adders")),
        ]
    if design.format in _WEIGHT_BITS:
        weight = _WEIGHT_BITS[design.format]
        selected = [("selected multiples", lambda: TwoBitColumn(rows, bits))] if weight == 2 else []
        return [
            *selected,
            ("one compressor tree", lambda: IntegerColumn(rows, weight, bits, product_registers=False)),
            ("product registers", lambda: IntegerColumn(rows, weight, bits, product_registers=True)),
        ]
    operand, accumulator = _FLOATS[design.format]
    return [("registered distances", lambda: FloatColumn(rows, operand, accumulator, frozenset({"distance"})))]
