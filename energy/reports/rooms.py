"""The rooms of the packages, each by the first line of its docstring: the generated part of docs/rooms.md."""

import ast
from pathlib import Path

__all__ = ["rooms"]

_ROOT = Path(__file__).parents[2]


def rooms(package: str) -> str:
    """A list of the folders of ``package`` that hold modules, itself first.

    Nothing is imported: a reader of the page need not have torch or Amaranth.
    """
    folders = sorted(path.parent for path in (_ROOT / package).rglob("__init__.py"))
    return "\n".join(f"- `{folder.relative_to(_ROOT)}/`: {_subject(folder)}" for folder in folders)


def _subject(folder: Path) -> str:
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].replace("``", "`")
