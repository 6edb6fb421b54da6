"""Generated parts of Markdown pages: tables, and blocks from ``<!-- generated: NAME -->`` to ``<!-- end -->``."""

import re
from collections.abc import Callable, Mapping, Sequence

from hw.errors import InputError

__all__ = ["fill_blocks", "markdown_table"]

_BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table; the first column is left-aligned, the others are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill_blocks(page: str, blocks: Mapping[str, Callable[[], str]], origin: str) -> str:
    """The text of ``page`` with every generated block made anew; ``origin`` names the page in errors.

    Raises:
        InputError: a block of an unknown name.
    """

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in blocks:
            raise InputError(f"{origin}: generated block must be one of {', '.join(blocks)}, not {name!r}")
        return f"{match[1]}{blocks[name]()}\n{match[3]}"

    return _BLOCK.sub(replace, page)
