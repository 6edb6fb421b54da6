"""What commands end with: the artifact as JSON where that was asked for, else tables and what was written."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from hw.pages import screen

__all__ = ["BUILD", "show"]

BUILD = Path("build")


def show(options: Namespace, artifact: Path, tables: Callable[[Console], None], written: list[str]) -> None:
    """Print ``artifact`` if ``--json`` was given, else ``tables`` and the names of the files ``written`` beside it."""
    if options.json:
        print(artifact.read_text(encoding="utf-8"), end="")
        return
    console = screen()
    tables(console)
    console.print(f"wrote {artifact.parent}/: {', '.join(written)}", style="green", highlight=False)
