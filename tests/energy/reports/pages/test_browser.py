"""The pages in a browser: nothing overflows, nothing complains, sorting and filtering work, prints cut no figure.

Needs Debian's chromium and the package playwright; skipped where either is missing.
"""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from energy.__main__ import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
LARGEST = 1_500_000  # bytes
A4 = (688, 1017)  # pixels between the margins of a printed page
JOB = ["--model", "stories260K", "--array", "16x16", "--prefill", "64", "--decode", "16", "--kv-bits", "8"]
PAGES = ("job", "study", "methods", "difference")

# What is wider than the page though it does not lie in a box that scrolls
OVERFLOW = """() => [...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.right > innerWidth + 1 && box.width > 0 && !one.closest(".scroll, .gantt, #tip");
}).map((one) => one.tagName + "." + (one.className.baseVal ?? one.className))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of each kind, from small runs, and its JSON."""
    from energy.compare import Comparison
    from energy.reports.pages.document import provenance
    from energy.reports.pages.methods import comparison_html

    folder = tmp_path_factory.mktemp("pages")
    rivals = ["--rivals", "int8,fp16,w2a8", "--rival-bus", "balanced"]
    main(["sim", *JOB, *rivals, "--shapes-only", "--out", str(folder / "job")])
    main(["whatif", "--out", str(folder / "study")])
    main(["compare", "8x8", "16x16", *JOB[:2], *JOB[4:], "--out", str(folder / "difference")])
    document = json.loads((ROOT / "docs" / "results" / "compare-smollm2-135m.json").read_text())
    comparison = Comparison(**{name: document[name] for name in Comparison.model_fields})
    (folder / "methods").mkdir()
    page = comparison_html(comparison, provenance(["tritforge", "compare"], {}))
    (folder / "methods" / "report.html").write_text(page, encoding="utf-8")
    return {name: folder / name / "report.html" for name in PAGES}


def opened(browser, path, **how):
    """The page, and what the browser said about it."""
    page, said = browser.new_context(**how).new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(path.as_uri())
    return page, said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_overflows_complains_or_asks_the_network(browser, pages, name, width, scheme):
    page, said = opened(browser, pages[name], viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OVERFLOW) == []
    for field in page.locator("input").all():
        field.fill("a")
    assert said == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", paper)[0]) < 60) == (scheme == "dark")


@pytest.mark.parametrize("name", PAGES)
def test_everything_has_a_name_and_headings_do_not_skip(browser, pages, name):
    page, _ = opened(browser, pages[name], viewport={"width": 1400, "height": 900})
    nameless = """() => [...document.querySelectorAll("th, button, summary, caption, figcaption, a, [role=region]")]
      .filter((one) => !(one.getAttribute("aria-label") ?? one.textContent).trim()).length"""
    assert page.evaluate(nameless) == 0
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_small(pages, name):
    size = len(pages[name].read_bytes())
    print(f"{name}: {size / 1000:.0f} kB of {LARGEST / 1000:.0f}")
    assert size < LARGEST


def test_a_printed_table_that_fits_a_page_is_not_broken(browser, pages):
    page, _ = opened(browser, pages["job"], viewport={"width": A4[0], "height": A4[1]})
    page.emulate_media(media="print")
    rules = page.evaluate(
        "() => [...document.querySelectorAll('.scroll')].map((one) => "
        "[one.querySelectorAll('tbody tr').length, getComputedStyle(one).breakInside, one.offsetHeight])"
    )
    assert len(rules) > 5
    assert all(rule == "avoid" for rows, rule, height in rules if rows < 25 and height < A4[1])
    assert all(rule == "auto" for rows, rule, _ in rules if rows >= 25)


@pytest.mark.parametrize("name", PAGES)
def test_prints_cut_no_figure_and_no_table(browser, pages, name):
    page, _ = opened(browser, pages[name], viewport={"width": A4[0], "height": A4[1]})
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= A4[0]
    wide = "() => [...document.querySelectorAll('table, svg, figure, code')].filter(one => one.scrollWidth > %d).length"
    assert page.evaluate(wide % A4[0]) == 0
    figures = page.evaluate(
        "() => [...document.querySelectorAll('figure')]"
        ".map(one => [one.offsetHeight, getComputedStyle(one).breakInside])"
    )
    assert all(height < A4[1] and rule == "avoid" for height, rule in figures)
    assert page.pdf(prefer_css_page_size=True)[:5] == b"%PDF-"


def test_a_click_sorts_by_number_and_the_keyboard_turns_it_round(browser, pages):
    page, said = opened(browser, pages["job"], viewport={"width": 1400, "height": 900})
    head = page.locator("#alternatives-table thead th", has_text="area").first

    def column():
        cells = "() => [...document.querySelectorAll('#alternatives-table tbody tr')].map(r => r.cells[3].dataset.sort)"
        return [float(text) for text in page.evaluate(cells)]

    before = column()
    head.locator("button").click()
    assert column() == sorted(before)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert column() == sorted(before, reverse=True)
    assert said == []


def test_words_filter_rows(browser, pages):
    page, _ = opened(browser, pages["study"], viewport={"width": 1400, "height": 900})
    rows = page.locator("#points-table tbody tr:visible")
    assert rows.count() == 24
    page.locator(".filter input").fill("64x64 hbm2")
    assert rows.count() == 2
    assert page.locator(".filter output").inner_text() == "2 rows"


def test_bars_speak_under_the_pointer_and_under_the_keyboard(browser, pages):
    page, _ = opened(browser, pages["job"], viewport={"width": 1400, "height": 900})
    page.locator("svg.chart rect.dram").first.hover()
    assert re.fullmatch(r"DRAM: [\d.]+\s[mµ]?s, \d+\s%", page.locator("#tip").inner_text())
    bar = page.locator("svg.chart g[tabindex]").first
    bar.focus()
    assert re.match(r"ternary: ", bar.get_attribute("aria-label"))


def test_without_script_the_page_shows_every_figure_and_number(browser, pages):
    page, _ = opened(browser, pages["job"], viewport={"width": 1400, "height": 900}, java_script_enabled=False)
    document = json.loads((pages["job"].parent / "energy.json").read_text())
    assert page.locator("svg.chart").count() == 4 + 2 + 1 + 4
    assert page.locator(".filter:visible").count() == 0
    shown = page.locator(".verdict").inner_text()
    first = document["verdict"].split(";")[0].split(" at ")[0]
    assert re.sub(r"\s", "", first) in re.sub(r"\s", "", shown)
