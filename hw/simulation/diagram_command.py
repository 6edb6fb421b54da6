"""``python -m hw diagram``: the block diagram of an array's core as SVG."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from hw.artifact import write_text
from hw.config import load_array

__all__ = ["PICTURE", "add_parser"]

PICTURE = Path("docs/images/core.svg")
_BUILD = Path("build/diagram")


def add_parser(commands: _SubParsersAction) -> None:
    """Add the command."""
    parser = commands.add_parser("diagram", help="draw a core's blocks with their widths as SVG")
    parser.add_argument("--array", default="4x4", help="a name, RxC, or a .yaml file")
    parser.add_argument("--out", type=Path, help="the .svg file; default: build/diagram/ARRAY.svg")
    parser.add_argument("--docs", action="store_true", help=f"write {PICTURE} instead: the array of the timing diagram")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_diagram)


def _diagram(options: Namespace) -> None:
    # Amaranth is imported only by the commands that need its shapes.
    from hw.simulation.block_diagram import block_svg
    from hw.simulation.timing_diagram import example

    config = example()[0] if options.docs else load_array(options.array)
    path = PICTURE if options.docs else options.out or _BUILD / f"{config.name}.svg"
    write_text(path, block_svg(config))
    print(json.dumps({"array": config.name, "file": str(path)}) if options.json else path)
