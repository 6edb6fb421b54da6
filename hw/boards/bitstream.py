"""From a board and an array to a bitstream, with what it takes and how fast it is: synthesis, place, route, pack."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw.boards.capacity import check_capacity, check_machine_room
from hw.boards.catalog import Board
from hw.boards.floorplan import NAME_OPERANDS, die_of, fix_operands
from hw.boards.project import board_cores, board_rtlil, write_board
from hw.boards.results import BoardResult
from hw.boards.tools import ToolFailure, flow_of, run_tool
from hw.boards.top import TOP_NAME
from hw.boards.whole.blocks import top_blocks
from hw.boards.whole.design import WholeDesign
from hw.boards.whole.reached import reached_hz
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.process.threads import usable_cpus
from hw.program.image import config_tag
from hw.synthesis.carry_chains import shorten_chains
from hw.synthesis.families import FAMILIES
from hw.synthesis.yosys import FIFO_READS, HIDE_FIELDS, KEEP_COPIES, run_yosys

__all__ = ["build", "build_best", "estimate", "route_seeds"]

_STAGES = ("Packing", "placer", "Routing", "Running router")  # words of nextpnr that open a stage

Say = Callable[[str], None]


def estimate(board: Board, config: ArrayConfig | WholeDesign, folder: Path, say: Say) -> BoardResult:
    """Synthesize only: cells, no timing.

    Raises:
        InputError: pyosys is missing, or the array has no room.
    """
    if isinstance(config, ArrayConfig):
        check_capacity(board, config)
    cells, sha256 = _synthesize(board, config, folder, say)
    family = FAMILIES[board.family]
    return BoardResult(
        board=board.name,
        part=board.part,
        kind="estimate after synthesis",
        **_identity(config),
        rtlil_sha256=sha256,
        luts=_count(cells, family.tables | family.board_tables),
        flip_flops=_flip_flops(board, cells),
        block_rams=_count(cells, family.block_rams),
        dsps=sum(cells.get(name, 0) for name in family.dsps),
        clock_hz=board.clock_hz,
        fmax_hz=None,
        seed=None,
        tools=[f"pyosys {version('pyosys')}"],
    )


def build(board: Board, config: ArrayConfig | WholeDesign, folder: Path, seeds: Sequence[int], say: Say) -> BoardResult:
    """Make the bitstream in ``folder`` beside the files of ``write_board``; tries seeds until the clock is reached.

    Raises:
        InputError: a tool is missing, the part is too small, or no seed reaches the board's clock.
    """
    _check_route(board, config)
    say("elaborating")
    write_board(board, config, folder)
    synthesized, sha256 = _synthesize(board, config, folder, say)
    reached: dict[int, float] = {}
    for seed in seeds:
        used = _route(board, config, folder, seed, say)
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        reached[seed] = reached_hz(report, board.clock_hz, _ratio(config))
        if reached[seed] >= board.clock_hz:
            break
    else:
        best = max(reached.values())
        raise InputError(
            f"array {config.name!r} on {board.name} reaches {best / 1e6:.1f} MHz, and the clock is "
            f"{board.clock_hz / 1e6:g} MHz (seeds {', '.join(map(str, seeds))}); take a smaller array or more --seeds"
            + (", or a lower --mhz" if isinstance(config, WholeDesign) else "")
        )
    say("packing")
    _pack(board, folder)
    return _placed(board, config, sha256, report, synthesized, reached[seed], seed, used)


def build_best(
    board: Board, design: ArrayConfig | WholeDesign, folder: Path, seeds: Sequence[int], blocks: bool, say: Say
) -> BoardResult:
    """Place and route with every seed side by side and keep the fastest; its bitstream where it reaches the clock.

    The result holds what each seed reached, and with ``blocks`` what each block of a machine takes.

    Raises:
        InputError: a tool is missing, or the part is too small.
    """
    reached: dict[int, float] = {}
    _check_route(board, design)
    write_board(board, design, folder)
    synthesized, sha256 = _synthesize(board, design, folder, say)
    if blocks:
        say("blocks")
        sizes = top_blocks(folder, board.family, board_cores(board, design))
    used = _route_every(board, design, folder, seeds, say, lambda seed, cells: reached.__setitem__(seed, cells["mhz"]))
    best = max(reached, key=reached.__getitem__)
    fmax_hz, own = 1e6 * reached[best], folder / f"seed{best}"
    if fmax_hz >= board.clock_hz:
        _pack(board, own)
    report = json.loads((own / "report.json").read_text(encoding="utf-8"))
    found = _placed(board, design, sha256, report, synthesized, fmax_hz, best, used)
    found = replace(found, seeds_mhz={str(seed): reached[seed] for seed in sorted(reached)})
    return replace(found, whole={**(found.whole or {}), "blocks": sizes}) if blocks else found


def _placed(
    board: Board, config: ArrayConfig | WholeDesign, sha256: str, report: dict, synthesized: dict[str, int],
    fmax_hz: float, seed: int, used: str,
) -> BoardResult:  # fmt: skip
    """The result of a placement from nextpnr's report."""
    flow = flow_of(board)
    cells = {name: entry["used"] for name, entry in report["utilization"].items()}
    return BoardResult(
        board=board.name,
        part=board.part,
        kind="placed and routed",
        **_identity(config),
        rtlil_sha256=sha256,
        luts=cells[flow.luts],
        flip_flops=cells[flow.flip_flops] if flow.flip_flops else _flip_flops(board, synthesized),
        block_rams=cells[flow.block_rams],
        dsps=sum(cells.get(name, 0) for name in FAMILIES[board.family].dsps),
        clock_hz=board.clock_hz,
        fmax_hz=round(fmax_hz),
        seed=seed,
        tools=[f"pyosys {version('pyosys')}", used],
        asked_hz=board.asked_hz or None,
    )


