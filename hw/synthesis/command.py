"""``tritforge resources``: synthesize and route an array on an FPGA family, keep the result, print all results."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.console import Console

from hw.artifact import write_text
from hw.config import ArrayConfig, load_array, required_accumulator_bits
from hw.errors import InputError
from hw.organisations import ORGANISATIONS, OrganisationName
from hw.pages import fill_blocks, markdown_table
from hw.synthesis.families import FAMILIES, PLACERS, ROUTERS, family_called, family_of
from hw.synthesis.option_costs import option_table

__all__ = ["PAGE", "RESULTS", "add_resources", "asic_table", "rendered", "resource_table", "resources", "seeds_of"]

RESULTS = Path("docs") / "results"
PAGE = Path("docs") / "hardware.md"
_ACCUMULATOR_BITS = 20  # K up to 4128, as the peers that are compared with


def add_resources(parser: ArgumentParser) -> None:
    """Options of ``resources``."""
    parser.add_argument(
        "--array",
        default="16x4",
        help="a name, RxC (20-bit accumulators, eight beats), or a .yaml file (default: 16x4)",
    )
    parser.add_argument(
        "--organisation",
        choices=tuple(ORGANISATIONS),
        default="tree",
        help="organisation of an array given as RxC (default: tree)",
    )
    parser.add_argument(
        "--chain",
        type=int,
        default=4,
        metavar="N",
        help="lanes that add in sequence before the tree of an array given as RxC (default: 4)",
    )
    parser.add_argument(
        "--cells", help="adders of the array: portable, ecp5 or lut6 (default: those of --family, ecp5 without one)"
    )
    parser.add_argument("--family", help=f"FPGA family: one of {', '.join(FAMILIES)} (default: that of the cells)")
    parser.add_argument("--part", help="the part to route on (default: the family's first)")
    parser.add_argument(
        "--seeds", default="1", help="placement seeds to route with, e.g. 1,2,3; empty: synthesis only (default: 1)"
    )
    parser.add_argument(
        "--router", default="router1", help="router of nextpnr: router1, or router2 for arrays above 16x16"
    )
    parser.add_argument(
        "--placer", default=PLACERS[0], help="placer of nextpnr: heap, or static for arrays above 16x16"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="FOLDER", help=f"folder of the result files (default: {RESULTS})"
    )
    parser.add_argument("--table", action="store_true", help="print the table of the results in --out, measure nothing")
    parser.add_argument("--docs", action="store_true", help=f"write that table into {PAGE}, measure nothing")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=resources)


def resources(options: Namespace) -> None:
    """Measure one array and write ``fpga-NAME.json``, or print the table of what was measured.

    Raises:
        InputError: unknown array or cells, seeds that are no numbers, tools that are missing.
    """
    if options.docs:
        write_text(PAGE, rendered(PAGE.read_text(encoding="utf-8"), options.out))
        print(json.dumps({"files": [str(PAGE)]}) if options.json else f"wrote {PAGE}")
        return
    if options.table:
        print(json.dumps(_results(options.out)) if options.json else resource_table(options.out))
        return
    from hw.arithmetic.adders import check_cells
    from hw.synthesis.resources import measure  # imports Amaranth

    cells = options.cells or (family_called(options.family).cells if options.family else "ecp5")
    check_cells(cells)
    family = options.family or family_of(cells)
    suited = family_called(family).cells
    if cells not in ("portable", suited):
        others = f" or {suited}" * (suited != "portable")
        raise InputError(f"--cells of {family} must be portable{others}, not {cells!r}")
    flow = family_called(family).flow
    parts = flow.parts if flow else {}
    part = options.part or next(iter(parts), "")
    if part not in parts and (part or options.part):
        raise InputError(f"--part of {family} must be one of {', '.join(parts)}, not {part!r}")
    if options.router not in ROUTERS:
        raise InputError(f"--router must be one of {', '.join(ROUTERS)}, not {options.router!r}")
    if options.placer not in PLACERS:
        raise InputError(f"--placer must be one of {', '.join(PLACERS)}, not {options.placer!r}")
    config = _config(options.array, options.chain, options.organisation)
    seeds = seeds_of(options.seeds) if parts else []
    shape = config.structure.file_label(config.chain_lanes)
    name = f"fpga-{family}-{config.name}-{shape}-{cells}"
    with Console(stderr=True).status(f"{name}: synthesis, then place and route with {len(seeds)} seeds (minutes)"):
        result = measure(config, cells, family, part, seeds, options.router, options.placer)
    text = json.dumps(result, indent=1)
    write_text(options.out / f"{name}.json", text + "\n")
    print(text if options.json else resource_table(options.out))


def resource_table(folder: Path) -> str:
    """Markdown table of every ``fpga-*.json`` in ``folder``: by family, then smallest array first."""
    results = _results(folder)
    results.sort(key=lambda r: (r["family"], r["array"]["rows"] * r["array"]["cols"], r["cells"], _shape(r)))
    header = [
        "family",
        "lanes x columns",
        "organisation",
        "cells",
        "array, tables/MAC",
        "+ weight tiles",
        "core",
        "FF (+ tiles)",
        "MHz by seed (part)",
    ]
    rows = []
    for result in results:
        array, scopes = result["array"], result["scopes"]
        per_mac = [f"{scopes[scope]['tables_per_mac']:.2f}" for scope in ("array", "datapath", "core")]
        clocks = ", ".join(f"{value:.0f}" for value in result["clock_mhz"].values())
        row = [result["family"], f"{array['rows']} x {array['cols']}", _shape(result), result["cells"], *per_mac]
        router = result.get("router", ROUTERS[0])
        place = result["part"] if router == ROUTERS[0] else f"{result['part']}, {router}"
        if "placer" in result:
            place += f", placer {result['placer']}"
        clock = f"{clocks} ({place})" if clocks else "synthesis only"
        rows.append([*row, str(scopes["datapath"]["flip_flops"]), clock])
    return markdown_table(header, rows)


def _results(folder: Path) -> list[dict]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("fpga-*.json"))]


def _shape(result: dict) -> str:
    """Organisation of an array: grid, or tree with chains of so many lanes."""
    array = result["array"]
    spread = f", spread by {array['spread_stages']}" if array.get("spread_stages") else ""
    return ORGANISATIONS[array["organisation"]].label(array["chain_lanes"]) + spread


def asic_table(folder: Path) -> str:
    """Markdown table of ``gates-core-16x4.json``: rows of ``tritforge gates --format core --json``."""
    header = ["library", "fJ/MAC", "logic", "registers", "clock", "um2/MAC", "FF", "period, ns"]
    rows = []
    for result in json.loads((folder / "gates-core-16x4.json").read_text(encoding="utf-8")):
        energies = [f"{result[key] * 1e15:.4g}" for key in ("dynamic_j", "logic_j", "registers_j", "clock_j")]
        area = result["area_um2"] / (result["rows"] * result["cols"])
        row = [result["library"], *energies, f"{area:.4g}", str(result["flip_flops"])]
        rows.append([*row, f"{result['critical_s'] * 1e9:.3g}"])
    return markdown_table(header, rows)


def rendered(page: str, folder: Path) -> str:
    """``page`` with its generated blocks made anew from the results in ``folder``."""
    blocks = {
        "fpga": lambda: resource_table(folder),
        "asic": lambda: asic_table(folder),
        "options": lambda: option_table(folder),
    }
    return fill_blocks(page, blocks, str(PAGE))


def _config(name: str, chain: int, organisation: OrganisationName = "tree") -> ArrayConfig:
    """The array to measure; ``RxC`` with the widths that the peers have."""
    config = load_array(name)
    if name.endswith((".yaml", ".yml")) or config.name != f"{config.rows}x{config.cols}":
        return config
    if not 1 <= chain <= config.rows:
        raise InputError(f"--chain must be 1 to {config.rows} for array {name}, not {chain}")
    fields = config.model_dump() | {
        "accumulator_bits": max(_ACCUMULATOR_BITS, required_accumulator_bits(config.rows)),
        "chain_lanes": chain,
        "adders_per_register": 1,
        "token_tile": 16,
        "organisation": organisation,
    }
    return ArrayConfig(**fields | ORGANISATIONS[organisation].fixed_fields(config.rows))


def seeds_of(text: str) -> list[int]:
    """Placement seeds of ``--seeds``, each once.

    Raises:
        InputError: one that is no number.
    """
    seeds = [one.strip() for one in text.split(",") if one.strip()]
    if bad := [one for one in seeds if not (one.isascii() and one.isdigit())]:
        raise InputError(f"--seeds must be numbers separated by commas, not {bad[0]!r}")
    return list(dict.fromkeys(map(int, seeds)))
