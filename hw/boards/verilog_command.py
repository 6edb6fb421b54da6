"""``tritforge verilog``: Verilog of an array, or of a board's top level with its constraints and build script."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import file_name, write_text
from hw.boards.catalog import board_config, load_board
from hw.boards.whole.options import add_whole, chosen_image, chosen_whole
from hw.config import load_array
from hw.errors import InputError
from hw.integration.kits import KITS, write_kit
from hw.program.image import load_image

__all__ = ["add_verilog"]

_BUILD = Path("build/verilog")


def add_verilog(parser: ArgumentParser) -> None:
    """Options of ``verilog``."""
    parser.add_argument("--array", help="a name, RxC, or a .yaml file (default: 8x8, or what fits the board)")
    parser.add_argument(
        "--board",
        help="also write a top level, constraints and a build script for this board (tritforge list boards)",
    )
    parser.add_argument(
        "--program", type=Path, metavar="DIR",
        help="the whole-token machine that `tritforge program` compiled DIR for, instead of an array; "
        "with --board and --whole the board that runs it",
    )  # fmt: skip
    add_whole(parser)
    parser.add_argument(
        "--top",
        choices=("core", "axi", "axi-dma"),
        metavar="{core,axi,axi-dma}",
        help="bare streams; AXI4-Stream with AXI4-Lite registers; or AXI4 masters that fetch and store the packets "
        "themselves, with AXI4-Lite registers; not with --board (default: core)",
    )
    parser.add_argument(
        "--memories",
        choices=("inferred", "macros"),
        help="memories as arrays that tools infer RAM from, or as modules of tritforge_memories.v, each to be replaced "
        "by a memory compiler's macro or a vendor's RAM; not with --board (default: inferred)",
    )
    parser.add_argument(
        "--core-clock",
        choices=("bus", "separate"),
        help="with --top axi, axi-dma or --for: the core runs on the bus clock, or on a clock of its own, core_clk, at "
        "any ratio and phase; every channel then crosses through a queue (default: bus)",
    )
    parser.add_argument(
        "--for", dest="kit", choices=tuple(KITS), metavar=f"{{{','.join(KITS)}}}",
        help="the AXI top with what an integrator needs: "
        + ", ".join(f"{name} ({what})" for name, what in KITS.items())
        + "; --top axi-dma for fusesoc and vivado; not with --board",
    )  # fmt: skip
    parser.add_argument(
        "--check",
        action="store_true",
        help="also let Yosys prove that no weight is multiplied: no multiplier among the core's word-level cells",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"folder of the files (default: {_BUILD}/NAME)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.set_defaults(run=_verilog)


def _verilog(options: Namespace) -> None:
    """Write the files and name them."""
    if options.whole:
        _write_whole_board(options)
        return
    alone = (options.lanes, options.mhz, options.chip, options.memory_clock)
    if any(one is not None for one in alone) or options.ram != "auto":
        raise InputError("--lanes, --mhz, --memory-clock, --ram and --chip must come with --whole and --board")
    if options.program:
        _write_machine(options)
        return
    if options.board and options.kit:
        raise InputError("--for must be left out with --board, whose top is not the AXI top")
    if options.board and options.top:
        raise InputError("--top must be left out with --board, whose top is its own")
    if options.kit and options.top == "core":
        raise InputError("--top must be axi or axi-dma with --for, whose kits have registers on a bus, not 'core'")
    if options.core_clock and not options.kit and options.top not in ("axi", "axi-dma"):
        raise InputError("--core-clock must come with --top axi, --top axi-dma or --for, whose tops have a bus")
    if options.memories and options.board:
        raise InputError(
            "--memories must be left out with --board, whose tool infers block RAM; macros are for --for, --top and "
            "--program"
        )
    board = load_board(options.board) if options.board else None
    config = board_config(board, options.array) if board else load_array(options.array or "8x8")
    name = f"{board.name}-{config.name}" if board else f"{config.name}-{options.kit}" if options.kit else config.name
    folder = options.out or _BUILD / file_name(name)
    # Amaranth is imported only by the command that elaborates.
    if board:
        from hw.boards.project import write_board

        paths = write_board(board, config, folder)
    elif options.kit:
        clock, memories = options.core_clock or "bus", options.memories or "inferred"
        paths = write_kit(config, options.kit, folder, clock, options.top or "axi", memories)
    else:
        from hw.verilog import write_verilog

        paths = write_verilog(
            config, folder, options.top or "core", options.core_clock or "bus", options.memories or "inferred"
        )
    proof = None
    if options.check:
        from hw.synthesis.word_level import prove_multiplier_free

        proof = prove_multiplier_free(config)
    if options.json:
        found = {"array": config.name, "board": board and board.name, "files": [str(path) for path in paths]}
        print(json.dumps(found | ({"check": proof._asdict()} if proof else {})))
        return
    print(f"{config.name}: {config.rows} lanes x {config.cols} columns, latency {config.pipeline_latency} edges")
    for path in paths:
        print(f"  {path}")
    if proof:
        print(
            f"  no weight is multiplied: {proof.adders} adders, {proof.multipliers} multipliers in the flattened core"
            + (f", those of the requantizers ({proof.in_requantizers})" if proof.in_requantizers else "")
        )


def _write_whole_board(options: Namespace) -> None:
    """Top level, constraints and script of a board with a whole-token machine."""
    if not options.board:
        raise InputError("--whole needs --board; `tritforge verilog --program DIR` writes the machine alone")
    if options.check or options.top or options.kit or options.core_clock or options.memories:
        raise InputError("--check, --core-clock, --for, --memories and --top must be left out with --whole")
    board, design = chosen_whole(load_board(options.board), options, chosen_image(options))
    from hw.boards.project import write_board

    folder = options.out or _BUILD / file_name(f"{board.name}-{design.name}")
    paths = write_board(board, design, folder)
    if options.json:
        print(json.dumps({"array": design.name, "board": board.name, "files": [str(path) for path in paths]}))
        return
    print(
        f"{board.name}: {design.machine.array.name}, {design.machine.lanes} vector lanes at "
        f"{board.clock_hz / 1e6:g} MHz, {design.memory_bytes} bytes of memory ({design.memory})"
    )
    print(*(f"  {path}" for path in paths), sep="\n")


def _write_machine(options: Namespace) -> None:
    """Verilog of the machine of a program."""
    from hw.gateware.macros.memories import MACROS_NAME, MacroPlatform, default_macros
    from hw.verilog import MACHINE_NAME, machine_verilog

    if given := [name for name in ("array", "board") if getattr(options, name)]:
        raise InputError(
            f"--{given[0]} must be left out with --program, whose machine is written, but for --board with --whole"
        )
    if options.check or options.top or options.kit or options.core_clock:
        raise InputError("--check, --core-clock, --for and --top must be left out with --program")
    machine = load_image(options.program).machine
    folder = options.out or options.program
    platform = MacroPlatform() if options.memories == "macros" else None
    texts = {f"{MACHINE_NAME}.v": machine_verilog(machine, platform)}
    if platform:
        texts[MACROS_NAME] = default_macros()
    for name, text in texts.items():
        write_text(folder / name, text)
    paths = [str(folder / name) for name in texts]
    if options.json:
        print(json.dumps({"files": paths, "lanes": machine.lanes, "array": machine.array.name}))
    else:
        print(f"{machine.array.name}, {machine.lanes} vector lanes: a whole-token machine")
        print(*(f"  {path}" for path in paths), sep="\n")
