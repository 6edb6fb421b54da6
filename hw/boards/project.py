"""A board's folder: top level in Verilog, constraints, build script, config.json."""

from importlib.metadata import version
from pathlib import Path

from amaranth.back import rtlil

from hw.artifact import sha256_file, write_text
from hw.boards.capacity import check_capacity
from hw.boards.catalog import Board
from hw.boards.pins import Site, constraints, sites
from hw.boards.top import TOP_NAME, BoardTop
from hw.boards.whole.choice import chip_of
from hw.boards.whole.ddr3 import BoardDdr3, ddr3_sites
from hw.boards.whole.design import WholeDesign
from hw.boards.whole.sdram import BoardSdram, sdram_sites
from hw.boards.whole.top import whole_rtlil
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.host.protocol import BAUD
from hw.memory.ddr3.core import CORE_NAME, ddr3_verilog
from hw.program.image import config_tag
from hw.synthesis.families import FAMILIES, Flow
from hw.synthesis.readable_verilog import readable_verilog
from hw.synthesis.yosys import FIFO_READS, KEEP_COPIES
from hw.verilog_config import CONFIG_NAME, clear_earlier, write_config

__all__ = ["board_cores", "board_rtlil", "board_verilog", "write_board"]


_LINTS = {"VARHIDDEN": "an instance is called as a port of what is in it"}
_KEPT = ("FREQUENCY_PIN_", "ICP_CURRENT", "LPF_RESISTOR", "MFG_")  # attributes that the ECP5's PLL is configured by


def board_verilog(board: Board, config: ArrayConfig | WholeDesign) -> str:
    """The board's top level as Verilog, the same bytes on every run.

    Raises:
        InputError: pyosys is missing, or see ``BoardTop``.
    """
    if isinstance(config, WholeDesign):
        array, held = config.machine.array, f"a whole-token machine, configuration {config_tag(config.machine):016x}"
    else:
        array, held = config, "an array behind a serial line"
    place = f"{board.name}, {board.part}, at {board.clock_hz / 1e6:g} MHz"
    if isinstance(config, WholeDesign) and config.memory_ratio > 1:
        place += f", its memory at {config.memory_ratio * board.clock_hz / 1e6:g} MHz"
    header = [
        f"{TOP_NAME} by tritforge {version('tritforge')} for {place}",
        f"{array.rows} lanes x {array.cols} columns: {held}",
        f"Configuration: {array.model_dump_json(exclude={'description'}, exclude_defaults=True)}",
        f"Array hash: {array.sha256}",
        "SPDX-License-Identifier: Apache-2.0",
    ]
    return readable_verilog(board_rtlil(board, config), TOP_NAME, header, _LINTS, _KEPT)


def board_rtlil(board: Board, config: ArrayConfig | WholeDesign) -> str:
    """The board's top level as Yosys RTLIL."""
    inverted = sites(board)["led"].inverted
    if isinstance(config, WholeDesign):
        return whole_rtlil(board, config, inverted)
    return rtlil.convert(BoardTop(board, config, inverted), name=TOP_NAME, emit_src=False)


def board_cores(board: Board, config: ArrayConfig | WholeDesign) -> dict[str, str]:
    """Verilog that the top level instantiates and others generate, by file name.

    Raises:
        InputError: LiteDRAM is missing where the memory is DDR3.
    """
    found = chip_of(board, config) if isinstance(config, WholeDesign) else None
    if not isinstance(found, BoardDdr3):
        return {}
    try:
        return {f"{CORE_NAME}.v": ddr3_verilog(found.chip, board.clock_hz, board.board_hz)}
    except InputError as error:
        raise InputError(f"board {board.name}: {error}; or take --ram block") from None


