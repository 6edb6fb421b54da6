"""``tritforge machine``: what a whole-token machine takes on an FPGA block by block, and its clock; the tables."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import get_args

from rich.console import Console

from hw.artifact import check_file, file_name, write_artifact
from hw.config import load_array
from hw.errors import InputError
from hw.program.image import load_image
from hw.program.machine import MachineConfig, machine_around
from hw.synthesis.command import seeds_of
from hw.synthesis.families import family_called
from hw.synthesis.machine_results import (
    BLOCKS_SCHEMA,
    BLOCKS_VERSION,
    TABLES,
    block_markdown,
    machine_results,
    read_machine,
    routed_markdown,
)  # fmt: skip
from hw.trit import Packing

__all__ = ["MACHINES", "add_machine"]

MACHINES = Path("build") / "machines"
_MULTIPLIERS = ("dsp", "lut")
_FIELDS = ("scratch_words", "activation_words", "row_registers", "weight_packing", "instruction_lines")


def add_machine(parser: ArgumentParser) -> None:
    """Options of ``machine``."""
    parser.add_argument("--array", help="a name, RxC, or a .yaml file (default: 16x16)")
    parser.add_argument("--lanes", type=int, help="vector lanes (default: as few as the array needs)")
    parser.add_argument("--scratch", type=int, metavar="WORDS", help="words of scratch memory (default: 4096)")
    parser.add_argument(
        "--activations", type=int, metavar="WORDS", help="words of the activation buffer (default: 1024)"
    )
    parser.add_argument("--weight-packing", choices=get_args(Packing), help="of weights in memory (default: 2bit)")
    parser.add_argument("--program", type=Path, metavar="DIR", help="the machine of a compiled program instead")
    parser.add_argument("--name", help="what the rows are called (default: the array's name)")
    parser.add_argument("--family", default="ecp5", help="FPGA family: ecp5 or xc7 (default: ecp5)")
    parser.add_argument(
        "--multipliers", default="dsp", choices=_MULTIPLIERS, help="multiplier blocks or look-up tables (default: dsp)"
    )
    parser.add_argument(
        "--seeds", default="", help="placement seeds to route the whole machine with, e.g. 1,2,3 (default: none)"
    )
    parser.add_argument("--part", help="the part to route on (default: the family's largest)")
    parser.add_argument("--no-blocks", action="store_true", help="do not synthesize block by block")
    parser.add_argument(
        "--out", type=Path, default=MACHINES, metavar="FOLDER", help=f"result files (default: {MACHINES})"
    )
    parser.add_argument(
        "--table", action="store_true", help="print the tables of the results in --out, measure nothing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=_machine)


def _machine(options: Namespace) -> None:
    """Measure one machine and write its file, or print the tables of what was measured."""
    if options.table:
        _print(options)
        return
    machine = _config(options)
    if options.family not in TABLES:
        raise InputError(f"--family must be one of {', '.join(TABLES)}, not {options.family!r}")
    flow = family_called(options.family).flow
    parts, seeds = flow.parts if flow else {}, seeds_of(options.seeds)
    for given in ("seeds", "part"):
        if getattr(options, given) and not parts:
            raise InputError(f"--{given} must be left out for {options.family}, which no open tool places and routes")
    if options.no_blocks and not seeds:
        raise InputError("--no-blocks must come with --seeds: there is nothing else to measure")
    part = options.part or (list(parts)[-1] if parts else "")
    if part and part not in parts:
        raise InputError(f"--part of {options.family} must be one of {', '.join(parts)}, not {part!r}")
    # Amaranth and Yosys are imported only by the command that elaborates.
    from hw.synthesis.machine_blocks import machine_blocks, route_machine
    from hw.synthesis.place_and_route import program_called

    name = options.name or machine.array.name
    path = options.out / f"{file_name(name)}-{options.family}-{options.multipliers}.json"
    check_file(path)
    machine_results(options.out)  # a damaged file is refused before the minutes, as is a lack of nextpnr
    if seeds:
        program_called(flow.route)
    result = {
        "name": name,
        "family": options.family,
        "multipliers": options.multipliers,
        "rows": machine.array.rows,
        "cols": machine.array.cols,
        "lanes": machine.lanes,
        **{size: getattr(machine, size) for size in _FIELDS},
        **_before(path, machine),
        "machine_sha256": machine.sha256,
    }
    with Console(stderr=True).status(f"{path.stem}: synthesis, then place and route with {len(seeds)} seeds (minutes)"):
        if not options.no_blocks:
            result["blocks"] = machine_blocks(machine, options.family, options.multipliers)
            write_artifact(
                path, BLOCKS_SCHEMA, BLOCKS_VERSION, result, {}
            )  # kept, should the machine not fit on the part
        if seeds:
            result["part"] = part

            def keep(routed: dict[str, dict[str, float]]) -> None:
                result["routed"] = routed
                write_artifact(path, BLOCKS_SCHEMA, BLOCKS_VERSION, result, {})

            route_machine(machine, options.family, options.multipliers, part, seeds, keep)
    _print(options)


def _config(options: Namespace) -> MachineConfig:
    """The machine of a program, or around an array."""
    sizes = {
        "array": options.array,
        "lanes": options.lanes,
        "scratch": options.scratch,
        "activations": options.activations,
        "weight-packing": options.weight_packing,
    }
    if options.program:
        if given := [name for name, value in sizes.items() if value is not None]:
            raise InputError(f"--{given[0]} must be left out with --program, whose machine is measured")
        return load_image(options.program).machine
    fields = {
        "scratch_words": options.scratch,
        "activation_words": options.activations,
        "weight_packing": options.weight_packing,
    }
    return machine_around(
        load_array(options.array or "16x16"), options.lanes, **{name: n for name, n in fields.items() if n is not None}
    )


def _before(path: Path, machine: MachineConfig) -> dict:
    """Blocks and clocks that an earlier run measured on the same machine."""
    if not path.is_file():
        return {}
    found = read_machine(path)
    same = found["machine_sha256"] == machine.sha256
    return {key: found[key] for key in ("blocks", "part", "routed") if same and key in found}


def _print(options: Namespace) -> None:
    results = machine_results(options.out)
    if not results:
        raise InputError(f"--out must be a folder with results of tritforge machine, not {options.out}")
    if options.json:
        print(json.dumps(results))
    else:
        print(block_markdown(options.out), routed_markdown(options.out), sep="\n\n")
