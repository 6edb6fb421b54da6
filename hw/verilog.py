"""Deterministic Verilog of a core, with the config that made it."""

from pathlib import Path

from amaranth.back import rtlil, verilog

from hw.arithmetic.adders import Cells
from hw.arithmetic.compressors import FULL_ADDER_VERILOG
from hw.artifact import sha256_file, write_text
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.gateware.bus.axi import REGISTERS, AxiCore
from hw.gateware.core import Core
from hw.gateware.whole.machine import Machine
from hw.program.machine import MachineConfig
from hw.verilog_config import write_config

__all__ = [
    "AXI_NAME",
    "CORE_NAME",
    "MACHINE_NAME",
    "TOPS",
    "axi_verilog",
    "core_rtlil",
    "core_verilog",
    "machine_verilog",
    "write_verilog",
]

CORE_NAME, AXI_NAME, MACHINE_NAME = "tritforge_core", "tritforge_axi", "tritforge_machine"
TOPS = ("core", "axi")  # bare streams, or AXI4-Stream and AXI4-Lite


def core_verilog(config: ArrayConfig, cells: Cells = "portable") -> str:
    """Verilog of ``Core(config, cells)``, the same bytes on every run; the top module is ``tritforge_core``.

    With ``cells`` ``"asic"``, module ``full_adder`` at the end is for a library's adder cell to replace.

    Raises:
        InputError: the array is not a ternary one, or unknown cells.
    """
    text = verilog.convert(Core(config, cells), name=CORE_NAME, emit_src=False)
    return text + (FULL_ADDER_VERILOG if cells == "asic" else "")


def core_rtlil(config: ArrayConfig, cells: Cells = "portable") -> str:
    """The same core as Yosys RTLIL, for synthesis and checks."""
    return rtlil.convert(Core(config, cells), name=CORE_NAME, emit_src=False)


def axi_verilog(config: ArrayConfig, cells: Cells = "portable") -> str:
    """Verilog of ``AxiCore(config, cells)``; the top module is ``tritforge_axi``.

    Raises:
        InputError: the array is not a ternary one, its sums are too wide for the bus, or unknown cells.
    """
    return verilog.convert(AxiCore(config, cells), name=AXI_NAME, emit_src=False)


def machine_verilog(machine: MachineConfig) -> str:
    """Verilog of the whole-token machine ``Machine(machine)``; the top module is ``tritforge_machine``."""
    return verilog.convert(Machine(machine), name=MACHINE_NAME, emit_src=False)


def write_verilog(config: ArrayConfig, folder: Path, top: str = "core") -> list[Path]:
    """Write ``tritforge_core.v`` or ``tritforge_axi.v``, and ``config.json``, into ``folder``; returns their paths.

    Raises:
        InputError: the array is not a ternary one, or an unknown top.
    """
    if top not in TOPS:
        raise InputError(f"top must be one of {', '.join(TOPS)}, not {top!r}")
    name, text = (CORE_NAME, core_verilog(config)) if top == "core" else (AXI_NAME, axi_verilog(config))
    source, description = folder / f"{name}.v", folder / "config.json"
    write_text(source, text)
    registers = {"registers": {name: 4 * i for i, name in enumerate(REGISTERS)}} if top == "axi" else {}
    write_config(description, config, {source.name: sha256_file(source)}, **registers)
    return [source, description]
