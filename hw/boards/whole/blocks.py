"""What each block of a board's top level with a whole-token machine takes, without optimization across them."""

import json
from collections.abc import Iterable
from pathlib import Path

from hw.boards.top import TOP_NAME
from hw.memory.ddr3.core import CORE_NAME
from hw.synthesis.families import FAMILIES
from hw.synthesis.machine_blocks import figures_of
from hw.synthesis.resources import FpgaCells
from hw.synthesis.yosys import HIDE_FIELDS, run_yosys

__all__ = ["block_of", "top_blocks"]

_MACHINE = "link.core"
_BLOCKS = {  # beginnings of the modules' names; the longest one decides
    "array with weight tiles": (f"{_MACHINE}.core",),
    "vector unit": (f"{_MACHINE}.vector",),
    "activation buffer": (f"{_MACHINE}.activations",),
    "program, memory reader, unpacker": (_MACHINE,),
    "protocol, host's access to memory": ("link",),
    "memory and its pads": ("memory", "io", "ddr3", CORE_NAME),
    "serial line, clock": ("",),
}


def block_of(module: str) -> str:
    """The block of ``_BLOCKS`` that a module of the top level belongs to, by its path."""
    longest = {
        name: max((len(one) for one in begins if module.startswith(one)), default=-1)
        for name, begins in _BLOCKS.items()
    }
    return max(longest, key=longest.__getitem__)


def top_blocks(folder: Path, family_name: str, cores: Iterable[str] = ()) -> dict[str, dict[str, float]]:
    """Tables, flip-flops, block RAMs and DSPs of each block of ``top.il`` in ``folder``, which gets the statistics.

    ``cores``: files of Verilog that it instantiates.
    """
    family = FAMILIES[family_name]
    apart = "" if "-flatten" in family.synthesis else "-noflatten"
    synthesis = f"{family.synthesis.replace('-flatten', '')} {apart} -top {TOP_NAME}"
    read = ["read_rtlil top.il", *(f"read_verilog {name}" for name in cores)]
    run_yosys([*read, HIDE_FIELDS, synthesis, "tee -q -o blocks.json stat -json"], folder)
    sums: dict[str, dict[str, int]] = {name: {} for name in _BLOCKS}
    modules = json.loads((folder / "blocks.json").read_text(encoding="utf-8"))["modules"]
    for module, found in modules.items():
        mine = sums[block_of(module.strip("\\").removeprefix(TOP_NAME).lstrip("."))]
        for kind, count in found["num_cells_by_type"].items():
            if not kind.startswith(("$", TOP_NAME)):
                mine[kind] = mine.get(kind, 0) + count
    return {name: figures_of(FpgaCells(family, cells)) for name, cells in sums.items()}
