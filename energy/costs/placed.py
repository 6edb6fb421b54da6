"""What a placed block takes beyond its netlist: wires between cells and the distribution of the clock."""

import json
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

from energy.costs.tables import TECH_FOLDER, Cost, Share
from hw.arithmetics import Arithmetic
from hw.document import Record, load_document

__all__ = ["PlacedShares", "load_placed", "placed_shares"]

_RESULTS = Path(__file__).parents[2] / "hw" / "gates" / "results"


class PlacedTable(Record):
    """Shares that no netlist tells."""

    file_schema: ClassVar[str | None] = "tritforge.placed-shares.1"

    name: str
    note: str
    idle_clock: Share  # of the clock's power while nothing is multiplied
    published_clock: Share
    published_wires: Share


class PlacedShares(NamedTuple):
    """Of one arithmetic in one library: low, typical, high."""

    wires: Cost  # of the energy of logic and registers
    clock: Cost  # of the energy of clock pins


@cache
def load_placed() -> PlacedTable:
    """The shares that no netlist tells, and published ones beside."""
    return load_document(TECH_FOLDER / "area" / "placed.yaml", PlacedTable)


@cache
def _designs(library: str) -> dict[str, dict]:
    document = json.loads((_RESULTS / f"wires-{library}.json").read_text(encoding="utf-8"))
    return {row["design"].split()[1].split("-")[0]: row for row in document["designs"]}


def placed_shares(library: str, arithmetic: Arithmetic) -> PlacedShares:
    """Of the design that is nearest to ``arithmetic``: a ternary tree, an int8 tree, an FP16 lane."""
    return _shares(library, "ternary" if arithmetic.stores_trits else "fp16" if arithmetic.is_float else "int8")


@cache
def _shares(library: str, kind: str) -> PlacedShares:
    row = _designs(library)[kind]
    return PlacedShares(Cost(**row["wires_share"]), Cost(**row["clock_share"]))
