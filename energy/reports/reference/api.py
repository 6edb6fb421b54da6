"""Public names of the packages' top floors, read from the source: nothing is imported, so no extra is needed."""

import ast
import re
from pathlib import Path

__all__ = ["ROOMS", "api_tables"]

_ROOT = Path(__file__).parents[3]
ROOMS = {  # beside the files at the top of a package: rooms that docs/api.md and the contracts call public
    "hw": ("token", "verify"),
    "quant": ("weights",),
    "sim": ("reports", "trace", "workload"),
    "energy": ("frames", "study"),
}
_NOT_LISTED = {"__init__", "__main__", "cli", "command", "console", "fields", "pages", "tables"}  # of commands and docs
_LONGEST = 160  # letters of a signature


def api_tables(package: str) -> str:
    """A heading with the file's sentence for every public file, and a line for each name in its ``__all__``."""
    folders = [_ROOT / package, *(_ROOT / package / room for room in ROOMS[package])]
    files = [path for folder in folders for path in sorted(folder.glob("*.py")) if path.stem not in _NOT_LISTED]
    return "\n\n".join(filter(None, map(_file, files)))


def _file(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {name: node for node in tree.body for name in _names(node)}
    public = ast.literal_eval(named["__all__"].value) if "__all__" in named else []  # type: ignore[attr-defined]
    lines = [f"- {entry}" for name in public if name in named and (entry := _entry(name, named[name]))]
    if not lines:
        return ""
    module = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
    return f"### {module}\n{_escaped(_sentence(tree))}\n\n" + "\n".join(lines)


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []


def _entry(name: str, node: ast.stmt) -> str:
    """The name as it is called, and what its docstring says first; constants have no entry."""
    if isinstance(node, ast.FunctionDef):
        given = ast.unparse(node.args).replace("'", '"')
        found = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        shown = f"{name}({given}){found}"
        if len(shown) > _LONGEST:
            shown = f"{name}({', '.join(one.arg for one in (*node.args.args, *node.args.kwonlyargs))}){found}"
        return f"`{shown}`: {_escaped(_sentence(node))}"
    if isinstance(node, ast.ClassDef):
        methods = [
            f"`{one.name}`"
            for one in node.body
            if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")
        ]  # fmt: skip
        return f"`{name}`: {_escaped(_sentence(node))}" + (f" Has {', '.join(methods)}." if methods else "")
    return ""


def _sentence(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The first paragraph's first sentence."""
    text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=[.])\s(?=[A-Z`])", text)[0]


def _escaped(text: str) -> str:
    """Double backquotes of docstrings as Markdown's, and nothing that Markdown would read as a tag or an emphasis."""
    parts = re.split(r"(``.*?``)", text)
    plain = [part if part.startswith("``") else re.sub(r"([<*_])", r"\\\1", part) for part in parts]
    return "".join(plain).replace("``", "`")
