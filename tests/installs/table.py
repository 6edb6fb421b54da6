"""The table of what extras take to install, as docs/packaging.md has it."""

import json
from pathlib import Path

from hw.artifact import write_text
from hw.pages import fill_blocks

__all__ = ["PAGE", "RESULTS", "page_text", "render_page"]

_DOCS = Path(__file__).parents[2] / "docs"
RESULTS, PAGE = _DOCS / "results" / "installs.json", _DOCS / "packaging.md"


def page_text() -> str:
    """The page with the table of the committed measurement."""
    return fill_blocks(PAGE.read_text(encoding="utf-8"), {"installs": _table}, PAGE.name)


def render_page() -> None:
    """Write the page."""
    write_text(PAGE, page_text())


def _table() -> str:
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = []
    for extra, one in measured["extras"].items():
        anew, again = one["downloaded"], one["cached"]
        name = "none" if extra == "none" else f"`{extra}`"
        rows.append(
            f"| {name} | {anew['seconds']:.0f} s | {again['seconds']:.0f} s | {again['processor_s']:.0f} s "
            f"| {anew['bytes'] / 1e6:.0f} MB | {anew['packages']} |"
        )
    head = [
        "| extra | downloaded | from pip's cache | processor time of that | disk | packages |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    machine = f"Python {measured['python']}, {measured['processors']} processors with other work on them"
    where = f"{machine}, so that the clock says little; a clean environment each, extras on top of none."
    return "\n".join([*head, *rows, "", where])
