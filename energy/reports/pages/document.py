"""Self-contained HTML pages: a template, the style sheet and a few lines of script in one file that needs no network.

Templates are Jinja2's, which escapes every value that is not markup; figures are SVG of ``energy.reports.charts``.
"""

import os
import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from energy.reports.charts.palette import DARK, LIGHT, label_of, slots, variables
from energy.reports.numbers import aligned, significant, thin
from hw.artifact import tool_version

__all__ = [
    "Cell",
    "Column",
    "Provenance",
    "Table",
    "column",
    "legend",
    "provenance",
    "render",
    "standalone",
    "text_column",
]

_TEMPLATES = Path(__file__).parent / "templates"
_MARGIN = 10  # pixels around a figure that is a file
_HEIGHT = re.compile(r'<svg[^>]* height="([\d.]+)"')


class Cell(NamedTuple):
    """What a table shows, and the number that it is sorted by."""

    text: str
    sort: float | None = None
    tip: str = ""
    code: bool = False  # a command, folded until it is asked for
    badge: str = ""  # class of a frame around a word
    best: bool = False  # marked as equal to the best of its column


class Column(NamedTuple):
    """A heading with its unit, and the cells under it."""

    title: str
    cells: Sequence[Cell]
    unit: str = ""
    words: bool = False  # cells hold words, which are left-aligned and may break
    screen: bool = False  # on the screen alone: a printed table has no room for it

    @property
    def kind(self) -> str:
        """Classes of the style sheet."""
        return " ".join(name for name in ("words", "screen") if getattr(self, name))


class Table(NamedTuple):
    """A table; ``kinds``: a class of the style sheet for each row, or nothing."""

    name: str
    caption: str
    columns: Sequence[Column]
    kinds: Sequence[str] = ()
    filtered: bool = False  # with a field that leaves rows out
    anchors: Sequence[str] = ()  # of the rows, for links

    @property
    def rows(self) -> list[tuple[str, str, list[tuple[Column, Cell]]]]:
        """Class and anchor of a row, and its cells with their columns."""
        lines = [
            list(zip(self.columns, line, strict=True)) for line in zip(*(c.cells for c in self.columns), strict=True)
        ]
        nothing = [""] * len(lines)
        return list(zip(self.kinds or nothing, self.anchors or nothing, lines, strict=True))


class Provenance(NamedTuple):
    """How a page came to be."""

    command: str  # repeats it
    version: str
    date: str
    inputs: dict[str, str]  # name -> sha256


def column(title: str, values: Sequence[float | None], unit: str = "", factor: float = 1.0) -> Column:
    """Numbers of three significant digits, their decimal signs under each other; counts are exact; None is a dash."""
    shown = [None if value is None else value * factor for value in values]
    counts = all(value is None or value == int(value) for value in shown)
    texts = aligned(["–" if value is None else significant(value, 12 if counts else 3) for value in shown])
    cells = [Cell(text.replace("-", "−", 1), value) for text, value in zip(texts, shown, strict=True)]
    return Column(title, cells, unit)


def text_column(title: str, texts: Sequence[str]) -> Column:
    """Words."""
    return Column(title, [Cell(text) for text in texts], words=True)


def legend(keys: Sequence[str]) -> list[tuple[str, str]]:
    """Slot and words of each part or cause, for the line over its figures."""
    return [(slot, label_of(key)) for key, slot in slots(keys).items()]


def provenance(words: Sequence[str], inputs: dict[str, str]) -> Provenance:
    """Of a page that ``words`` make; the date is today's, or that of SOURCE_DATE_EPOCH for pages to be compared."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)
    return Provenance(shlex.join(words), tool_version(), f"{now:%Y-%m-%d}", inputs)


def render(template: str, folder: Path = _TEMPLATES, **values: object) -> str:
    """The page of ``templates/NAME.html``, or of a ``folder`` whose templates may use those."""
    return _environment(folder).get_template(f"{template}.html").render(**values)


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"thin": thin, "listed": _listed}
    environment.globals.update(
        style=Markup(_style()), script=Markup((_TEMPLATES / "page.js").read_text(encoding="utf-8"))
    )
    return environment


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else (names or ["no rival"])[0]


def standalone(figure: Markup, width: int = 640) -> str:
    """A figure of a page as a file of its own, ``width`` pixels wide on paper of its own, which the letters suit."""
    height = float(_HEIGHT.search(figure)[1])  # type: ignore[index]
    body = (
        str(figure)
        .replace("<svg", f'<svg x="{_MARGIN}" y="{_MARGIN}"', 1)
        .replace(' width="100%"', f' width="{width}"', 1)
    )
    size = f'width="{width + 2 * _MARGIN}" height="{height + 2 * _MARGIN:g}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" {size}>'
    return f'{start}<style>{_chart_style()}</style><rect width="100%" height="100%" class="paper"/>{body}</svg>\n'


def _chart_style() -> str:
    """Rules of the figures, with a class for every colour."""
    sheet = (_TEMPLATES / "chart.css").read_text(encoding="utf-8")
    rules = "".join(
        f".{slot}{{fill:var(--{slot});background:var(--{slot})}}.on-{slot}{{fill:var(--on-{slot})}}\n" for slot in LIGHT
    )
    themes = f":root{{{variables(LIGHT)}}}\n@media (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}\n"
    printed = f"@media print{{:root{{{variables(LIGHT)}}}}}\n"
    return themes + printed + rules + sheet


def _style() -> str:
    """The style sheet of a page."""
    return _chart_style() + (_TEMPLATES / "page.css").read_text(encoding="utf-8")