def write_board(board: Board, config: ArrayConfig | WholeDesign, folder: Path) -> list[Path]:
    """Write the top level's Verilog, constraints, build script and ``config.json`` into ``folder``; returns the paths.

    The same arguments give the same bytes.

    Raises:
        InputError: the array is not a ternary one, or does not fit the board or its link.
    """
    alone = isinstance(config, ArrayConfig)
    if alone:
        check_capacity(board, config)
    family = FAMILIES[board.family]
    script = "build.sh" if family.flow else "build.tcl"
    cores = board_cores(board, config)  # first, since it may want packages
    files = {
        f"{TOP_NAME}.v": board_verilog(board, config),
        **cores,
        family.constraints: constraints(board, _pins(board, config)),
        script: _shell(board, family.flow, config, [*cores]) if family.flow else _vivado(board),
    }
    clear_earlier(folder, files)
    paths = [folder / name for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        write_text(path, text)
    if script == "build.sh":
        (folder / script).chmod(0o755)
    write_config(
        folder / CONFIG_NAME,
        config if alone else config.machine.array,
        {path.name: sha256_file(path) for path in paths},
        board={"name": board.name, "part": board.part, "clock_hz": board.clock_hz, "pins_from": board.source},
        **({"link": {"baud": BAUD, "protocol": "hw/host/protocol.py"}} if alone else _whole(board, config)),
    )
    return [*paths, folder / CONFIG_NAME]


def _pins(board: Board, config: ArrayConfig | WholeDesign) -> dict[str, Site]:
    """The site of each port of the top level."""
    found = sites(board)
    memory = chip_of(board, config) if isinstance(config, WholeDesign) else None
    if isinstance(memory, BoardSdram):
        found |= sdram_sites(memory)
    elif memory:
        found |= ddr3_sites(memory)
    return found


def _whole(board: Board, design: WholeDesign) -> dict[str, object]:
    """What ``config.json`` says of a whole-token machine."""
    found = chip_of(board, design)
    chip = found.chip.name if found else None
    return {
        "machine": design.machine.model_dump(mode="json", exclude={"array"}),
        "configuration": f"{config_tag(design.machine):016x}",
        "memory": {
            "kind": design.memory,
            "chip": chip,
            "bytes": design.memory_bytes,
            "word_bytes": design.machine.word_bytes,
            **({"clock_hz": design.memory_ratio * board.clock_hz} if design.memory == "sdram" else {}),
        },
        "link": {"baud": design.baud, "protocol": "hw/host/whole/protocol.py"},
    }


def _shell(board: Board, flow: Flow, config: ArrayConfig | WholeDesign, cores: list[str]) -> str:
    """From Verilog to bitstream with Yosys, nextpnr and the family's packer."""
    family = FAMILIES[board.family]
    blocks = "" if isinstance(config, WholeDesign) else family.board_options  # its vector unit may use multipliers
    synthesis = " ".join(f"{family.synthesis} {blocks} -top {TOP_NAME} -json top.json".split())
    routing = board.routing(isinstance(config, WholeDesign))
    told = "; ".join((*KEEP_COPIES, *FIFO_READS)).replace("$", "\\$")
    return f"""#!/bin/sh
# Bitstream for {board.name}. YOSYS, NEXTPNR and PACK name other programs, e.g. those of the yowasp packages;
# `python -m hw bitstream --board {board.name}` does the same with the packages of tritforge[boards].
set -e
cd "$(dirname "$0")"
"${{YOSYS:-yosys}}" -q -p "read_verilog {" ".join([f"{TOP_NAME}.v", *cores])}; {told}; {synthesis}"
"${{NEXTPNR:-{flow.route}}}" --json top.json {flow.route_arguments} {routing} --freq {board.clock_hz / 1e6:g}
"${{PACK:-{flow.pack}}}" {" ".join(f"{board.pack_options} {flow.pack_arguments}".split())}
"""


def _vivado(board: Board) -> str:
    """From Verilog to bitstream with Vivado, without a project."""
    return f"""# Bitstream for {board.name}: vivado -mode batch -source build.tcl
cd [file dirname [file normalize [info script]]]
read_verilog {TOP_NAME}.v
read_xdc {FAMILIES[board.family].constraints}
synth_design -top {TOP_NAME} -part {board.part} -max_dsp 0
opt_design
place_design
phys_opt_design
route_design
report_utilization -file utilization.txt
report_timing_summary -file timing.txt
if {{[get_property SLACK [get_timing_paths]] < 0}} {{ error "timing is not met, see timing.txt" }}
write_bitstream -force top.bit
"""
