"""Measured figures of whole-token machines: result files, and their tables by block and as placed and routed."""

import json
from collections.abc import Sequence
from pathlib import Path

from hw.artifact import read_artifact
from hw.errors import InputError
from hw.pages import markdown_table
from hw.synthesis.families import FAMILIES

__all__ = [
    "BLOCKS_SCHEMA",
    "BLOCKS_VERSION",
    "MACHINE_RESULTS",
    "MACHINE_TABLES",
    "TABLES",
    "block_markdown",
    "machine_results",
    "read_machine",
    "routed_markdown",
]

BLOCKS_SCHEMA, BLOCKS_VERSION = "tritforge.machine-blocks", 1
MACHINE_RESULTS = Path("docs") / "results" / "machine"  # of tritforge machine; in gates/ those of tritforge gates
TABLES = {"ecp5": "LUT4", "xc7": "LUT6"}  # what a family's look-up tables are called

_GATES_SCHEMA, _GATES_VERSION = "tritforge.machine-gates", 1
_FIGURES = ("tables", "flip_flops", "block_rams", "dsps")
_ARRAY = "array: "  # blocks that are the core of `tritforge gates --format core`
_CELLS = {  # blocks of `tritforge gates --machine` in each block here; others are built around memories
    "readers, loader, unpacker of trits": ("reader", "loader", "unpacker of trits"),
    "vector: lanes": ("vector lane",),
    "vector: scale unit": ("scale unit",),
    "vector: K and V writer": ("K and V writer",),
    "vector: argmax": ("argmax",),
    "vector: sequences, passes, rows": ("passes",),
}


def block_markdown(folder: Path) -> str:
    """Markdown table of blocks: tables, flip-flops, block RAM and multipliers of every machine in ``folder``.

    Beside them the cell area of what ``gates`` in it measured: an array's row is all of the array.
    """
    results = [one for one in machine_results(folder) if "blocks" in one]
    header, columns = ["block"], []
    for one in results:
        header.append(f"{_title(one)}: {TABLES[one['family']]} / FF / block RAM / DSP")
        columns.append(one["blocks"])
    areas = [_areas(path) for path in sorted((folder / "gates").glob("machine-*.json"))]
    header += [title for title, _ in areas]
    names = list(columns[0]) if columns else []
    rows = [[name, *(_cell(column[name]) for column in columns), *_area_cells(areas, name)] for name in names]
    arrays = [name for name in names if name.startswith(_ARRAY)]
    if arrays:
        whole = ["array, all of it", *(_cell(_sum(column, arrays)) for column in columns), *_area_cells(areas, _ARRAY)]
        rows.insert(names.index(arrays[-1]) + 1, whole)
    totals = [f"{sum(area.values()):,.0f}, these alone" for _, area in areas]
    return markdown_table(header, [*rows, ["**all**", *(_cell(_sum(column, names)) for column in columns), *totals]])


def routed_markdown(folder: Path) -> str:
    """Markdown table of machines placed and routed as a whole."""
    header = ["machine", "part", "LUT4", "FF", "block RAM", "DSP", "MHz by seed"]
    rows = []
    for one in (one for one in machine_results(folder) if one.get("routed")):
        seeds = list(one["routed"].values())
        cells = [f"{seeds[0][key]:,g}" for key in _FIGURES]
        rows.append([_title(one), one["part"], *cells, ", ".join(f"{seed['mhz']:.1f}" for seed in seeds)])
    return markdown_table(header, rows)


def machine_results(folder: Path) -> list[dict]:
    """The machines in a folder, smallest array first."""
    return sorted(
        map(read_machine, sorted(folder.glob("*.json"))),
        key=lambda one: (one["rows"] * one["cols"], list(FAMILIES).index(one["family"]), one["multipliers"]),
    )


def read_machine(path: Path) -> dict:
    """A result file.

    Raises:
        InputError: damaged, or of another schema.
    """
    return read_artifact(path, BLOCKS_SCHEMA, BLOCKS_VERSION, "remove it and measure again: tritforge machine")


MACHINE_TABLES = {
    "machine-blocks": lambda: block_markdown(MACHINE_RESULTS),
    "machine-routed": lambda: routed_markdown(MACHINE_RESULTS),
}


def _areas(path: Path) -> tuple[str, dict[str, float]]:
    """Column title, and area in um2 by block of the table; the core's under ``array: ``."""
    found = read_artifact(path, _GATES_SCHEMA, _GATES_VERSION, "remove it and measure again: tritforge gates --machine")
    each = {one["block"]: one["area_um2"] for one in found["blocks"]}
    lanes = found["lanes"]
    areas = {
        name: sum(each[one] * (lanes if one == "vector lane" else 1) for one in parts) for name, parts in _CELLS.items()
    }
    core = path.with_name(path.name.replace("machine-", "core-"))
    if core.is_file():
        areas[_ARRAY] = _core_area(core, found)
    library = path.stem.removeprefix("machine-").upper()
    return f"{library}, {found['rows']} x {found['cols']}, {lanes} lanes: um2", areas


def _core_area(path: Path, machine: dict) -> float:
    """Area of the array's core, which must be of the same size."""
    try:
        (row,) = json.loads(path.read_text(encoding="utf-8"))
        same = all(row[name] == machine[name] for name in ("rows", "cols", "library"))
        area = float(row["area_um2"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: must be the one row of an array, not what cannot be read ({error!r}); measure again: "
            "tritforge gates --format core --json"
        ) from None
    if not same:
        raise InputError(
            f"{path}: core must be {machine['rows']} x {machine['cols']} in {machine['library']}, not {row['rows']} x "
            f"{row['cols']} in {row['library']}"
        )
    return area


def _area_cells(areas: Sequence[tuple[str, dict[str, float]]], name: str) -> list[str]:
    return [f"{area[name]:,.0f}" if name in area else "" for _, area in areas]


def _sum(column: dict[str, dict[str, float]], names: Sequence[str]) -> dict[str, float]:
    return {key: sum(column[name][key] for name in names) for key in _FIGURES}


def _title(one: dict) -> str:
    size = f"{one['rows']} x {one['cols']}, {one['lanes']} lanes"
    name = "" if one["name"] == f"{one['rows']}x{one['cols']}" else f"{one['name']}, "
    packing = ", five trits a byte" if one["weight_packing"] == "5in8" else ""
    return f"{name}{size}{packing}, multipliers in {'DSP' if one['multipliers'] == 'dsp' else 'LUT'}"


def _cell(block: dict[str, float]) -> str:
    return " / ".join(f"{block[key]:,g}" for key in _FIGURES)
