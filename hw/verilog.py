"""Deterministic Verilog of a core, with the config that made it."""

from importlib.metadata import version
from pathlib import Path

from amaranth.back import rtlil

from hw.arithmetic.adders import Cells
from hw.arithmetic.compressors import FULL_ADDER_VERILOG
from hw.artifact import sha256_file, write_text
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.gateware.bus.axi import AxiCore
from hw.gateware.bus.axi_dma import AxiDmaCore
from hw.gateware.bus.constraints import constraint_files
from hw.gateware.bus.crossing import CoreClock, SeparateClock, check_core_clock
from hw.gateware.bus.register_map import DMA_REGISTER_MAP, REGISTER_MAP, c_header, html_page, python_module
from hw.gateware.core import Core
from hw.gateware.macros.memories import MACROS_NAME, MacroPlatform, Memories, check_memories, default_macros
from hw.gateware.whole.machine import Machine
from hw.program.machine import MachineConfig
from hw.synthesis.readable_verilog import readable_verilog
from hw.verilog_config import CONFIG_NAME, clear_earlier, write_config

__all__ = [
    "AXI_NAME",
    "CORE_NAME",
    "DMA_NAME",
    "MACHINE_NAME",
    "TOPS",
    "axi_verilog",
    "core_rtlil",
    "core_verilog",
    "dma_verilog",
    "machine_rtlil",
    "machine_verilog",
    "write_verilog",
]

CORE_NAME, AXI_NAME, MACHINE_NAME = "tritforge_core", "tritforge_axi", "tritforge_machine"
DMA_NAME = "tritforge_axi_dma"
_MEMORIES = [f"Memories: modules of {MACROS_NAME}"]
_CLOCK_LINTS = {"SYNCASYNCNET": "a reset is read on edges of its clock, and at once by a queue's other side"}
_REGISTER_FILES = {"h": c_header, "py": python_module, "html": html_page}
TOPS = ("core", "axi", "axi-dma")  # bare streams; AXI4-Stream and AXI4-Lite; AXI4 masters and AXI4-Lite


def core_verilog(config: ArrayConfig, cells: Cells = "portable", platform: MacroPlatform | None = None) -> str:
    """Verilog of ``Core(config, cells)``, the same bytes on every run; the top module is ``tritforge_core``.

    With ``cells`` ``"asic"``, module ``full_adder`` at the end is for a library's adder cell to replace. With a
    ``platform`` memories are modules of ``tritforge_memories.v``.

    Raises:
        InputError: the array is not a ternary one, or unknown cells.
    """
    text = readable_verilog(core_rtlil(config, cells, platform), CORE_NAME, _header(CORE_NAME, config, cells, platform))
    return text + (FULL_ADDER_VERILOG if cells == "asic" else "")


def core_rtlil(config: ArrayConfig, cells: Cells = "portable", platform: MacroPlatform | None = None) -> str:
    """The same core as Yosys RTLIL, for synthesis and checks."""
    return rtlil.convert(Core(config, cells), name=CORE_NAME, emit_src=False, platform=platform)


def axi_verilog(
    config: ArrayConfig,
    cells: Cells = "portable",
    core_clock: CoreClock = "bus",
    platform: MacroPlatform | None = None,
) -> str:
    """Verilog of ``AxiCore(config, cells)``; the top module is ``tritforge_axi``.

    With ``core_clock`` ``"separate"`` the core runs on its own clock ``core_clk``, see ``SeparateClock``.

    Raises:
        InputError: the array is not a ternary one, its sums are too wide for the bus, unknown cells or clock.
    """
    return _bus_verilog(AxiCore, AXI_NAME, config, cells, core_clock, platform)


def dma_verilog(
    config: ArrayConfig,
    cells: Cells = "portable",
    core_clock: CoreClock = "bus",
    platform: MacroPlatform | None = None,
) -> str:
    """Verilog of ``AxiDmaCore(config, cells)``; the top module is ``tritforge_axi_dma``.

    Raises:
        InputError: see ``axi_verilog``.
    """
    return _bus_verilog(AxiDmaCore, DMA_NAME, config, cells, core_clock, platform)


def _bus_verilog(
    top: type[AxiCore] | type[AxiDmaCore],
    name: str,
    config: ArrayConfig,
    cells: Cells,
    core_clock: CoreClock,
    platform: MacroPlatform | None,
) -> str:
    check_core_clock(core_clock)
    separate = core_clock == "separate"
    design = top(config, cells, outer_clock=separate)
    header = _header(name, config, cells, platform)
    if separate:
        header.insert(-1, "Clocks: core_clk of the core, aclk of the bus; any ratio and phase")
    clocked = SeparateClock(design) if separate else design
    text = rtlil.convert(clocked, name=name, emit_src=False, platform=platform)
    return readable_verilog(text, name, header, _CLOCK_LINTS if separate else {})


