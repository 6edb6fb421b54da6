"""``python -m sim``: simulate a model on an array and a memory; list what is known."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hw.artifact import write_text
from hw.cli import CommandParser, run
from hw.config import array_names, load_array
from quant.shapes import load_shape, model_names
from sim.commands.demo import add_parser as add_demo
from sim.commands.docs import draw_timeline, load_results, measure, render_file, write_results
from sim.commands.replay import add_parser as add_replay
from sim.commands.run import add_parser as add_run
from sim.memory import load_memory, memory_names, stream_table
from sim.references.bench import bench
from sim.references.figures import ASSUMPTIONS, agreements
from sim.references.mappings import MAPPINGS, linear_mappings

__all__ = ["main"]


def main(arguments: Sequence[str]) -> None:
    """Dispatch one command line.

    Raises:
        InputError: whatever the user can correct.
    """
    options = _parser().parse_args(arguments)
    options.action(options)


def _parser() -> CommandParser:
    parser = CommandParser(prog="python -m sim", description="Cycle simulator of ternary LLM inference")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    add_run(commands)
    add_replay(commands)
    add_demo(commands, _demo)

    speed = commands.add_parser("bench", help="speed of the simulator, beside SCALE-Sim and ZigZag")
    _add_rivals(speed)
    speed.add_argument("--json", action="store_true", help="print JSON instead of a table")
    speed.set_defaults(action=_bench)

    others = commands.add_parser("references", help="figures of other simulators and of a chip beside ours")
    others.add_argument("--json", action="store_true", help="print JSON instead of a table")
    others.set_defaults(action=_references)

    ways = commands.add_parser("mappings", help="cycles of a model's linears under every mapping of the same lanes")
    ways.add_argument("--model", default="llama2-7b", help="a known model or a .yaml file")
    ways.add_argument("--array", default="edge-32x32", help="a known array, RxC, or a .yaml file")
    ways.add_argument("--tokens", type=int, default=1, help="tokens that run together; 1 = a decode step")
    ways.add_argument("--json", action="store_true", help="print JSON instead of a table")
    ways.set_defaults(action=_mappings)

    page = commands.add_parser("docs", help="the generated parts of docs/simulator.md")
    page.add_argument("--measure", action="store_true", help="measure the results again")
    _add_rivals(page)
    page.set_defaults(action=_docs)

    banks = commands.add_parser("dram", help="bandwidth of sequential and mixed streams on every memory's banks")
    banks.add_argument("--json", action="store_true", help="print JSON instead of a table")
    banks.set_defaults(action=_dram)

    for name in ("arrays", "memories", "models"):
        known = commands.add_parser(name, help=f"list the known {name}")
        known.add_argument("--json", action="store_true")
        known.set_defaults(action=_list)
    return parser


def _add_rivals(parser: ArgumentParser) -> None:
    parser.add_argument("--scale-sim", type=Path, metavar="PYTHON", help="a Python that has scalesim==3.0.0")
    parser.add_argument("--zigzag", type=Path, metavar="PYTHON", help="a Python that has zigzag-dse==3.9.1 and six")


def _demo(options: Namespace) -> None:
    from sim.demo import demo  # loads Amaranth

    demo(options)


def _dram(options: Namespace) -> None:
    rows = {name: stream_table(load_memory(name)) for name in memory_names()}
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(title="share of the pins' peak bandwidth")
    headings = list(next(iter(rows.values())))
    for heading in ("memory", *headings):
        table.add_column(heading.replace("_", " "), justify="left" if heading == "memory" else "right")
    for name, values in rows.items():
        table.add_row(name, *(f"{values[heading]:.1%}" for heading in headings))
    Console().print(table)


def _references(options: Namespace) -> None:
    rows = agreements()
    if options.json:
        records = [row._asdict() | {"difference": row.difference} for row in rows]
        print(json.dumps({"rows": records, "assumptions": ASSUMPTIONS}, indent=1))
        return
    table = Table(title="figures of references, and ours on the same machine")
    for heading in ("reference", "what", "theirs", "ours", "difference"):
        table.add_column(heading, justify="left" if heading in ("reference", "what") else "right")
    for row in rows:
        theirs, ours = f"{row.theirs:,.7g} {row.unit}", f"{row.ours:,.7g}"
        table.add_row(row.reference, row.what, theirs, ours, f"{row.difference:+.2%}")
    console = Console()
    console.print(table)
    for reference, lines in ASSUMPTIONS.items():
        for line in lines:
            console.print(f"[dim]- {reference}: {line}[/dim]")


def _mappings(options: Namespace) -> None:
    rows = linear_mappings(load_shape(options.model), load_array(options.array), options.tokens)
    if options.json:
        print(json.dumps([row._asdict() | {"best": row.best} for row in rows], indent=1))
        return
    table = Table(title=f"cycles of {options.tokens} tokens on {options.array}, memory never waiting")
    table.add_column("mapping")
    for row in rows:
        table.add_column(f"{row.kind}\n{row.gemm.m} x {row.gemm.n} x {row.gemm.k}", justify="right")
    for mapping in MAPPINGS:
        table.add_row(mapping, *(f"{row.cycles[mapping]:,}{' *' if mapping == row.best else ''}" for row in rows))
    Console().print(table)


def _docs(options: Namespace) -> None:
    results_path, page = Path("docs/results/simulator.json"), Path("docs/simulator.md")
    if options.measure:
        write_results(results_path, measure(options.scale_sim, options.zigzag))
        draw_timeline(Path("docs/images/timeline.svg"))
    write_text(page, render_file(page, load_results(results_path)))


def _bench(options: Namespace) -> None:
    rows, peak_bytes = bench(options.scale_sim, options.zigzag)
    if options.json:
        print(json.dumps({"rows": [row._asdict() for row in rows], "peak_bytes": peak_bytes}, indent=1))
        return
    table = Table(title="speed, kernels compiled, nothing remembered between rows")
    for heading in ("what", "wall ms", "cycles", "cycles/s", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for row in rows:
        rate = f"{row.cycles / row.wall_s:.1e}"
        table.add_row(row.what, f"{row.wall_s * 1e3:.1f}", f"{row.cycles:,}", rate, row.note)
    console = Console()
    console.print(table)
    console.print(f"peak memory {peak_bytes / 2**20:.0f} MiB")


def _list(options: Namespace) -> None:
    names = {"arrays": array_names, "memories": memory_names, "models": model_names}[options.command]()
    print(json.dumps(names) if options.json else "\n".join(names))


if __name__ == "__main__":
    run(main)
