"""An AXI top as a Vivado IP, and a block design around it for boards with a Zynq: processor, DMA engines, reset."""

import json
import math
from pathlib import Path
from typing import NamedTuple

from hw.artifact import write_text
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.gateware.bus.axi import beat_bytes
from hw.gateware.bus.crossing import CORE_CLOCK_PORT
from hw.integration.ip_xact import IP_VENDOR, component_xml, core_version
from hw.integration.variant import STREAMS, Variant
from hw.verilog import AXI_NAME

__all__ = ["block_design", "write_vivado"]

_DMA_BYTES = 128  # widest stream of AMD's AXI DMA, PG021
_CONVERTER_BYTES = 512  # widest stream, and largest common multiple, of its AXI4-Stream data width converter, PG085
_MEGAHERTZ = 100  # of the core, the engines and the bus
_CORE_MEGAHERTZ = 150  # of a core with a clock of its own
_LENGTH_BITS = 26  # of one DMA transfer: 64 MiB


class _Processor(NamedTuple):
    """What a block design calls the processing system's parts. Ref: AMD PG082 (Zynq-7000), PG201 (UltraScale+)."""

    part: str
    ip: str
    board_part: str
    automation: str  # what the board's preset is applied with
    settings: str
    registers: str  # its bus master for registers, and the clock pin of that
    registers_clock: str
    memory: str  # its bus subordinate for DMA engines, and the clock pin of that
    memory_clock: str
    clock: str
    reset: str
    interrupt: str
    core_settings: str  # of a second clock, for the core
    core_clock: str


_PROCESSORS = {
    "pynq-z2": _Processor(
        "xc7z020clg400-1",
        "xilinx.com:ip:processing_system7", "tul.com.tw:pynq-z2:part0:1.0",
        'xilinx.com:bd_rule:processing_system7 -config {make_external "FIXED_IO, DDR" apply_board_preset "1"}',
        "CONFIG.PCW_USE_S_AXI_HP0 1 CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ {megahertz} "
        "CONFIG.PCW_USE_FABRIC_INTERRUPT 1 CONFIG.PCW_IRQ_F2P_INTR 1",
        "M_AXI_GP0", "M_AXI_GP0_ACLK", "S_AXI_HP0", "S_AXI_HP0_ACLK", "FCLK_CLK0", "FCLK_RESET0_N", "IRQ_F2P",
        "CONFIG.PCW_EN_CLK1_PORT 1 CONFIG.PCW_FPGA1_PERIPHERAL_FREQMHZ {core_megahertz}", "FCLK_CLK1",
    ),
    "kv260": _Processor(
        "xck26-sfvc784-2LV-c",
        "xilinx.com:ip:zynq_ultra_ps_e", "xilinx.com:kv260_som:part0:1.4",
        'xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset "1"}',
        "CONFIG.PSU__USE__M_AXI_GP0 1 CONFIG.PSU__USE__M_AXI_GP1 0 CONFIG.PSU__USE__M_AXI_GP2 0 "
        "CONFIG.PSU__USE__S_AXI_GP2 1 CONFIG.PSU__USE__IRQ0 1 "
        "CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {megahertz}",
        "M_AXI_HPM0_FPD", "maxihpm0_fpd_aclk", "S_AXI_HP0_FPD", "saxihp0_fpd_aclk", "pl_clk0", "pl_resetn0",
        "pl_ps_irq0",
        "CONFIG.PSU__FPGA_PL1_ENABLE 1 CONFIG.PSU__CRL_APB__PL1_REF_CTRL__FREQMHZ {core_megahertz}", "pl_clk1",
    ),
}  # fmt: skip


def write_vivado(config: ArrayConfig, folder: Path, variant: Variant) -> list[Path]:
    """Write the IP (``component.xml`` and ``hdl/``) and a Tcl script per Zynq board; returns the paths.

    Raises:
        InputError: a beat wider than AMD's converters, or see ``hw.verilog.axi_verilog``.
    """
    designs = {f"{board}.tcl": block_design(config, board, variant) for board in _PROCESSORS}
    paths = variant.write(config, folder / "hdl")
    files = {"component.xml": component_xml(config, variant, "hdl"), **designs}
    for name, text in files.items():
        write_text(folder / name, text)
    return [*(folder / name for name in files), *paths]


