"""What the whole-token machine takes on an FPGA, block by block, and the clock that place and route reaches."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from hw.gateware.whole.machine import Machine
from hw.process.threads import usable_cpus
from hw.program.machine import MachineConfig
from hw.synthesis.families import FAMILIES, ROUTERS
from hw.synthesis.place_and_route import PlaceAndRoute
from hw.synthesis.resources import FpgaCells, Scanned, statistics_of, synthesize_in

__all__ = ["BLOCKS", "Block", "figures_of", "machine_blocks", "owner", "route_machine"]

_TABLES_OF_RAM = 4  # look-up tables of a cell of 16 x 4 bits of distributed RAM on ECP5


class Block(NamedTuple):
    """A block of the page, and the modules that are its: these and those inside, but for those of another block."""

    name: str
    modules: tuple[str, ...]


BLOCKS = (
    Block("fetch, decoding, addresses", ("",)),
    Block("readers, loader, unpacker of trits", ("reader", "loader", "row_reader", "unpacker")),
    Block("activation buffer", ("activations",)),
    Block("array: lanes and trees", ("core.array",)),
    Block("array: weight tiles", ("core.tiles",)),
    Block("array: plane weights, accumulators, results", ("core.plane_weight", "core.accumulator")),
    Block("array: sequencer", ("core",)),
    Block("vector: scratch memory, operands, reducers", ("vector.datapath",)),
    Block("vector: lanes", ("vector.datapath.lane",)),
    Block("vector: scale unit", ("vector.scale_unit",)),
    Block("vector: K and V writer", ("vector.kv_writer",)),
    Block("vector: argmax", ("vector.argmax",)),
    Block("vector: sequences, passes, rows", ("vector",)),
)


def machine_blocks(machine: MachineConfig, family: str, multipliers: str) -> dict[str, dict[str, float]]:
    """Figures of each of ``BLOCKS`` of a machine synthesized block by block, without optimization across them.

    ``multipliers``: ``dsp`` lets the family's multiplier blocks be used, ``lut`` does not.
    """
    chosen = FAMILIES[family]
    synthesis = f"{chosen.synthesis.replace('-flatten', '')} {_options(family, multipliers, flatten=False)}"
    with tempfile.TemporaryDirectory() as folder:
        modules = statistics_of(Machine(machine), synthesis, Path(folder))["modules"]
    sums: dict[str, dict[str, int]] = {block.name: {} for block in BLOCKS}
    for module, found in modules.items():
        cells = sums[owner(module.strip("\\").removeprefix("top").lstrip("."))]
        for kind, count in found["num_cells_by_type"].items():
            if not kind.startswith(("$", "top.")):
                cells[kind] = cells.get(kind, 0) + count
    return {name: figures_of(FpgaCells(chosen, cells)) for name, cells in sums.items()}


def route_machine(
    machine: MachineConfig,
    family: str,
    multipliers: str,
    part: str,
    seeds: list[int],
    found: Callable[[dict[str, dict[str, float]]], None] = lambda routed: None,
) -> dict[str, dict[str, float]]:
    """Clock and what was used, by placement seed, of the whole machine between two shift registers on a part.

    ``found`` is told those that are there whenever a seed has ended.

    Raises:
        InputError: the family's nextpnr is not installed.
        RuntimeError: it does not fit or cannot be routed.
    """
    place, routed = PlaceAndRoute.of(family, part, ROUTERS[1]), dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesize_in(Scanned(Machine(machine)), family, folder, _options(family, multipliers, flatten=True))
        with ThreadPoolExecutor(max(1, min(len(seeds), usable_cpus()))) as pool:
            runs = {pool.submit(place.run, folder, seed): seed for seed in seeds}
            for run in as_completed(runs):
                routed[str(runs[run])] = run.result()
                found({str(seed): routed[str(seed)] for seed in seeds if str(seed) in routed})
    return {str(seed): routed[str(seed)] for seed in seeds}


def _options(family: str, multipliers: str, flatten: bool) -> str:
    """Options of the family's synthesis pass."""
    chosen, given = FAMILIES[family], []
    if not flatten:
        given += [chosen.part_options, "-noflatten" if family == "ecp5" else ""]
    if multipliers == "lut":
        given.append("-nodsp")
    return " ".join(option for option in given if option)


def owner(module: str) -> str:
    """The block whose modules are the longest beginning of ``module``."""
    longest = {
        block.name: max((len(one) for one in block.modules if module.startswith(one)), default=-1) for block in BLOCKS
    }
    return max(longest, key=longest.__getitem__)


def figures_of(cells: FpgaCells) -> dict[str, float]:
    """Tables, those that are RAM among them, flip-flops, block RAMs and DSPs."""
    rams = sum(cells.cells.get(name, 0) for name in ("TRELLIS_DPR16X4", "RAM32M", "RAM64M"))
    return {
        "tables": cells.tables + _TABLES_OF_RAM * rams,
        "flip_flops": cells.flip_flops,
        "block_rams": sum(count * cells.cells.get(name, 0) for name, count in cells.family.block_rams.items()),
        "dsps": cells.dsps,
    }
