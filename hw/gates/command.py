"""``tritforge gates``: area, timing and energy of an array in a cell library, and the table of all formats."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from hw.config import load_array
from hw.errors import InputError
from hw.gates.flow.cells import Library
from hw.gates.flow.library import load_library, short_name
from hw.pages import screen
from hw.progress import spinner

__all__ = ["add_gates", "gates"]

CACHE = Path("build/gates")
_VECTORS = 2048
_DOCUMENT = Path(__file__).parents[2] / "docs" / "gates.md"


def add_gates(parser: ArgumentParser) -> None:
    """Options of ``gates``."""
    parser.add_argument(
        "--array", default="16x4", help="lanes x columns of the adder-tree array, or an array's name (default: 16x4)"
    )
    parser.add_argument(
        "--lib", type=Path, nargs="+", metavar="FILE", help="Liberty files of one library (.lib or .lib.gz)"
    )
    parser.add_argument(
        "--format",
        default="ternary",
        help="arithmetic: ternary, core, int2, int4, int8, fp16-fp32, ..., all (default: ternary)",
    )
    parser.add_argument(
        "--accumulator",
        type=int,
        metavar="BITS",
        help="accumulator bits (default: those of the array, 20 in the table)",
    )
    parser.add_argument(
        "--zeros",
        type=float,
        default=0.4,
        metavar="SHARE",
        help="share of zeros in synthetic weights (default: 0.4)",
    )
    parser.add_argument(
        "--cycles", type=int, default=_VECTORS, metavar="N", help=f"vectors to simulate (default: {_VECTORS})"
    )
    parser.add_argument(
        "--activations", type=Path, metavar="FILE", help=".npy of recorded activations, int8 (tokens, k)"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".npy of trits, int8 (n, k)")
    parser.add_argument("--table", action="store_true", help="measure all formats, widths and zero fractions; resumes")
    parser.add_argument(
        "--results",
        type=Path,
        default=CACHE / "results",
        metavar="FOLDER",
        help="folder of the JSON files that --table, --vector, --machine, --wires and --cross-check write "
        f"(default: {CACHE / 'results'}; those of the documents are in hw/gates/results)",
    )
    parser.add_argument(
        "--cross-check", action="store_true", help="compare lanes with Icarus (energy) and OpenSTA (timing)"
    )
    parser.add_argument(
        "--vector", action="store_true", help="measure the vector unit's blocks: area, timing, energy of an element"
    )
    parser.add_argument(
        "--machine", action="store_true", help="measure the logic of the whole-token machine around the array, by block"
    )
    parser.add_argument(
        "--lanes", type=int, metavar="N", help="vector lanes of --machine (default: as few as it needs)"
    )
    parser.add_argument(
        "--wires", action="store_true", help="measure what wires and clock distribution add to a placed block"
    )
    parser.add_argument("--document", action="store_true", help="write docs/gates.md from the committed tables")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=gates)


def gates(options: Namespace) -> None:
    """Run the command.

    Raises:
        InputError: a faulty option or file.
    """
    if options.document:
        from hw.gates.document import write_document

        write_document(_DOCUMENT)
        written = str(_DOCUMENT.relative_to(_DOCUMENT.parents[1]))
        print(json.dumps({"files": [written]}) if options.json else f"wrote {written}")
        return
    if not options.lib:
        raise InputError("gates needs --lib with the Liberty file of a cell library (SKY130, IHP, GF180, ASAP7, GT2N)")
    if bool(options.activations) != bool(options.weights):
        raise InputError("--activations and --weights must be given together")
    if options.lanes is not None and not options.machine:
        raise InputError("--lanes must come with --machine")
    if not 0 <= options.zeros <= 1:
        raise InputError(f"--zeros must be a share between 0 and 1, not {options.zeros}")
    if options.cycles < 4 * 64:
        raise InputError(f"--cycles must be at least 256, four weight tiles, not {options.cycles}")
    with spinner("gates") as say:
        say("reading the library")
        library = load_library(options.lib, CACHE / "libraries")
        if options.vector:
            rows = _vector(options, library, say)
        elif options.machine:
            rows = _machine(options, library, say)
        elif options.wires:
            rows = _wires(options, library, say)
        elif options.cross_check:
            rows = _cross_check(options, library, say)
        else:
            rows = (_table if options.table else _array)(options, library, say)
    if options.json or options.cross_check or options.wires or options.machine:
        print(json.dumps(rows))
    elif options.vector:
        _print_blocks(rows, library)
    else:
        _print(rows, library)


def _files(options: Namespace) -> tuple[Path, Path] | None:
    return (options.activations, options.weights) if options.activations else None


def _table(options: Namespace, library: Library, say: Callable[[str], None]) -> list[dict]:
    from hw.gates.table import read_table, run_table

    def show(text: str, done: int, total: int) -> None:
        say(f"{text}, {done} of {total}")

    path = run_table(library, short_name(library.name), options.results, CACHE / "netlists", _files(options), show)
    return list(read_table(path)["rows"].values())


def _cross_check(options: Namespace, library: Library, say: Callable[[str], None]) -> list[dict]:
    from hw.gates.cross_check import cross_check

    path = options.results / "cross_check.json"
    return cross_check(library, options.lib, path, say)


def _vector(options: Namespace, library: Library, say: Callable[[str], None]) -> list[dict]:
    from hw.gates.vector_unit import run_vector_table

    def show(text: str, done: int, total: int) -> None:
        say(f"{text}, {done} of {total}")

    path = options.results / f"vector-{short_name(library.name)}.json"
    return run_vector_table(library, path, CACHE / "netlists", show)


def _machine(options: Namespace, library: Library, say: Callable[[str], None]) -> list[dict]:
    from hw.gates.machine_blocks import run_machine_blocks
    from hw.program.machine import machine_around

    def show(text: str, done: int, total: int) -> None:
        say(f"{text}, {done} of {total}")

    path = options.results / f"machine-{short_name(library.name)}.json"
    return run_machine_blocks(
        machine_around(load_array(options.array), options.lanes), library, path, CACHE / "netlists", show
    )


def _wires(options: Namespace, library: Library, say: Callable[[str], None]) -> list[dict]:
    from hw.gates.wires import run_wires

    def show(text: str, done: int, total: int) -> None:
        say(f"{text}, {done} of {total}")

    name = short_name(library.name)
    return run_wires(library, name, options.results / f"wires-{name}.json", CACHE / "netlists", show)


def _array(options: Namespace, library: Library, say: Callable[[str], None]) -> list[dict]:
    from hw.gates.designs.candidates import CORE, FORMATS, Design, operand_kind
    from hw.gates.designs.operands import recorded, synthetic
    from hw.gates.measure import SUM_LENGTH, best

    config = load_array(options.array)
    bits = options.accumulator or config.accumulator_bits
    if options.format not in (*FORMATS, CORE, "all"):
        raise InputError(f"--format must be one of {', '.join(FORMATS)}, {CORE} or all, not {options.format!r}")
    formats = FORMATS if options.format == "all" else (options.format,)
    rows = []
    for name in formats:
        design = Design("tree", name, bits, config.rows, config.cols)
        size = (options.cycles // SUM_LENGTH * SUM_LENGTH, SUM_LENGTH, config.rows, config.cols)
        if options.activations and name in ("ternary", CORE):
            operands = recorded(options.activations, options.weights, *size)
        else:
            operands = synthetic(operand_kind(name), *size, options.zeros)
        rows.append(best(design, library, operands, CACHE / "netlists", progress=say).row())
    return rows


def _print_blocks(rows: list[dict], library: Library) -> None:
    table = Table(title=f"{library.name}, {library.voltage} V: blocks of the vector unit, an element per clock")
    table.add_column("block")
    for column in ("takes", "products", "cells", "FF", "um2", "period ns", "filled fJ", "sized fJ", "clock fJ"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            *(row["block"], row["rate"], str(row["multiplications"]), str(row["cells"]), str(row["flip_flops"])),
            *(f"{row['area_um2']:.4g}", f"{row['critical_s'] * 1e9:.3g}"),
            *(f"{row[key] * 1e15:.4g}" for key in ("filled_j", "sized_j", "clock_j")),
        )
    screen().print(table)


def _print(rows: list[dict], library: Library) -> None:
    table = Table(title=f"{library.name}, {library.voltage} V: energy in fJ per multiply-accumulate")
    for column in ("design", "structure", "operands", "zeros"):
        table.add_column(column)
    for column in ("total", "logic", "registers", "clock", "leakage nW", "um2/MAC", "cells", "FF", "period ns"):
        table.add_column(column, justify="right")
    for row in rows:
        macs = row["rows"] * row["cols"]
        zeros = "" if row["zero_fraction"] is None else f"{row['zero_fraction']:.2f}"
        table.add_row(
            *(row["design"], row["structure"], row["operands"], zeros),
            *(f"{row[key] * 1e15:.4g}" for key in ("dynamic_j", "logic_j", "registers_j", "clock_j")),
            *(f"{row['leakage_w'] * 1e9:.3g}", f"{row['area_um2'] / macs:.4g}"),
            *(str(row["cells"]), str(row["flip_flops"]), f"{row['critical_s'] * 1e9:.3g}"),
        )
    screen().print(table)
