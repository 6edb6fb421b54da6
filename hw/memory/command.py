"""``tritforge memory``: a memory controller under traffic: ours for SDR SDRAM, or LiteDRAM's for DDR3."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from hw.artifact import write_text
from hw.errors import InputError
from hw.memory.chip import SdramChip, check_ratio, chip_names, load_chip
from hw.memory.ddr3.chips import DDR3_CHIPS
from hw.memory.geometry import Geometry
from hw.memory.results import MEMORY_RESULTS, MemoryRecord, add_memory_rows
from hw.pages import screen
from hw.progress import spinner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hw.memory.bench import Operation, Setup
    from hw.memory.controller import SdramController
    from hw.memory.fast import FastController

__all__ = ["TRAFFIC", "add_memory"]

TRAFFIC = ("sequential", "random", "ahead", "mixed")
_WRITTEN = 0.3  # share of writes among mixed traffic
_MOST_WORDS = 100_000_000
_DDR3_WORDS = (32, 64, 128, 256, 512, 1024)
_CLOCK_MHZ, _DDR3_CLOCK_MHZ = 50.0, 48.0


def add_memory(parser: ArgumentParser) -> None:
    """Options of ``memory``."""
    parser.add_argument(
        "--chip", default="as4c16m16sa-7",
        help=f"{', '.join(chip_names())}, or a .yaml file; or DDR3 behind LiteDRAM's controller "
        f"({', '.join(DDR3_CHIPS)}; pip install litedram==2024.12 litex==2024.12) (default: as4c16m16sa-7)",
    )  # fmt: skip
    parser.add_argument(
        "--clock-mhz", type=float, metavar="MHZ",
        help=f"clock of chip and controller (default: {_CLOCK_MHZ:g}); of DDR3 the controller's, half the chip's "
        f"(default: {_DDR3_CLOCK_MHZ:g})",
    )  # fmt: skip
    parser.add_argument(
        "--cas", type=int, metavar="N", help="CAS latency of SDR SDRAM (default: the least that the clock allows)"
    )
    parser.add_argument(
        "--ratio", type=int, default=1, metavar="N",
        help="edges of chip and controller per edge of the port, which then crosses between the clocks; of SDR SDRAM "
        "(default: 1, one clock)",
    )  # fmt: skip
    parser.add_argument(
        "--word-bits", type=int, default=128, metavar="BITS",
        help="bits of a memory word (default: 128); words of a single beat of the chip get half of its peak",
    )  # fmt: skip
    parser.add_argument(
        "--traffic",
        default="sequential",
        metavar="KIND",
        help="sequential: one long read; random: single words, each asked for when the one before has come; ahead: the "
        "next one asked for at once; mixed: random words, 30 %% of them written under random masks; or all "
        "(default: sequential)",
    )
    parser.add_argument(
        "--compare",
        choices=["litedram"],
        help="run LiteDRAM's controller too, behind the same port, pins and chip "
        "(pip install litedram==2024.12 litex==2024.12)",
    )
    parser.add_argument("--words", type=int, default=100_000, metavar="N", help="words to move (default: 100000)")
    parser.add_argument("--seed", type=int, default=1, help="of addresses, data and masks (default: 1)")
    parser.add_argument("--verilog", type=Path, metavar="FILE", help="write the controller's Verilog there, and stop")
    parser.add_argument("--save", action="store_true", help=f"keep the rows in {MEMORY_RESULTS} for the docs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_memory)


def _memory(options: Namespace) -> None:
    """Measure, show, and keep if asked; a broken rule or a wrong word ends in an error."""
    kinds = TRAFFIC if options.traffic == "all" else (options.traffic,)
    if kinds[0] not in TRAFFIC:
        raise InputError(f"--traffic must be one of {', '.join(TRAFFIC)}, all, not {options.traffic!r}")
    if not 1 <= options.words <= _MOST_WORDS:
        raise InputError(f"--words must be 1 to {_MOST_WORDS}, not {options.words}")
    if options.chip in DDR3_CHIPS:
        _memory_of_ddr3(options, kinds)
        return
    mhz = _CLOCK_MHZ if options.clock_mhz is None else options.clock_mhz
    chip, clock_hz = load_chip(options.chip, DDR3_CHIPS), mhz * 1e6
    chip.timing(clock_hz, options.cas)
    Geometry.of(chip, options.word_bits)
    check_ratio("--ratio", chip, clock_hz / max(1, options.ratio), options.ratio)
    if options.compare and options.ratio > 1:
        raise InputError("--compare must be left out with --ratio, as LiteDRAM's controller has one clock here")
    if options.verilog:
        from hw.memory.top import sdram_verilog  # Amaranth is imported only by the command that elaborates

        write_text(options.verilog, sdram_verilog(_controller(chip, clock_hz, options)))
        print(options.verilog)
        return
    with spinner(chip.name) as say:
        rows = []
        for name in ("tritforge", *([options.compare] if options.compare else [])):
            for kind in kinds:
                say(f"{name}, {kind} traffic")
                rows.append(_measured(name, chip, clock_hz, options, kind))
    _report(rows, options)


def _report(rows: list[MemoryRecord], options: Namespace) -> None:
    """Rows on the screen and in the results file; a broken rule or a wrong word ends in an error."""
    if options.json:
        print(json.dumps([row.model_dump(mode="json") for row in rows], indent=1))
    else:
        _show(rows)
    faulty = [row for row in rows if row.violations or row.wrong]
    if faulty:
        first = faulty[0]
        what = "; ".join(first.messages)
        raise InputError(f"{first.controller}, {first.traffic} traffic: {first.wrong} wrong words; {what}")
    if options.save:
        add_memory_rows(MEMORY_RESULTS, rows)


def _memory_of_ddr3(options: Namespace, kinds: tuple[str, ...]) -> None:
    """The same traffic on LiteDRAM's DDR3 controller with its simulated PHY and chip, levelled first."""
    from hw.memory.ddr3.bench import measure_ddr3
    from hw.memory.ddr3.chips import CAS, check_clock, load_ddr3

    names = ["ratio"] if options.ratio != 1 else []
    names += [name for name in ("cas", "compare", "verilog") if getattr(options, name) is not None]
    if given := names:
        why = {
            "ratio": "whose port is on the controller's clock",
            "cas": f"whose CAS latency is {CAS}",
            "compare": "whose controller is LiteDRAM's",
        }
        reason = why.get(given[0], "whose Verilog is that of a board: tritforge verilog --board orangecrab-85f --whole")
        raise InputError(f"--{given[0]} must be left out with --chip {options.chip}, {reason}")
    chip, mhz = load_ddr3(options.chip), _DDR3_CLOCK_MHZ if options.clock_mhz is None else options.clock_mhz
    check_clock(mhz * 1e6)
    if options.word_bits not in _DDR3_WORDS:
        raise InputError(f"--word-bits must be one of {', '.join(map(str, _DDR3_WORDS))}, not {options.word_bits}")
    rows = []
    with spinner(chip.name) as say:
        for kind in kinds:
            say(f"{kind} traffic")
            operations = _operations(kind, chip.bytes, options)
            found = measure_ddr3(
                chip, mhz * 1e6, options.word_bits, operations, ahead=kind == "ahead", seed=options.seed
            )
            if not found.ready or found.hung:
                what = "levelling found no setting" if not found.ready else "nothing moved for a million edges"
                raise InputError(f"{chip.name}, {kind} traffic: {what}")
            rows.append(found.record(chip, mhz * 1e6, kind))
    if not options.json:
        levels = ", ".join(
            f"byte {i}: delay {delay}, slip {slip}"
            for i, (delay, slip) in enumerate(zip(found.delays, found.slips, strict=True))
        )
        print(f"levelled after {1e3 * found.levelled / (mhz * 1e6):.2f} ms ({levels})")
    _report(rows, options)


