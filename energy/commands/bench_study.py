"""``tritforge bench-study``: how fast a study is, as a ratio to single simulations, and as whole commands."""

import json
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from energy.study.speed import POINTS, CommandSpeed, ratio, timed_commands
from hw.artifact import tool_version, write_text
from hw.pages import screen
from hw.process.threads import usable_cpus

__all__ = ["add_bench_study"]


def add_bench_study(parser: ArgumentParser) -> None:
    """Options of ``bench-study``."""
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        metavar="OPTIONS",
        help="also time the whole command tritforge whatif with these options, such as --command='--processes 2' or "
        "--command='--dask local:2'; repeat for more",
    )
    parser.add_argument(
        "--points", type=int, choices=POINTS, default=POINTS[1], help="of the study that commands measure"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what was measured as JSON")
    parser.add_argument("--json", action="store_true", help="print it as JSON instead of a table")
    parser.set_defaults(run=_bench_study)


def _bench_study(options: Namespace) -> None:
    one = ratio()
    commands = timed_commands(options.points, options.command)
    measured = {
        "date": datetime.now(UTC).date().isoformat(),
        "version": tool_version(),
        "processors": usable_cpus(),
        "ratio": one._asdict(),
        "commands": [command._asdict() for command in commands],
    }
    if options.out:
        write_text(options.out, json.dumps(measured, indent=1) + "\n")
    if options.json:
        print(json.dumps(measured, indent=1))
        return
    console = screen()
    console.print(
        f"a point of LLaMA-2-7B in a study of {one.points}: {one.point_s * 1e3:.1f} ms, simulated alone: "
        f"{one.single_s * 1e3:.1f} ms, {one.times:.1f} times as long (CPU time of one process)",
        highlight=False,
    )
    if commands:
        console.print(_table(commands))


def _table(commands: list[CommandSpeed]) -> Table:
    table = Table(title="tritforge whatif, with a new store")
    for heading in ("options", "points", "wall s", "points/s", "CPU s", "points per CPU s", "peak MiB", "rows"):
        table.add_column(heading, justify="left" if heading in ("options", "rows") else "right")
    for one in commands:
        table.add_row(
            one.options, f"{one.points:,}", f"{one.wall_s:.1f}", f"{one.points / one.wall_s:.0f}", f"{one.cpu_s:.1f}",
            f"{one.points / one.cpu_s:.0f}", f"{one.peak_bytes / 2**20:.0f}", one.rows_sha256[:12],
        )  # fmt: skip
    return table
