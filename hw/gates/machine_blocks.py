"""Logic of the whole-token machine around array and memories in a cell library: area, registers, clock by block.

The memories (scratch, activation buffer, row registers, fetched instructions) are macros of a chip and not in it, and
with them what is built around one: front, operands, sequences. ``tritforge machine`` measures these, on an FPGA; the
array is measured by ``tritforge gates --format core``.
"""

from collections.abc import Callable
from pathlib import Path

from amaranth import ClockDomain, Module
from amaranth.back import rtlil
from amaranth.lib.wiring import Component

from hw.artifact import write_artifact
from hw.gates.flow.cells import Library
from hw.gates.flow.netlist import netlist_of
from hw.gates.flow.technology_mapping import Recipe, has_adder_cell
from hw.gates.flow.timing import analyse
from hw.gates.mapped import mapped_module
from hw.gateware.vector.table import Argmax
from hw.gateware.whole.five_trits import FiveTritUnpacker
from hw.gateware.whole.kv_writer import KvWriter
from hw.gateware.whole.lane import VectorLane
from hw.gateware.whole.loader import Loader
from hw.gateware.whole.passes import PassEngine
from hw.gateware.whole.reader import MemoryReader
from hw.gateware.whole.scale_unit import ScaleUnit
from hw.program.machine import MachineConfig

__all__ = ["MACHINE_SCHEMA", "MACHINE_VERSION", "run_machine_blocks"]

MACHINE_SCHEMA, MACHINE_VERSION = "tritforge.machine-gates", 1

_DESIGNS: dict[str, Callable[[MachineConfig], Component]] = {
    "reader": MemoryReader,
    "loader": Loader,
    "unpacker of trits": FiveTritUnpacker,
    "vector lane": lambda _: VectorLane(),
    "scale unit": lambda _: ScaleUnit(),
    "passes": PassEngine,
    "K and V writer": KvWriter,
    "argmax": lambda _: Argmax(),
}


def run_machine_blocks(
    machine: MachineConfig,
    library: Library,
    path: Path,
    cache: Path,
    progress: Callable[[str, int, int], None] = lambda text, done, total: None,
) -> list[dict]:
    """Map and time every block of ``machine`` and write ``path``: cells, flip-flops, area in um2, period in s."""
    recipe = Recipe(adder="ripple", adder_cells=has_adder_cell(library))
    rows: list[dict] = []
    for name, made in _DESIGNS.items():
        progress(f"machine: {name}", len(rows), len(_DESIGNS))
        netlist = netlist_of(mapped_module(_rtlil(made(machine)), library, recipe, cache), library)
        rows.append(
            {
                "block": name,
                "instances": machine.lanes if name == "vector lane" else 1,
                "cells": netlist.cells,
                "flip_flops": len(netlist.flip_flops),
                "area_um2": netlist.area,
                "critical_s": analyse(netlist).critical,
            }
        )
    body = {
        "library": library.name, "rows": machine.array.rows, "cols": machine.array.cols, "lanes": machine.lanes,
        "blocks": rows,
    }  # fmt: skip
    write_artifact(path, MACHINE_SCHEMA, MACHINE_VERSION, body, {"library": library.sha256})
    return rows


def _rtlil(block: Component) -> str:
    """RTLIL with the block's members as ports of ``top``, with a reset."""
    m = Module()
    m.domains.sync = clocks = ClockDomain()
    m.submodules.block = block
    members = [value for _, _, value in block.signature.flatten(block)]
    ports = [value.as_value() if hasattr(value, "as_value") else value for value in members]
    return rtlil.convert(m, name="top", ports=[clocks.clk, clocks.rst, *ports], emit_src=False)