def _operations(kind: str, chip_bytes: int, options: Namespace) -> "list[Operation] | Iterator[Operation]":
    """Traffic of a kind."""
    from hw.memory.bench import random_words, sequential

    if kind == "sequential":
        return sequential(options.words)
    writes = _WRITTEN if kind == "mixed" else 0
    return random_words(chip_bytes * 8 // options.word_bits, options.words, writes, options.seed)


def _measured(name: str, chip: SdramChip, clock_hz: float, options: Namespace, kind: str) -> MemoryRecord:
    """One run of the compiled controller."""
    from hw.memory.bench import measure

    setup = _setup(name, chip, clock_hz, options)
    found = measure(setup, _operations(kind, chip.bytes, options), ahead=kind == "ahead", seed=options.seed)
    if found.hung:
        raise InputError(f"{name}, {kind} traffic: the controller of {chip.name} moved nothing for a million edges")
    return MemoryRecord(
        controller=name,
        chip=chip.name,
        clock_hz=clock_hz,
        cas=setup.cas,
        word_bits=options.word_bits,
        ratio=options.ratio,
        traffic=kind,
        words=found.words,
        written=found.written,
        edges=found.edges,
        efficiency=round(found.efficiency, 6),
        bytes_per_s=round(found.efficiency * clock_hz * chip.data_bits / 8, 1),
        first_edges=round(found.first_edges, 2),
        commands={name: count for name, count in found.commands.items() if count},
        violations=found.violations,
        messages=tuple(found.messages),
        wrong=found.wrong,
    )


def _setup(name: str, chip: SdramChip, clock_hz: float, options: Namespace) -> "Setup":
    """Verilog of the controller of that name."""
    from hw.memory.bench import Setup
    from hw.memory.litedram import litedram_verilog
    from hw.memory.top import SDRAM_NAME

    if name == "tritforge":
        return Setup.of(_controller(chip, clock_hz, options), clock_hz, options.ratio)
    timing = chip.timing(clock_hz, options.cas)
    verilog = litedram_verilog(chip, clock_hz, timing, options.word_bits, SDRAM_NAME)
    return Setup(verilog, chip, clock_hz, timing.cas, options.word_bits)


def _controller(chip: SdramChip, clock_hz: float, options: Namespace) -> "SdramController | FastController":
    """Ours, on the clock of its port or a faster one."""
    from hw.memory.controller import SdramController
    from hw.memory.fast import FastController

    kind = FastController if options.ratio > 1 else SdramController
    return kind(chip, clock_hz, options.word_bits, options.cas)


def _show(rows: list[MemoryRecord]) -> None:
    """One line per traffic, with what the chip checked."""
    from rich.table import Table

    first = rows[0]
    title = f"{first.chip} at {first.clock_hz / 1e6:g} MHz, CAS latency {first.cas}, words of {first.word_bits} bits"
    title += f", port at {first.clock_hz / first.ratio / 1e6:g} MHz" if first.ratio > 1 else ""
    table = Table(title=title)
    for name in (
        "controller",
        "traffic",
        "words",
        "of peak",
        "MB/s",
        "first word, edges",
        "commands checked",
        "broken",
        "wrong words",
    ):
        table.add_column(name, justify="left" if name in ("controller", "traffic") else "right")
    for row in rows:
        table.add_row(
            row.controller,
            row.traffic,
            f"{row.words + row.written:,}",
            f"{100 * row.efficiency:.2f} %",
            f"{row.bytes_per_s / 1e6:.1f}",
            f"{row.first_edges:.1f}" if row.first_edges else "-",
            f"{sum(row.commands.values()):,}" if row.commands else "-",
            str(row.violations),
            str(row.wrong),
        )
    console = screen()
    console.print(table)
    if first.commands:
        console.print("refreshes " + ", ".join(f"{row.commands.get('refresh', 0):,}" for row in rows))
