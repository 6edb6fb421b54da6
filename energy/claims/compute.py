"""Energy of one multiply-accumulate, ternary against its rivals: by recipe, node, lane or tree, accumulator width."""

from typing import Literal

from energy.costs.gates import GateSource
from energy.costs.operators import mac_cost, paper_recipes
from energy.costs.sources import OperatorSource, load_source, source_names
from energy.costs.tables import Kind
from hw.arithmetics import Mac
from hw.config import ArrayConfig
from hw.document import Record

__all__ = ["ComputeRow", "compute_rows"]

Design = Literal["operators alone", "lane", "tree"]

_RIVALS: tuple[Mac, ...] = ("int8", "w4a8", "w2a8", "fp16")
_FORMATS = {"int8": "int8", "w4a8": "int4", "w2a8": "int2", "fp16": "fp16-fp32"}
_WIDTHS = (20, 32)  # bits: of accumulators that trees of every integer format were measured with
_ROWS, _COLS = 16, 4  # of the trees that were measured


class ComputeRow(Record):
    """One comparison. ``saved``: 1 - ternary / rival, of typical energies in J per multiply-accumulate."""

    costs: str
    node_nm: float
    kind: Kind
    design: Design
    accumulator_bits: int | None  # None: as wide as the recipe says
    rival: str
    recipe: str
    ternary_j: float
    rival_j: float

    @property
    def saved(self) -> float:
        """Share of the rival's energy."""
        return 1 - self.ternary_j / self.rival_j


def compute_rows() -> list[ComputeRow]:
    """Every cost source but FPGAs: operators as papers add them up, the same in lanes and trees, and gates."""
    rows = []
    for source in map(load_source, source_names()):
        if isinstance(source, GateSource):
            rows += _of_gates(source)
        elif isinstance(source, OperatorSource):
            rows += _of_operators(source)
    return rows


def _of_operators(source: OperatorSource) -> list[ComputeRow]:
    table = source.table

    def row(design: Design, bits: int | None, rival: str, recipe: str, ternary_j: float, rival_j: float) -> ComputeRow:
        return ComputeRow(
            costs=table.name,
            node_nm=table.node_nm,
            kind="published" if design == "operators alone" else "derived",
            design=design,
            accumulator_bits=bits,
            rival=rival,
            recipe=recipe,
            ternary_j=ternary_j,
            rival_j=rival_j,
        )

    rows = [
        row("operators alone", None, "fp16" if "FP16" in one.name else "int8", one.name, one.ternary_j, one.baseline_j)
        for one in paper_recipes(table)
    ]
    for design, organisation in (("lane", "systolic"), ("tree", "tree")):
        for bits in _WIDTHS:
            array = ArrayConfig(
                name="", organisation=organisation, rows=_ROWS, cols=_COLS, accumulator_bits=bits, token_tile=_ROWS
            )
            own = mac_cost(array, table)
            for rival in _RIVALS:
                other = mac_cost(array.model_copy(update={"mac": rival}), table)
                recipe = f"{own.recipe} against {other.recipe}"
                rows.append(row(design, bits, rival, recipe, own.energy.typical, other.energy.typical))
    return rows


def _of_gates(source: GateSource) -> list[ComputeRow]:
    rows = []
    for design in ("lane", "tree"):
        for bits in _WIDTHS:
            own = source.design_energy_j(design, "ternary", bits)
            for rival in _RIVALS:
                other = source.design_energy_j(design, _FORMATS[rival], None if rival == "fp16" else bits)
                if own is None or other is None:
                    continue
                rows.append(
                    ComputeRow(
                        costs=source.name,
                        node_nm=source.node_nm,
                        kind="measured",
                        design=design,
                        accumulator_bits=bits,
                        rival=rival,
                        recipe=f"ternary {design} against {_FORMATS[rival]}, registers and clock pins included",
                        ternary_j=own,
                        rival_j=other,
                    )
                )
    return rows