def route_seeds(
    board: Board,
    design: ArrayConfig | WholeDesign,
    folder: Path,
    seeds: Sequence[int],
    say: Say,
    done: Callable[[int, dict], None],
) -> tuple[dict[str, int], str]:
    """Place and route with every seed, side by side, whatever clock is reached; no bitstream.

    ``done``: is given each seed as it ends, with cells by nextpnr's names and ``mhz``, the slowest clock. Returns the
    cells behind synthesis and the hash of what was synthesized; the folder ``seedN`` has the rest.

    Raises:
        InputError: a tool is missing, or the part is too small.
    """
    _check_route(board, design)
    write_board(board, design, folder)
    synthesized = _synthesize(board, design, folder, say)
    _route_every(board, design, folder, seeds, say, done)
    return synthesized


def _check_route(board: Board, design: ArrayConfig | WholeDesign) -> None:
    """Refuse a board without a flow, or without room for any machine, before any work."""
    if isinstance(design, WholeDesign):
        check_machine_room(board)
    flow_of(board)


def _route_every(
    board: Board,
    design: ArrayConfig | WholeDesign,
    folder: Path,
    seeds: Sequence[int],
    say: Say,
    done: Callable[[int, dict], None],
) -> str:
    """Place and route what is synthesized in ``folder`` with every seed, see ``route_seeds``; the tool and version."""

    def routed(seed: int) -> tuple[int, dict]:
        own = folder / f"seed{seed}"
        own.mkdir(exist_ok=True)
        for name in (path.name for path in folder.iterdir() if path.is_file()):
            shutil.copy(folder / name, own)
        used.add(_route(board, design, own, seed, say))
        report = json.loads((own / "report.json").read_text(encoding="utf-8"))
        cells = {name: entry["used"] for name, entry in report["utilization"].items()}
        return seed, {**cells, "mhz": round(reached_hz(report, board.clock_hz, _ratio(design)) / 1e6, 2)}

    used: set[str] = set()
    with ThreadPoolExecutor(max(1, min(len(seeds), usable_cpus()))) as pool:
        for future in as_completed([pool.submit(routed, seed) for seed in seeds]):
            done(*future.result())
    return used.pop()


