"""docs/notebook.md, the notebook as a page that any reader of Markdown shows, and the .ipynb beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

from energy.notebook.document import NAME, markdown, write_notebook
from hw.artifact import write_text
from hw.pages import fill_blocks

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["NOTEBOOK", "PAGE", "PICTURES", "page_of", "write_page"]

PAGE = Path("docs") / "notebook.md"
NOTEBOOK = Path("docs") / "notebooks" / f"{NAME}.ipynb"
PICTURES = Path("docs") / "images" / "notebook"


def write_page(node: "NotebookNode") -> list[Path]:
    """Write the executed ``node``, its pictures, and the page that shows both; the files that were written."""
    write_notebook(NOTEBOOK, node)
    write_text(PAGE, page_of(node, PICTURES))
    return [NOTEBOOK, PAGE, *sorted(PICTURES.iterdir())]


def page_of(node: "NotebookNode", pictures: Path) -> str:
    """The text of the page with the executed ``node`` in its generated block; pictures go to ``pictures``."""
    link = PICTURES.relative_to(PAGE.parent).as_posix()
    blocks = {"notebook": lambda: markdown(node, pictures, link)}
    return fill_blocks(PAGE.read_text(encoding="utf-8"), blocks, str(PAGE))
