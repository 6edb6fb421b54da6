"""``python -m hw bitstream``, ``simulate`` and ``boards``: bitstreams, boards without the board, and their table."""

import json
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hw.artifact import write_text
from hw.boards.catalog import board_config, load_board
from hw.boards.results import RESULTS, BoardResult, load_results, markdown, result_path, table
from hw.boards.tools import TOOLS
from hw.errors import InputError

__all__ = ["add_parsers"]

_BUILD = Path("build/boards")
_PAGE = Path("docs/boards.md")


def add_parsers(commands) -> None:
    """Add the sub-commands ``bitstream`` and ``boards`` to the sub-parsers of ``python -m hw``."""
    parser: ArgumentParser = commands.add_parser("bitstream", help="synthesize, place, route and pack for a board")
    parser.add_argument("--board", required=True, help="a board of `python -m hw verilog --list`")
    parser.add_argument("--array", help="a name, RxC, or a .yaml file; default: what fits the board")
    parser.add_argument("--seeds", type=int, default=3, help="placements to try until the clock is reached")
    parser.add_argument("--estimate", action="store_true", help="synthesis only (all there is for Xilinx and Gowin)")
    parser.add_argument("--out", type=Path, help=f"folder; default: {_BUILD}/BOARD-ARRAY")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULTS} for the docs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_bitstream)
    parser = commands.add_parser("simulate", help="a board's top level, Verilated, behind a virtual serial port")
    parser.add_argument("--board", required=True, help="a board of `python -m hw verilog --list`")
    parser.add_argument("--array", default="4x4", help="a name, RxC, or a .yaml file; small ones run fast")
    parser.set_defaults(run=_simulate)
    parser = commands.add_parser("boards", help="the results of all boards")
    parser.add_argument("--docs", action="store_true", help=f"write them into {_PAGE}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_boards)


def _bitstream(options: Namespace) -> None:
    """Build, show, and keep if asked."""
    board = load_board(options.board)
    if options.seeds < 1:
        raise InputError(f"--seeds must be at least 1, not {options.seeds}")
    config = board_config(board, options.array)
    folder = options.out or _BUILD / f"{board.name}-{config.name}"
    from hw.boards.bitstream import build, estimate  # Amaranth is imported only by the command that elaborates

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=options.json) as progress:
        task = progress.add_task(board.name, total=None)

        def say(stage: str) -> None:
            progress.update(task, description=f"{board.name} {config.name}: {stage}")

        if options.estimate or board.family not in TOOLS:
            result = estimate(board, config, folder, say)
        else:
            result = build(board, config, folder, range(1, options.seeds + 1), say)
    document = json.dumps(result.to_json(), indent=1) + "\n"
    write_text(folder / "result.json", document)
    if options.save:
        write_text(result_path(board.name), document)
    _show([result], options.json)


def _simulate(options: Namespace) -> None:
    """Simulate until interrupted."""
    board = load_board(options.board)
    config = board_config(board, options.array)
    from hw.boards.simulation import SimulatedBoard  # Amaranth is imported only by the command that elaborates

    with Console(stderr=True).status(f"{board.name} {config.name}: compiling (once, under a minute)"):
        simulated = SimulatedBoard(board, config)
    with simulated:
        print(f"{board.name} {config.name} on {simulated.port}; Ctrl-C ends it. In another terminal:", flush=True)
        print(f"  python -m hw host --port {simulated.port} --selftest --timeout 60", flush=True)
        with suppress(KeyboardInterrupt):
            simulated.wait()


def _boards(options: Namespace) -> None:
    """Show the committed results, or write them into the page."""
    results = load_results()
    if options.docs:
        page = _PAGE.read_text(encoding="utf-8")
        write_text(_PAGE, markdown(page, results))
        print(_PAGE)
        return
    _show(results, options.json)


def _show(results: list[BoardResult], as_json: bool) -> None:
    """As JSON or as a table."""
    if as_json:
        print(json.dumps([result.to_json() for result in results]))
    else:
        Console().print(table(results))
