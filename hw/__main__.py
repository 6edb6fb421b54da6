"""Command line of the hardware: Verilog of an array or a board, its size on an FPGA, the host side of a board."""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from hw.boards.catalog import BOARDS, board_config, load_board
from hw.boards.command import add_parsers as add_boards
from hw.cli import CommandParser, run
from hw.config import array_names, load_array
from hw.gates.command import add_parser as add_gates
from hw.host.command import add_parser as add_host
from hw.simulation.command import add_parser as add_wave
from hw.simulation.diagram_command import add_parser as add_diagram
from hw.synthesis.command import add_parser as add_resources
from hw.synthesis.option_costs import add_parser as add_options

_BUILD = Path("build/verilog")


def _parser() -> CommandParser:
    parser = CommandParser(prog="python -m hw", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    verilog = commands.add_parser("verilog", help="write deterministic Verilog and config.json")
    verilog.add_argument("--array", help="a name, RxC, or a .yaml file; default: 8x8, or what fits the board")
    verilog.add_argument("--board", help="also write a top level, constraints and a build script for this board")
    verilog.add_argument(
        "--top", default="core", help="core (bare streams) or axi (AXI4-Stream, AXI4-Lite); not with --board"
    )
    verilog.add_argument("--out", type=Path, help="folder; default: build/verilog/NAME")
    verilog.add_argument("--list", action="store_true", help="list the known arrays and boards")
    verilog.add_argument("--json", action="store_true", help="print JSON")
    verilog.set_defaults(run=_verilog)
    add_boards(commands)
    add_host(commands)
    add_gates(commands)
    add_resources(commands)
    add_wave(commands)
    add_diagram(commands)
    add_options(commands)
    return parser


def _list(as_json: bool) -> None:
    """Print what --array and --board take by name."""
    known = {
        "arrays": [*array_names(), "RxC"],
        "boards": {board.name: f"{board.rows}x{board.cols}" for board in BOARDS.values()},
    }
    if as_json:
        print(json.dumps(known))
        return
    print("arrays: " + ", ".join(known["arrays"]))
    print("boards: " + ", ".join(f"{name} ({array})" for name, array in known["boards"].items()))


def _verilog(options: Namespace) -> None:
    """Write the files and name them."""
    if options.list:
        _list(options.json)
        return
    board = load_board(options.board) if options.board else None
    config = board_config(board, options.array) if board else load_array(options.array or "8x8")
    folder = options.out or _BUILD / (f"{board.name}-{config.name}" if board else config.name)
    # Amaranth is imported only by the command that elaborates.
    if board:
        from hw.boards.project import write_board

        paths = write_board(board, config, folder)
    else:
        from hw.verilog import write_verilog

        paths = write_verilog(config, folder, options.top)
    if options.json:
        print(json.dumps({"array": config.name, "board": board and board.name, "files": [str(path) for path in paths]}))
        return
    print(f"{config.name}: {config.rows} lanes x {config.cols} columns, latency {config.pipeline_latency} edges")
    for path in paths:
        print(f"  {path}")


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    options = _parser().parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    run(main)
