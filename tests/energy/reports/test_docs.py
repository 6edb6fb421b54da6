"""README and docs: generated blocks equal what the committed results give, and commands that they name exist."""

import re
from pathlib import Path

import pytest

from energy.reports import docs
from energy.reports.docs import PAGES as RENDERED
from energy.reports.docs import render_file
from hw.errors import InputError

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", RENDERED, ids=str)
def test_generated_blocks_are_current(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert render_file(page) == page.read_text(encoding="utf-8"), "run: make docs"


def test_a_typed_number_in_a_generated_block_is_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = tmp_path / "page.md"
    page.write_text(re.sub(r"\d+ %", "99.9 %", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert render_file(page) != page.read_text(encoding="utf-8")


def test_unknown_block_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: dreams -->\n<!-- end -->\n")
    with pytest.raises(InputError, match=r"page\.md: generated block must be one of savings.*not 'dreams'"):
        render_file(page)


def test_every_table_with_rows_stands_on_a_page(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = "\n".join(page.read_text(encoding="utf-8") for page in RENDERED)
    shown = re.findall(r"<!-- generated: (\S+) -->", text)
    for name in docs._TABLES.keys() - set(shown):
        assert len(docs._TABLES[name]().splitlines()) == 2, f"{name}: more than a head, and on no page"


def test_every_make_target_in_the_readme_exists():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z-]+)", readme)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_of_the_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_readme_program_runs():
    """The five lines of the README, as they stand."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    exec(compile(program, "README.md", "exec"), {})