def block_design(config: ArrayConfig, board: str, variant: Variant = STREAMS) -> str:
    """Tcl that makes the project, the block design and the bitstream for ``board``.

    Cells are called as ``hw.host.zynq`` expects them.

    Raises:
        InputError: a board without a Zynq, or a beat wider than AMD's converters.
    """
    if board not in _PROCESSORS:
        raise InputError(f"board must be one of {', '.join(_PROCESSORS)} for a block design, not {board!r}")
    system = _PROCESSORS[board]
    top, beats = variant.name, {} if variant.masters else beat_bytes(config)
    engines = "\n".join(_engine(name, size, name == "results") for name, size in beats.items())
    dmas = [f"{name}_dma" for name in beats]
    settings = system.settings.format(megahertz=_MEGAHERTZ)
    core = ""
    if variant.separate:
        settings += " " + system.core_settings.format(core_megahertz=_CORE_MEGAHERTZ)
        pins = f"[get_bd_pins processor/{system.core_clock}] [get_bd_pins {top}/{CORE_CLOCK_PORT}]"
        core = f"connect_bd_net {pins}\n"
    controlled = [f"{top}/s_axil", *(f"{dma}/S_AXI_LITE" for dma in dmas)]
    masters = ["weights_dma/M_AXI_MM2S", "activations_dma/M_AXI_MM2S", "results_dma/M_AXI_S2MM"]
    if variant.masters:
        masters = [f"{top}/m_axi_{name}" for name in ("weights", "activations", "results")]
    clocked = [
        f"{top}/aclk", "registers/aclk", "memory/aclk", "reset/slowest_sync_clk",
        f"processor/{system.registers_clock}", f"processor/{system.memory_clock}",
        *(f"{dma}/s_axi_lite_aclk" for dma in dmas),
        *(f"{cell.split('/')[0]}/m_axi_{cell[-4:].lower()}_aclk" for cell in masters if dmas),
    ]  # fmt: skip
    reset = [f"{top}/aresetn", "registers/aresetn", "memory/aresetn", *(f"{dma}/axi_resetn" for dma in dmas)]
    for name, size in beats.items():
        if _stream_bytes(name, size) != size:
            clocked.append(f"{name}_width/aclk")
            reset.append(f"{name}_width/aresetn")
    return f"""# Block design of {top} for {board}: vivado -mode batch -source {board}.tcl
# Cells are called as the driver hw/host/zynq.py expects them.
# Array {json.dumps(config.name)}, hash {config.sha256[:8]}.
# SPDX-License-Identifier: Apache-2.0
set here [file dirname [file normalize [info script]]]
create_project -force tritforge $here/vivado -part {system.part}
if {{[llength [get_board_parts -quiet {system.board_part}]]}} {{
  set_property board_part {system.board_part} [current_project]
}} else {{
  error "Vivado has no board files of {board} ({system.board_part}): install them from the board store"
}}
set_property ip_repo_paths $here [current_project]
update_ip_catalog
create_bd_design tritforge

create_bd_cell -type ip -vlnv {system.ip} processor
apply_bd_automation -rule {system.automation} [get_bd_cells processor]
set_property -dict {{{settings}}} [get_bd_cells processor]
create_bd_cell -type ip -vlnv {IP_VENDOR}:ip:{top}:{core_version()} {top}
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect registers
set_property -dict {{CONFIG.NUM_SI 1 CONFIG.NUM_MI {len(controlled)}}} [get_bd_cells registers]
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect memory
set_property -dict {{CONFIG.NUM_SI {len(masters)} CONFIG.NUM_MI 1}} [get_bd_cells memory]

{engines}

{_wire("processor/" + system.registers, "registers/S00_AXI")}
{chr(10).join(_wire(f"registers/M{at:02d}_AXI", pin) for at, pin in enumerate(controlled))}
{chr(10).join(_wire(pin, f"memory/S{at:02d}_AXI") for at, pin in enumerate(masters))}
{_wire("memory/M00_AXI", "processor/" + system.memory)}

foreach pin {{{" ".join(clocked)}}} {{
  connect_bd_net [get_bd_pins processor/{system.clock}] [get_bd_pins $pin]
}}
{core}connect_bd_net [get_bd_pins processor/{system.reset}] [get_bd_pins reset/ext_reset_in]
foreach pin {{{" ".join(reset)}}} {{
  connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $pin]
}}
connect_bd_net [get_bd_pins {top}/interrupt] [get_bd_pins processor/{system.interrupt}]

assign_bd_address
validate_bd_design
save_bd_design
make_wrapper -files [get_files tritforge.bd] -top -import
set_property top tritforge_wrapper [current_fileset]
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {{[get_property PROGRESS [get_runs impl_1]] ne "100%"}} {{ error "the implementation failed, see vivado.log" }}
if {{[get_property STATS.WNS [get_runs impl_1]] < 0}} {{ error "timing is not met" }}
file copy -force [glob $here/vivado/tritforge.runs/impl_1/*.bit] $here/tritforge.bit
file copy -force [glob $here/vivado/tritforge.gen/sources_1/bd/tritforge/hw_handoff/*.hwh] $here/tritforge.hwh
"""


