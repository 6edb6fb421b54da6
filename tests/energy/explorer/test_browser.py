"""The explorer in a browser: a slider changes the number, the address is the state, nothing overflows or complains.

Needs Debian's chromium and the package playwright; skipped where either is missing.
"""

import re
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from energy.explorer.answers import answer_of
from energy.explorer.server import Explorer
from energy.explorer.state import State
from energy.reports.numbers import significant

pytestmark = pytest.mark.slow

OVERFLOW = """() => [...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.right > innerWidth + 1 && box.width > 0 && !one.closest(".scroll");
}).map((one) => one.tagName + "." + (one.className.baseVal ?? one.className))"""


@pytest.fixture(scope="module")
def url():
    with Explorer("127.0.0.1", 0) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one.url
        one.shutdown()


@pytest.fixture
def opened(browser, url):
    """A function that opens an address; nothing may be said on the console or asked of another host."""
    said = []

    def open_address(query="", **how):
        page = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}} | how).new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda one: None if one.url.startswith(url) else said.append(one.url))
        page.goto(f"{url}?{query}" if query else url)
        return page

    yield open_address
    assert said == []


def speed(**changes):
    """Tokens per second of decode, as the page prints them."""
    return significant(answer_of(State.default()._replace(**changes)).summary.ternary.phase("decode").tokens_per_s)


def shows(page, text):
    """Wait until the verdict begins with ``text``."""
    page.wait_for_function(
        "text => document.querySelector('#verdict b')?.textContent.startsWith(text)", arg=text, timeout=60_000
    )


def test_the_first_view_needs_no_click_and_no_script(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("#verdict b").first.inner_text().startswith(speed())
    assert page.locator("svg.chart").count() == 7


def test_a_slider_changes_the_number_and_the_back_button_brings_it_back(opened):
    page = opened()
    shows(page, speed())
    page.locator("#batch").focus()
    page.keyboard.press("ArrowRight")
    assert speed(batch=2) != speed()
    shows(page, speed(batch=2))
    assert parse_qs(urlsplit(page.url).query) == {"batch": ["2"]}
    assert page.locator(".control[data-name=batch] output").inner_text() == "2"
    assert re.match(r"redrawn in \d+ ms, \d+ of them on the server", page.locator("#drawn").inner_text())
    page.go_back()
    shows(page, speed())
    assert page.locator("#batch").input_value() == "0"
    page.go_forward()
    shows(page, speed(batch=2))


def test_a_pinned_design_stays_beside_the_next_one_and_in_the_address(opened):
    page = opened()
    page.get_by_role("button", name="Pin this design").click()
    page.locator("#memory").select_option("ddr4-3200")
    shows(page, speed(memory="ddr4-3200"))
    row = page.locator(".beside tr", has_text="decode, tokens/s").inner_text().split("\t")
    assert row[1:3] == [speed(), speed(memory="ddr4-3200")]
    again = opened(urlsplit(page.url).query)
    assert again.locator(".beside").count() == 1
    page.get_by_role("button", name="Unpin").click()
    page.locator(".beside").wait_for(state="detached")


def test_what_cannot_be_says_why_and_leads_out(opened):
    page = opened()
    page.locator(".why.some").first.wait_for()
    option = page.locator("#kv option[value=digits-5-5]")
    assert option.inner_text().startswith("✕")
    page.locator("#kv").select_option("digits-5-5")
    page.locator("#verdict.refused").wait_for()
    assert "key_digits must be at most 4" in page.locator("#verdict").inner_text()
    page.locator("#verdict a", has_text="4 and 4 digits").click()
    shows(page, speed(kv="digits-4-4"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_nothing_overflows(opened, width, scheme):
    page = opened("pin=array%3Dedge-32x32", viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OVERFLOW) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", paper)[0]) < 60) == (scheme == "dark")


def test_figures_stay_where_they_are_while_a_slider_moves(opened):
    page = opened()
    top = "document.querySelector('#figures figure').getBoundingClientRect().top"
    before = page.evaluate(top)
    page.locator("#zeros").focus()
    for zeros in (0.4, 0.5):
        page.keyboard.press("ArrowRight")
        shows(page, speed(zeros=zeros))
        assert page.evaluate(top) == before


def test_rivals_that_take_longer_follow_the_design_without_a_jump(opened):
    page = opened()
    shows(page, speed())
    top = "document.querySelector('.area').getBoundingClientRect().top"
    before = page.evaluate(top)
    page.locator("#hold").select_option("power")
    page.locator("#drawn", has_text=re.compile(r"^redrawn in \d+ ms, .*; rivals \d+ ms later$")).wait_for()
    assert page.get_by_text("being simulated").count() == 0
    assert page.locator("#verdict").inner_text().count("tokens/s") == 1
    assert "against INT8 it saves" in page.locator("#verdict").inner_text().lower().replace("int8", "INT8")
    assert page.evaluate(top) == before


def test_a_move_while_rivals_follow_is_drawn_next(opened):
    page = opened()
    page.locator("#hold").select_option("bandwidth")
    page.locator("#batch").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    shows(page, speed(batch=8))
    page.wait_for_function("document.querySelector('#result').dataset.query === 'batch=8&hold=bandwidth'")


def test_everything_has_a_name_and_can_be_reached_by_the_keyboard(opened):
    page = opened()
    nameless = """() => [...document.querySelectorAll("input, select, button, a")]
      .filter((one) => !(one.labels?.[0] ?? one).textContent.trim()).length"""
    assert page.evaluate(nameless) == 0
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"model", "prompt", "batch", "array", "costs", "zeros", "memory", "kv", "hold", "pin", "study"} <= reached


def test_the_study_is_a_download(opened):
    page = opened("prompt=64")
    with page.expect_download() as caught:
        page.get_by_role("link", name="As study").click()
    assert caught.value.suggested_filename == "explorer.yaml"
