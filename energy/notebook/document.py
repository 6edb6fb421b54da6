"""The notebook as a document: cells of a plain .py, as .ipynb, executed by a Jupyter kernel, and as Markdown.

An .ipynb rather than marimo, whose notebooks are .py files that code hosts show without what they print: a page with
its tables and pictures is to be read before anything is installed. Its source stays a plain .py in Jupytext's percent
format, which ruff checks and a diff shows line by line; nbformat, nbclient and ipykernel write and execute it.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hw.artifact import write_text
from hw.errors import InputError

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["NAME", "Cell", "cells_of", "executed", "markdown", "notebook", "source", "write_notebook"]

NAME = "model_to_decision"
_MARK = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
_SECONDS = 300  # that a cell may take
_SVG = "image/svg+xml"


class Cell(NamedTuple):
    """A cell's source; of words, without the marks of a comment."""

    is_words: bool
    text: str


def source() -> str:
    """The cells as a plain .py."""
    return (files(__package__) / f"{NAME}.py").read_text(encoding="utf-8")


def cells_of(text: str) -> list[Cell]:
    """The cells of a .py in the percent format.

    Raises:
        InputError: text before the first mark of a cell.
    """
    before, *parts = _MARK.split(text)
    if before.strip():
        raise InputError(f"notebook must start with a mark of a cell, # %%, not {before.splitlines()[0]!r}")
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [Cell(mark is not None, _words(body) if mark else body.strip()) for mark, body in pairs]


def _words(body: str) -> str:
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines())


def notebook(cells: list[Cell]) -> "NotebookNode":
    """The cells as a notebook that has not been executed; equal cells give equal bytes."""
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    made = [
        (new_markdown_cell if cell.is_words else new_code_cell)(cell.text, id=f"cell-{number}")
        for number, cell in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=made, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def executed(node: "NotebookNode", folder: Path) -> "NotebookNode":
    """``node`` with what its cells print, executed in ``folder`` by this Python; without times, which differ.

    Raises:
        InputError: a cell that fails.
    """
    import ipykernel  # noqa: F401  (the kernel that nbclient starts)
    import pandas  # noqa: F401  (the first cell's)
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from traitlets.config import Config

    settings = Config({"KernelManager": {"transport": "ipc"}})  # sockets of this user, no port of the machine
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(node, timeout=_SECONDS, record_timing=False, resources=where, config=settings)
    try:
        client.execute()
    except CellExecutionError as error:
        raise InputError(f"every cell of the notebook must run; one ended with {error.ename}: {error.evalue}") from None
    node.metadata["language_info"] = {"name": "python"}  # the kernel adds the version of its Python
    return node


def write_notebook(path: Path, node: "NotebookNode") -> None:
    """Write ``node`` as .ipynb."""
    import nbformat

    nbformat.validate(node)
    write_text(path, nbformat.writes(node) + "\n")


def markdown(node: "NotebookNode", pictures: Path, link: str) -> str:
    """Words, code and what it prints; pictures are written into ``pictures``, to which the text links by ``link``."""
    parts = []
    for number, cell in enumerate(node.cells):
        if cell.cell_type == "markdown":
            parts.append(re.sub(r"^#", "##", cell.source, flags=re.MULTILINE))  # below the page's own heading
            continue
        parts.append(f"```py\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if _SVG in data:
                name = f"{NAME}-{number}.svg"
                write_text(pictures / name, data[_SVG].strip() + "\n")
                parts.append(f"![the picture of this cell]({link}/{name})")
            elif text := output.get("text") or data.get("text/plain"):
                parts.append(f"```text\n{_without_blanks(text)}\n```")
    return "\n\n".join(parts)


def _without_blanks(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