def _engine(name: str, size: int, receives: bool) -> str:
    """The DMA engine of one stream, with a width converter where its beats are no power of two of bytes."""
    direction, other = ("s2mm", "mm2s") if receives else ("mm2s", "s2mm")
    stream = _stream_bytes(name, size)
    ours = f"{AXI_NAME}/{'m' if receives else 's'}_axis_{name}"
    port = "S_AXIS_S2MM" if receives else "M_AXIS_MM2S"
    settings = f"CONFIG.c_include_sg 0 CONFIG.c_sg_length_width {_LENGTH_BITS} CONFIG.c_include_{other} 0"
    settings += f" CONFIG.c_m_axi_{direction}_data_width {max(32, 8 * stream)}"
    settings += "" if receives else f" CONFIG.c_m_axis_mm2s_tdata_width {8 * stream}"
    lines = [
        f"create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma {name}_dma",
        f"set_property -dict {{{settings}}} [get_bd_cells {name}_dma]",
    ]
    ends = (ours, f"{name}_dma/{port}") if receives else (f"{name}_dma/{port}", ours)
    if stream == size:
        return "\n".join([*lines, _wire(*ends)])
    widths = (size, stream) if receives else (stream, size)
    settings = "CONFIG.HAS_TLAST 1 CONFIG.HAS_TKEEP 1 CONFIG.S_TDATA_NUM_BYTES {} CONFIG.M_TDATA_NUM_BYTES {}"
    lines += [
        f"create_bd_cell -type ip -vlnv xilinx.com:ip:axis_dwidth_converter {name}_width",
        f"set_property -dict {{{settings.format(*widths)}}} [get_bd_cells {name}_width]",
        _wire(ends[0], f"{name}_width/S_AXIS"),
        _wire(f"{name}_width/M_AXIS", ends[1]),
    ]
    return "\n".join(lines)


def _stream_bytes(name: str, size: int) -> int:
    """Bytes of the engine's own stream for beats of ``size`` bytes."""
    powers = [1 << power for power in range(7, -1, -1) if 1 << power <= min(size, _DMA_BYTES)]
    for width in powers:
        if math.lcm(width, size) <= _CONVERTER_BYTES:
            return width
    raise InputError(
        f"{name}: a beat must be at most {_CONVERTER_BYTES} bytes for AMD's AXI4-Stream width converter, not {size}; "
        "take a smaller array, int8 results or --top axi-dma"
    )


def _wire(source: str, sink: str) -> str:
    return f"connect_bd_intf_net [get_bd_intf_pins {source}] [get_bd_intf_pins {sink}]"
