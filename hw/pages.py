"""Tables on the screen; generated parts of Markdown pages, from ``<!-- generated: NAME -->`` to ``<!-- end -->``."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hw.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["fill_blocks", "markdown_table", "screen", "with_options"]

_BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table; the first column is left-aligned, the others are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_options(name: str, options: Mapping[str, object]) -> str:
    """A name with the options that were given, in brackets."""
    given = ", ".join(f"{option}={value}" for option, value in options.items())
    return f"{name} ({given})" if given else name


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


def screen() -> "Console":
    """Standard output for tables that lose nothing on a narrow terminal or in a pipe.

    Texts fold between words where there is no room. Numbers and names keep their width: where all columns take more
    than the line has, lines are longer than the terminal.
    """
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    class Screen(Console):
        def print(self, *objects: object, **how: object) -> None:
            wide = self.options.update(width=10_000)
            for table in (one for one in objects if isinstance(one, Table)):
                for column in table.columns:
                    sizes = [Measurement.get(self, wide, cell) for cell in (column.header, *column.cells)]
                    words = [size.maximum if column.justify == "right" else size.minimum for size in sizes]
                    column.min_width, column.overflow = max(words), "fold"
                paddings = 2 * len(table.columns)  # which the minimum does not count in full
                self.width = max(self.width, Measurement.get(self, wide, table).minimum + paddings)
            super().print(*objects, **how)  # type: ignore[arg-type]

    return Screen()
