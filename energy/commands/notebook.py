"""``tritforge notebook``: from a model to a decision in ten cells, written and executed."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from energy.commands.show import BUILD
from hw.errors import InputError
from hw.pages import screen

__all__ = ["add_notebook"]

_DEFAULT = BUILD / "notebook" / "model_to_decision.ipynb"


def add_notebook(parser: ArgumentParser) -> None:
    """Options of ``notebook``."""
    parser.add_argument("--out", type=Path, default=_DEFAULT, metavar="FILE", help=f"(default: {_DEFAULT})")
    parser.add_argument(
        "--unexecuted", action="store_true", help="write the cells without what they print, to be run elsewhere"
    )
    parser.add_argument(
        "--docs", action="store_true", help="write docs/notebook.md of a checkout and what it shows instead"
    )
    parser.add_argument("--json", action="store_true", help="print the names of the files that were written as JSON")
    parser.set_defaults(run=_notebook)


def _notebook(options: Namespace) -> None:
    from energy.notebook.document import cells_of, executed, notebook, source, write_notebook
    from energy.notebook.page import write_page

    if options.out.suffix != ".ipynb":
        raise InputError(f"out must be a file whose name ends with .ipynb, not {options.out}")
    if options.docs and options.unexecuted:
        raise InputError("unexecuted must be left out beside docs, which show what the cells print")
    node = notebook(cells_of(source()))
    if not options.unexecuted:
        node = executed(node, Path())
    if options.docs:
        written = write_page(node)
    else:
        write_notebook(options.out, node)
        written = [options.out]
    if options.json:
        print(json.dumps({"files": [str(path) for path in written]}))
    else:
        screen().print(f"wrote {', '.join(map(str, written))}", style="green", highlight=False)
