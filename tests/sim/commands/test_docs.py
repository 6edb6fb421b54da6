"""docs/simulator.md shows the committed results, and only them."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from hw.errors import InputError
from sim.commands.docs import draw_timeline, load_results, render_file

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_what_the_committed_results_render_to():
    page = DOCS / "simulator.md"
    assert render_file(page, load_results(DOCS / "results" / "simulator.json")) == page.read_text(encoding="utf-8")


def test_an_unknown_block_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: weather -->\n<!-- end -->\n", encoding="utf-8")
    with pytest.raises(InputError, match="must be one of references, dram, bench, curve, explanation, not 'weather'"):
        render_file(page, {})


def test_missing_results_name_the_command(tmp_path):
    with pytest.raises(InputError, match="python -m sim docs --measure"):
        load_results(tmp_path / "none.json")


def test_the_timeline_is_drawn_the_same_twice(tmp_path):
    for name in ("a.svg", "b.svg"):
        draw_timeline(tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_timeline_is_on_white_paper_since_an_image_has_no_colours_of_the_page_around_it(tmp_path):
    draw_timeline(tmp_path / "a.svg")
    for path in (tmp_path / "a.svg", DOCS / "images" / "timeline.svg"):
        _, first, *_ = ElementTree.parse(path).getroot()  # behind the title, under everything else
        assert first.attrib == {"width": "100%", "height": "100%", "fill": "#ffffff"}, path
