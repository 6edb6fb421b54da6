"""``tritforge disassemble``: a program in words."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.program.image import load_image

__all__ = ["add_disassemble"]


def add_disassemble(parser: ArgumentParser) -> None:
    """Options of ``disassemble``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `tritforge program` wrote")
    parser.add_argument("--regions", action="store_true", help="print where everything lies in memory instead")
    parser.add_argument("--json", action="store_true", help="print JSON instead of words")
    parser.set_defaults(run=_disassemble)


def _disassemble(options: Namespace) -> None:
    image = load_image(options.folder)
    if options.json:
        program = [{"operation": one.operation, **one.values} for one in image.program()]
        print(json.dumps(image.regions if options.regions else program))
    elif options.regions:
        for name, (word, words) in image.regions.items():
            print(f"{word:9} {words:8} {name}")
    else:
        print(image.listing(), end="")