def _synthesize(board: Board, config: ArrayConfig | WholeDesign, folder: Path, say: Say) -> tuple[dict[str, int], str]:
    """Netlist ``top.json`` in ``folder``; number of cells by type, and the hash of what was synthesized."""
    say("synthesis")
    family = FAMILIES[board.family]
    whole = isinstance(config, WholeDesign)
    planned = _is_planned(board, config)
    folder.mkdir(parents=True, exist_ok=True)
    text = board_rtlil(board, config)
    cores = board_cores(board, config)
    for name, source in {"top.il": text, **cores}.items():
        (folder / name).write_text(source, encoding="utf-8")
    run_yosys(
        [
            "read_rtlil top.il",
            *(f"read_verilog {name}" for name in cores),
            *KEEP_COPIES,
            *FIFO_READS,
            HIDE_FIELDS,
            *([NAME_OPERANDS] if planned else []),
            f"{family.synthesis} {'' if whole else family.board_options} -top {TOP_NAME}",
            "check -assert",
            "tee -q -o cells.json stat -json",
            "write_json top.json",
        ],
        folder,
    )
    if family.shortens_chains:
        netlist = json.loads((folder / "top.json").read_text(encoding="utf-8"))
        shorten_chains(netlist)
        if planned:
            fix_operands(netlist, config, die_of(board.part))
        (folder / "top.json").write_text(json.dumps(netlist), encoding="utf-8")
    cells = json.loads((folder / "cells.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    if not whole and (dsps := {name: cells[name] for name in family.dsps if name in cells}):
        raise RuntimeError(f"a multiplier-free design uses {dsps}")
    return cells, hashlib.sha256("".join((text, *cores.values())).encode()).hexdigest()


def _is_planned(board: Board, design: ArrayConfig | WholeDesign) -> bool:
    """Whether operands have places of their own, see ``hw.boards.floorplan``."""
    return board.floorplan and isinstance(design, ArrayConfig) and not design.structure.outputs_stationary


def _ratio(design: ArrayConfig | WholeDesign) -> int:
    """Of a memory's clock to the design's."""
    return design.memory_ratio if isinstance(design, WholeDesign) else 1


def _identity(config: ArrayConfig | WholeDesign) -> dict[str, Any]:
    """Fields of a result that say what was built."""
    if isinstance(config, ArrayConfig):
        return {"array": config.model_dump(), "array_sha256": config.sha256}
    array = config.machine.array
    about = {"lanes": config.machine.lanes, "memory": config.memory, "memory_bytes": config.memory_bytes}
    about |= {"configuration": f"{config_tag(config.machine):016x}", "baud": config.baud}
    about |= {"memory_ratio": config.memory_ratio} if config.memory_ratio > 1 else {}
    return {"array": array.model_dump(), "array_sha256": array.sha256, "whole": about}


def _route(board: Board, config: ArrayConfig | WholeDesign, folder: Path, seed: int, say: Say) -> str:
    """Place and route with one seed, leaving ``report.json`` and ``route.log``; returns the tool and its version."""
    flow = flow_of(board)

    def heard(line: str) -> None:
        log.write(line)
        stage = next((word for word in _STAGES if word in line), None)
        if stage:
            say(f"seed {seed}: {line.removeprefix('Info:').strip().rstrip('.')}")

    arguments = ["--json", "top.json", *flow.route_arguments.split()]
    arguments += board.routing(isinstance(config, WholeDesign)).split()
    arguments += ["--router", flow.router, "--freq", f"{board.clock_hz / 1e6:g}"]
    arguments += ["--seed", str(seed), "--timing-allow-fail"]
    # takes out wires that are too long, and may not end where the clock is out of reach
    if _is_planned(board, config) and config.lanes <= board.rows * board.cols:
        arguments.append("--tmg-ripup")
    try:
        with open(folder / "route.log", "w", encoding="utf-8", buffering=1) as log:  # a line at a time, to be followed
            return run_tool(flow, flow.route, [*arguments, "--report", "report.json"], folder, heard)
    except ToolFailure as failure:
        raise InputError(f"array {config.name!r} does not fit {board.name}: {failure}; take a smaller array") from None


def _pack(board: Board, folder: Path) -> None:
    """The bitstream ``top.bit``, ``top.bin`` or ``top.fs``."""
    flow = flow_of(board)
    run_tool(flow, flow.pack, [*board.pack_options.split(), *flow.pack_arguments.split()], folder, lambda line: None)


def _count(cells: dict[str, int], weights: dict[str, int] | dict[str, float]) -> int | float:
    """Cells by type, each counted as its weight."""
    return sum(cells.get(name, 0) * weight for name, weight in weights.items())


def _flip_flops(board: Board, cells: dict[str, int]) -> int:
    """Flip-flops of every kind after synthesis; nextpnr packs an iCE40's into logic cells and does not count them."""
    kinds = FAMILIES[board.family].flip_flops
    return sum(count for name, count in cells.items() if re.fullmatch(kinds, name))
