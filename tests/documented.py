"""docs/robustness.md, whose tables are those of the committed results of fuzzing and of mutation."""

from pathlib import Path

from hw.pages import fill_blocks

__all__ = ["PAGE", "render_page"]

PAGE = Path(__file__).parents[1] / "docs" / "robustness.md"


def render_page() -> str:
    """The text of the page with every table made anew."""
    from tests.fuzz.__main__ import executions_table
    from tests.mutation.record import scores_table, survivors_table

    blocks = {"executions": executions_table, "mutation": scores_table, "survivors": survivors_table}
    return fill_blocks(PAGE.read_text(encoding="utf-8"), blocks, PAGE.name)
