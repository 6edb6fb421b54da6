"""From a board and an array to a bitstream, with what it takes and how fast it is: synthesis, place, route, pack."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from hw.boards.catalog import Board
from hw.boards.pins import constraints_name
from hw.boards.project import board_rtlil, write_board
from hw.boards.results import BoardResult
from hw.boards.room import check_room
from hw.boards.tools import ToolFailure, run_tool, tools_of
from hw.boards.top import TOP_NAME
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.synthesis.yosys import HIDE_FIELDS, run_yosys

__all__ = ["build", "estimate"]

_SYNTHESIS = {
    "ecp5": "synth_ecp5 -nodsp",
    "ice40": "synth_ice40",
    "gowin": "synth_gowin",
    "xilinx7": "synth_xilinx -flatten -nodsp",
    "ultrascale+": "synth_xilinx -family xcup -flatten -nodsp",
}
_DSPS = ("MULT18X18D", "ALU54B", "SB_MAC16", "MULT9X9", "MULT18X18", "MULT36X36", "DSP48E1", "DSP48E2")
_BLOCK_RAMS = {"DP16KD": 1, "SB_RAM40_4K": 1, "SDPX9B": 1, "SDPB": 1, "DPX9B": 1, "RAMB18E1": 0.5, "RAMB36E1": 1}
_BLOCK_RAMS |= {"RAMB18E2": 0.5, "RAMB36E2": 1}
_TABLES_OF = {"ALU": 1, "RAM16SDP4": 4, "RAM32M": 4, "RAM64M": 4}  # other cells that are made of LUTs
_STAGES = ("Packing", "placer", "Routing", "Running router")  # words of nextpnr that open a stage

Say = Callable[[str], None]


def estimate(board: Board, config: ArrayConfig, folder: Path, say: Say) -> BoardResult:
    """Synthesize only: cells, no timing.

    Raises:
        InputError: pyosys is missing, or the array has no room.
    """
    check_room(board, config)
    cells, sha256 = _synthesize(board, config, folder, say)
    luts = sum(count for name, count in cells.items() if re.fullmatch(r"LUT\d|LUT6_2|SB_LUT4|INV", name))
    luts += sum(count * _TABLES_OF.get(name, 0) for name, count in cells.items())
    return BoardResult(
        board=board.name,
        part=board.part,
        kind="estimate after synthesis",
        array=config.model_dump(),
        array_sha256=config.sha256,
        rtlil_sha256=sha256,
        luts=luts,
        flip_flops=sum(count for name, count in cells.items() if re.match(r"FD[RSCP]E|DFF|SB_DFF|TRELLIS_FF", name)),
        block_rams=sum(count * _BLOCK_RAMS.get(name, 0) for name, count in cells.items()),
        dsps=sum(cells.get(name, 0) for name in _DSPS),
        clock_hz=board.clock_hz,
        fmax_hz=None,
        seed=None,
        tools=[f"pyosys {version('pyosys')}"],
    )


def build(board: Board, config: ArrayConfig, folder: Path, seeds: Sequence[int], say: Say) -> BoardResult:
    """Make the bitstream in ``folder`` beside the files of ``write_board``; tries seeds until the clock is reached.

    Raises:
        InputError: a tool is missing, the part is too small, or no seed reaches the board's clock.
    """
    tools_of(board)  # refuses a board without them before any work
    say("elaborating")
    write_board(board, config, folder)
    _, sha256 = _synthesize(board, config, folder, say)
    reached: dict[int, float] = {}
    for seed in seeds:
        used = _route(board, config, folder, seed, say)
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        reached[seed] = 1e6 * min(clock["achieved"] for clock in report["fmax"].values())
        if reached[seed] >= board.clock_hz:
            break
    else:
        best = max(reached.values())
        raise InputError(
            f"array {config.name!r} on {board.name} reaches {best / 1e6:.1f} MHz, and the clock is "
            f"{board.clock_hz / 1e6:g} MHz (seeds {', '.join(map(str, seeds))}); take a smaller array or more --seeds"
        )
    say("packing")
    _pack(board, folder)
    cells = {name: entry["used"] for name, entry in report["utilization"].items()}
    luts = {"ecp5": "TRELLIS_COMB", "ice40": "ICESTORM_LC"}[board.family]
    return BoardResult(
        board=board.name,
        part=board.part,
        kind="placed and routed",
        array=config.model_dump(),
        array_sha256=config.sha256,
        rtlil_sha256=sha256,
        luts=cells[luts],
        flip_flops=cells["TRELLIS_FF"] if board.family == "ecp5" else _ice40_flip_flops(folder),
        block_rams=cells["DP16KD" if board.family == "ecp5" else "ICESTORM_RAM"],
        dsps=sum(cells.get(name, 0) for name in (*_DSPS, "ICESTORM_DSP")),
        clock_hz=board.clock_hz,
        fmax_hz=round(reached[seed]),
        seed=seed,
        tools=[f"pyosys {version('pyosys')}", used],
    )


def _synthesize(board: Board, config: ArrayConfig, folder: Path, say: Say) -> tuple[dict[str, int], str]:
    """Netlist ``top.json`` in ``folder``; number of cells by type, and the hash of what was synthesized."""
    say("synthesis")
    folder.mkdir(parents=True, exist_ok=True)
    text = board_rtlil(board, config)
    (folder / "top.il").write_text(text, encoding="utf-8")
    run_yosys(
        [
            "read_rtlil top.il",
            HIDE_FIELDS,
            f"{_SYNTHESIS[board.family]} -top {TOP_NAME}",
            "check -assert",
            "tee -q -o cells.json stat -json",
            "write_json top.json",
        ],
        folder,
    )
    cells = json.loads((folder / "cells.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    if dsps := {name: cells[name] for name in _DSPS if name in cells}:
        raise RuntimeError(f"a multiplier-free design uses {dsps}")
    return cells, hashlib.sha256(text.encode()).hexdigest()


def _route(board: Board, config: ArrayConfig, folder: Path, seed: int, say: Say) -> str:
    """Place and route with one seed, leaving ``report.json`` and ``route.log``; returns the tool and its version."""
    files = {
        "ecp5": ("--lpf", "--textcfg", "top.config", "--router", "router2"),
        "ice40": ("--pcf", "--asc", "top.asc"),
    }
    language, *output = files[board.family]

    def heard(line: str) -> None:
        log.write(line)
        stage = next((word for word in _STAGES if word in line), None)
        if stage:
            say(f"seed {seed}: {line.removeprefix('Info:').strip().rstrip('.')}")

    arguments = ["--json", "top.json", language, constraints_name(board), *output, *board.options.split()]
    arguments += ["--freq", f"{board.clock_hz / 1e6:g}", "--seed", str(seed), "--timing-allow-fail"]
    tools = tools_of(board)
    try:
        with open(folder / "route.log", "w", encoding="utf-8") as log:
            return run_tool(tools, tools.route, [*arguments, "--report", "report.json"], folder, heard)
    except ToolFailure as failure:
        raise InputError(f"array {config.name!r} does not fit {board.name}: {failure}; take a smaller array") from None


def _pack(board: Board, folder: Path) -> None:
    """The bitstream ``top.bit`` or ``top.bin``."""
    tools = tools_of(board)
    arguments = {"ecp5": ["--compress", "top.config", "top.bit"], "ice40": ["top.asc", "top.bin"]}
    run_tool(tools, tools.pack, arguments[board.family], folder, lambda line: None)


def _ice40_flip_flops(folder: Path) -> int:
    """nextpnr packs an iCE40 flip-flop into its logic cell and does not count it; synthesis does."""
    cells = json.loads((folder / "cells.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    return sum(count for name, count in cells.items() if name.startswith("SB_DFF"))
