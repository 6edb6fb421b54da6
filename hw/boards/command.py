"""``tritforge bitstream``, ``simulate`` and ``boards``: bitstreams, boards without the board, and their table."""

import json
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hw.artifact import file_name, write_text
from hw.boards.catalog import Board, board_config, load_board
from hw.boards.results import RESULTS, BoardResult, load_results, markdown, result_path, table
from hw.boards.whole.options import add_whole, chosen_image, chosen_whole
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.pages import screen
from hw.progress import spinner
from hw.synthesis.families import FAMILIES

if TYPE_CHECKING:
    from hw.boards.whole.design import WholeDesign

__all__ = ["add_bitstream", "add_boards", "add_simulate"]

_BUILD = Path("build/boards")
_PAGE = Path("docs/boards.md")
_SIMULATED = "4x4"  # array


def add_bitstream(parser: ArgumentParser) -> None:
    """Options of ``bitstream``."""
    _add_board(parser)
    parser.add_argument("--array", help="a name, RxC, or a .yaml file (default: what fits the board)")
    _add_program(parser)
    add_whole(parser)
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="placements to try until the clock is reached (default: 3)"
    )
    parser.add_argument(
        "--every-seed", action="store_true",
        help="try all side by side, in folders seedN, keep the fastest, and its result though it misses the clock",
    )  # fmt: skip
    parser.add_argument(
        "--blocks", action="store_true",
        help="with --whole --every-seed: measure what each block takes, by a synthesis apart",
    )  # fmt: skip
    parser.add_argument(
        "--estimate", action="store_true", help="stop after synthesis, which is all there is for Xilinx"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help=f"folder of the files (default: {_BUILD}/BOARD-ARRAY)"
    )
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULTS} for the docs")
    _add_json(parser)
    parser.set_defaults(run=_bitstream)


def add_simulate(parser: ArgumentParser) -> None:
    """Options of ``simulate``."""
    _add_board(parser)
    parser.add_argument("--array", help=f"a name, RxC, or a .yaml file; small ones run fast (default: {_SIMULATED})")
    _add_program(parser)
    add_whole(parser)
    parser.add_argument(
        "--preload", action="store_true",
        help="start with --program in the memory, which spares the line's time; the host program then finds it there",
    )  # fmt: skip
    _add_json(parser)
    parser.set_defaults(run=_simulate)


def add_boards(parser: ArgumentParser) -> None:
    """Options of ``boards``."""
    parser.add_argument("--docs", action="store_true", help=f"write the results into {_PAGE} instead")
    _add_json(parser)
    parser.set_defaults(run=_boards)


def _add_board(parser: ArgumentParser) -> None:
    parser.add_argument("--board", required=True, help="the board (tritforge list boards)")


def _add_program(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--program", type=Path, metavar="DIR", help="what `tritforge program` wrote: with --whole, the machine for it"
    )


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _bitstream(options: Namespace) -> None:
    """Build, show, and keep if asked."""
    board = load_board(options.board)
    if options.seeds < 1:
        raise InputError(f"--seeds must be at least 1, not {options.seeds}")
    board, config = _chosen(board, options)
    folder = options.out or _BUILD / file_name(f"{board.name}-{config.name}")
    flow = FAMILIES[board.family].flow
    placed = flow and flow.package
    if options.every_seed and options.estimate:
        raise InputError("--every-seed must come without --estimate")
    if options.every_seed and not placed:
        raise InputError(f"--every-seed must be left out on {board.name}, whose tops are only estimated here")
    if options.blocks and not (options.every_seed and options.whole):
        raise InputError("--blocks must come with --whole --every-seed, whose result it goes into")
    # Amaranth is imported only by the command that elaborates.
    from hw.boards.bitstream import build, build_best, estimate

    with spinner(f"{board.name} {config.name}") as say:
        if options.estimate or not placed:
            result = estimate(board, config, folder, say)
        elif options.every_seed:
            result = build_best(board, config, folder, range(1, options.seeds + 1), options.blocks, say)
        else:
            result = build(board, config, folder, range(1, options.seeds + 1), say)
    document = json.dumps(result.to_json(), indent=1) + "\n"
    write_text(folder / "result.json", document)
    if options.save:
        write_text(result_path(board.name, config.name if options.whole else None), document)
    _show([result], options.json)


def _chosen(board: Board, options: Namespace) -> "tuple[Board, ArrayConfig | WholeDesign]":
    """The board at its clock, and what it is to hold."""
    if options.whole:
        return chosen_whole(board, options, chosen_image(options))
    names = ("program", "lanes", "chip", "mhz", "memory_clock")
    if given := [name for name in names if getattr(options, name) is not None]:
        raise InputError(f"--{given[0].replace('_', '-')} must come with --whole, the machine that runs programs")
    if options.ram != "auto":
        raise InputError("--ram must come with --whole: an array has buffers and no memory")
    return board, board_config(board, options.array)


def _simulate(options: Namespace) -> None:
    """Simulate until interrupted."""
    board = load_board(options.board)
    if options.preload and not (options.whole and options.program):
        raise InputError("--preload must come with --whole --program DIR, which it puts into the memory")
    if not options.whole:
        options.array = options.array or _SIMULATED
    board, config = _chosen(board, options)
    from hw.boards.simulation import SimulatedBoard  # Amaranth is imported only by the command that elaborates

    image = chosen_image(options) if options.preload else None
    with Console(stderr=True).status(
        f"{board.name} {config.name}: compiling (once, {'minutes' if options.whole else 'under a minute'})"
    ):
        simulated = SimulatedBoard(board, config, preload=image.memory.tobytes() if image else b"")
    with simulated:
        if options.json:
            print(json.dumps({"board": board.name, "array": config.name, "port": str(simulated.port)}), flush=True)
        else:
            print(f"{board.name} {config.name} on {simulated.port}; Ctrl-C ends it. In another terminal:", flush=True)
            what = f"--whole {options.program or 'DIR'} --baud {simulated.baud}" if options.whole else "--selftest"
            print(f"  tritforge host --port {simulated.port} {what} --timeout 60", flush=True)
        with suppress(KeyboardInterrupt):
            simulated.wait()
    if simulated.fault:
        raise RuntimeError(simulated.fault)


def _boards(options: Namespace) -> None:
    """Show the committed results, or write them into the page."""
    results = load_results()
    if options.docs:
        page = _PAGE.read_text(encoding="utf-8")
        write_text(_PAGE, markdown(page, results))
        print(json.dumps({"files": [str(_PAGE)]}) if options.json else _PAGE)
        return
    _show(results, options.json)


def _show(results: list[BoardResult], as_json: bool) -> None:
    """As JSON or as a table."""
    if as_json:
        print(json.dumps([result.to_json() for result in results]))
    else:
        screen().print(table(results))