def _header(top: str, config: ArrayConfig, cells: Cells, platform: MacroPlatform | None) -> list[str]:
    """What a reader of the file alone must know: which program, array and licence."""
    return [
        f"{top} by tritforge {version('tritforge')}: ternary x int8, {config.rows} lanes x {config.cols} columns",
        f"Configuration: {config.model_dump_json(exclude={'description'}, exclude_defaults=True)}",
        f"Cells: {cells}. Array hash: {config.sha256}",
        *_MEMORIES[: platform is not None],
        "SPDX-License-Identifier: Apache-2.0",
    ]


def machine_verilog(machine: MachineConfig, platform: MacroPlatform | None = None) -> str:
    """Verilog of the whole-token machine ``Machine(machine)``, the same bytes on every run; ``tritforge_machine``.

    ``platform``: as of ``core_verilog``.
    """
    array = machine.array
    header = [
        f"{MACHINE_NAME} by tritforge {version('tritforge')}: a LLaMA token by token from a program in memory, "
        f"{array.rows} x {array.cols} ternary x int8, {machine.lanes} vector lanes",
        f"Configuration: {machine.model_dump_json(exclude={'array': {'description'}}, exclude_defaults=True)}",
        f"Machine hash: {machine.sha256}",
        *_MEMORIES[: platform is not None],
        "SPDX-License-Identifier: Apache-2.0",
    ]
    return readable_verilog(machine_rtlil(machine, platform), MACHINE_NAME, header)


def machine_rtlil(machine: MachineConfig, platform: MacroPlatform | None = None) -> str:
    """The same machine as Yosys RTLIL, for synthesis and checks."""
    return rtlil.convert(Machine(machine), name=MACHINE_NAME, emit_src=False, platform=platform)


def write_verilog(
    config: ArrayConfig, folder: Path, top: str = "core", core_clock: CoreClock = "bus", memories: Memories = "inferred"
) -> list[Path]:
    """Write ``tritforge_core.v``, ``tritforge_axi.v`` or ``tritforge_axi_dma.v``, and ``config.json``, into ``folder``.

    Returns their paths. With the two that have registers go ``tritforge_registers.h``, ``.py`` and ``.html``: the
    register map for C, Python and people; with ``core_clock`` ``"separate"`` go Vivado's constraints, and with
    ``memories`` ``"macros"`` goes ``tritforge_memories.v``, and what macros there are into ``config.json``.

    Raises:
        InputError: the array is not a ternary one, an unknown top, clock or kind of memories, or a clock of its own for
            the bare core.
    """
    if top not in TOPS:
        raise InputError(f"top must be one of {', '.join(TOPS)}, not {top!r}")
    check_core_clock(core_clock)
    check_memories(memories)
    platform = MacroPlatform() if memories == "macros" else None
    if top == "core":
        if core_clock != "bus":
            raise InputError(f"core clock must be bus with top core, which has one clock, not {core_clock!r}")
        files = {f"{CORE_NAME}.v": core_verilog(config, platform=platform)}
    else:
        name, verilog = {"axi": (AXI_NAME, axi_verilog), "axi-dma": (DMA_NAME, dma_verilog)}[top]
        files = {f"{name}.v": verilog(config, core_clock=core_clock, platform=platform)}
        if core_clock == "separate":
            files |= constraint_files(name)
    if platform:
        files[MACROS_NAME] = default_macros()
    registers = {"core": (), "axi": REGISTER_MAP, "axi-dma": DMA_REGISTER_MAP}[top]
    if registers:
        files |= {f"tritforge_registers.{kind}": write(registers) for kind, write in _REGISTER_FILES.items()}
    clear_earlier(folder, files)
    for file, content in files.items():
        write_text(folder / file, content)
    places = {"registers": {register.name: register.offset for register in registers}} if registers else {}
    clock = {"core_clock": core_clock} if registers else {}
    macros = {"memories": platform.listed()} if platform else {}
    hashes = {file: sha256_file(folder / file) for file in files}
    write_config(folder / CONFIG_NAME, config, hashes, **places, **clock, **macros)
    return [*(folder / file for file in files), folder / CONFIG_NAME]
