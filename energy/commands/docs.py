"""``python -m energy docs``: the README's jobs simulated again, its tables and its picture."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from energy.reports.docs import PAGES, draw_method_picture, draw_picture, draw_scaling_pictures, measure, render_file
from hw.artifact import write_text

__all__ = ["add_docs"]

_PICTURE = Path("docs") / "images" / "llama2-7b.svg"


def add_docs(parser: ArgumentParser) -> None:
    """Options of ``docs``."""
    parser.add_argument("--json", action="store_true", help="print the files that were written as JSON")
    parser.set_defaults(run=_docs)


def _docs(options: Namespace) -> None:
    measure()
    for page in PAGES:
        write_text(page, render_file(page))
    draw_picture(_PICTURE)
    more = [draw_method_picture(), *draw_scaling_pictures()]
    if options.json:
        print(json.dumps({"files": [*map(str, PAGES), str(_PICTURE), *map(str, more)]}))
