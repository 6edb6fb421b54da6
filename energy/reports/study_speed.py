"""How fast studies are, as docs/studies.md shows it, from what ``tritforge bench-study --out`` wrote."""

import json
from pathlib import Path

from hw.pages import markdown_table

__all__ = ["study_speed_text"]


def study_speed_text(path: Path) -> str:
    """The commands with their times, rates, memory; and a point beside a simulation alone."""
    measured = json.loads(path.read_text(encoding="utf-8"))
    one, commands = measured["ratio"], measured["commands"]
    first = commands[0]["rows_sha256"] if commands else ""
    rows = [
        [
            f"`{command['options']}`", f"{command['points']:,}", f"{command['cpu_s']:.0f} s",
            f"{command['points'] / command['cpu_s']:.0f}", f"{command['wall_s']:.0f} s",
            f"{command['peak_bytes'] / 2**20:.0f} MiB", "equal" if command["rows_sha256"] == first else "DIFFERENT",
        ]
        for command in commands
    ]  # fmt: skip
    columns = [
        "`tritforge whatif` with",
        "points",
        "CPU time",
        "points per CPU s",
        "wall time",
        "largest process",
        "rows",
    ]
    asked = " ".join(f"--command='{command['options']}'" for command in commands)
    return (
        f"{markdown_table(columns, rows)}\n\n"
        f"`tritforge bench-study --points {commands[0]['points']} {asked} --out docs/results/study-speed.json`, "
        f"{measured['date']}, {measured['processors']} processors that others used too, so that CPU time says more "
        f"than wall time. A point of a study of {one['points']} takes {one['point_s'] * 1e3:.1f} ms of CPU time, and "
        f"{one['single_s'] * 1e3:.1f} ms where nothing is shared with another: "
        f"{one['single_s'] / one['point_s']:.1f} times as long; `make bench` measures it."
    )
