"""``tritforge mappings``, ``dram``, ``references`` and ``bench``: tables of the simulator itself."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.table import Table

from hw.config import load_array
from hw.pages import screen
from quant.shapes import load_shape
from sim.memory import load_memory, memory_names, stream_table
from sim.references.bench import bench
from sim.references.figures import ASSUMPTIONS, agreements
from sim.references.mappings import MAPPINGS, linear_mappings

__all__ = ["add_bench", "add_dram", "add_mappings", "add_references", "add_rivals"]


def add_mappings(parser: ArgumentParser) -> None:
    """Options of ``mappings``."""
    parser.add_argument("--model", default="llama2-7b", help="a known model or a .yaml file (default: llama2-7b)")
    parser.add_argument(
        "--array", default="edge-32x32", help="a known array, RxC, or a .yaml file (default: edge-32x32)"
    )
    parser.add_argument(
        "--tokens", type=int, default=1, metavar="N", help="tokens that run together; 1 is a decode step (default: 1)"
    )
    _add_json(parser)
    parser.set_defaults(run=_mappings)


def add_dram(parser: ArgumentParser) -> None:
    """Options of ``dram``."""
    _add_json(parser)
    parser.set_defaults(run=_dram)


def add_references(parser: ArgumentParser) -> None:
    """Options of ``references``."""
    _add_json(parser)
    parser.set_defaults(run=_references)


def add_bench(parser: ArgumentParser) -> None:
    """Options of ``bench``."""
    add_rivals(parser)
    parser.add_argument(
        "--commands", action="store_true", help="also time whole commands, whose runs are simulated and then recalled"
    )
    _add_json(parser)
    parser.set_defaults(run=_bench)


def add_rivals(parser: ArgumentParser) -> None:
    """Options that name a Python with another simulator."""
    parser.add_argument("--scale-sim", type=Path, metavar="PYTHON", help="a Python that has scalesim==3.0.0")
    parser.add_argument("--zigzag", type=Path, metavar="PYTHON", help="a Python that has zigzag-dse==3.9.1 and six")


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


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
    screen().print(table)


def _references(options: Namespace) -> None:
    rows = agreements()
    if options.json:
        records = [row._asdict() | {"difference": row.difference} for row in rows]
        print(json.dumps({"rows": records, "assumptions": ASSUMPTIONS}, indent=1))
        return
    table = Table(title="figures of references, and of this simulator on the same machine")
    for heading in ("reference", "what", "published", "simulated", "difference"):
        table.add_column(heading, justify="left" if heading in ("reference", "what") else "right")
    for row in rows:
        published, simulated = f"{row.published:,.7g} {row.unit}", f"{row.simulated:,.7g}"
        table.add_row(row.reference, row.what, published, simulated, f"{row.difference:+.2%}")
    console = screen()
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
    screen().print(table)


def _bench(options: Namespace) -> None:
    rows, peak_bytes = bench(options.scale_sim, options.zigzag, options.commands)
    if options.json:
        print(json.dumps({"rows": [row._asdict() for row in rows], "peak_bytes": peak_bytes}, indent=1))
        return
    table = Table(title="speed, kernels compiled, nothing remembered between rows")
    for heading in ("what", "wall ms", "cycles", "cycles/s", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for row in rows:
        rate = f"{row.cycles / row.wall_s:.1e}"
        table.add_row(row.what, f"{row.wall_s * 1e3:.1f}", f"{row.cycles:,}", rate, row.note)
    console = screen()
    console.print(table)
    console.print(f"peak memory {peak_bytes / 2**20:.0f} MiB")
