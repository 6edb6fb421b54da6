"""Figures as geometry: lengths are in proportion to what they show, axes start at zero, texts are escaped."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy.reports.charts.bars import Bar, Segment, stacked_bars
from energy.reports.charts.plane import Line, Point, plane
from energy.reports.charts.scale import Linear, Logarithmic
from energy.reports.charts.svg import element
from energy.reports.charts.waterfall import Step, waterfall

BARS = [
    Bar("ternary", "4 s", [Segment("DRAM", "dram", 3.0, "3 s"), Segment("a <b> & c", "array", 1.0, "1 s")], 2.0, 9.0),
    Bar("INT8", "8 s", [Segment("DRAM", "dram", 8.0, "8 s"), Segment("none", "host", 0.0, "0 s")], 5.0, 99.0),
]


def parsed(svg):
    return ElementTree.fromstring(str(svg))


def percent(text):
    assert text.endswith("%")
    return float(text[:-1]) / 100


def of(tree, name, kind):
    return [one for one in tree.iter(name) if kind in (one.get("class") or "").split()]


def test_segments_are_as_long_as_their_values_and_lie_end_to_end():
    tree = parsed(stacked_bars(BARS, "title", "description"))
    first, second, third = of(tree, "rect", "segment")
    assert percent(first.get("width")) == pytest.approx(3 * percent(second.get("width")), rel=1e-3)
    assert percent(third.get("width")) == pytest.approx(8 / 3 * percent(first.get("width")), rel=1e-3)
    assert percent(second.get("x")) == pytest.approx(percent(first.get("width")), abs=1e-4)
    assert percent(first.get("x")) == percent(third.get("x")) == 0


def test_names_are_escaped_and_read_out():
    tree = parsed(stacked_bars(BARS, "title", "description"))
    assert [one.text for one in tree[:2]] == ["title", "description"]
    labels = [one.get("aria-label") for one in tree.iter("g") if one.get("aria-label")]
    assert labels == ["ternary: 4 s. DRAM 3 s; a <b> & c 1 s", "INT8: 8 s. DRAM 8 s"]
    assert all(one.get("tabindex") == "0" for one in tree.iter("g") if one.get("aria-label"))


def test_whiskers_far_beyond_all_bars_end_in_an_arrow_at_the_end_of_the_axis():
    tree = parsed(stacked_bars(BARS, "title", "description"))
    within, beyond = of(tree, "g", "whisker")
    assert [one.text for one in within.iter("text")] == []
    assert [one.text for one in beyond.iter("text")] == ["▸"]
    assert percent(beyond[0].get("x2")) == 1
    assert percent(within[0].get("x1")) / percent(within[0].get("x2")) == pytest.approx(2 / 9, rel=1e-2)


@given(st.floats(1e-9, 1e12), st.floats(0, 1e12))
def test_linear_axes_hold_everything_between_round_ticks(high, depth):
    scale, invisible = Linear(high, -depth), 1e-6 * (high + depth)
    assert scale.ticks[0] <= -depth + invisible
    assert scale.ticks[-1] >= high - invisible
    assert 3 <= len(scale.ticks) <= 9
    assert (scale.at(scale.ticks[0]), scale.at(scale.ticks[-1])) == (0, pytest.approx(1))
    assert 0.0 in scale.ticks or any(abs(tick) < 1e-9 * (high + depth) for tick in scale.ticks)


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=6))
def test_logarithmic_axes_hold_everything_and_say_where(values):
    scale = Logarithmic(values)
    assert all(0 <= scale.at(value) <= 1 for value in values)
    assert all(0 <= scale.at(tick) <= 1 for tick in scale.ticks)
    assert len(scale.ticks) >= 2


def test_an_axis_over_near_values_has_round_ticks_of_which_two_are_read():
    """246 and 250: 200 and 300, the next of 1, 1.5, 2 and 3, are beyond both ends."""
    ticks = Logarithmic([246.0, 250.0]).ticks
    assert 2 <= len(ticks) <= 9
    assert all(tick % 5 == 0 for tick in ticks)


def test_a_waterfall_hangs_its_steps_between_the_ends():
    steps = [Step("DRAM", "dram", -6.0, "-6"), Step("array", "array", 2.0, "+2")]
    tree = parsed(waterfall(("A", 10.0, "10"), steps, ("B", 6.0, "6"), "title", "description"))
    first, down, up, last = of(tree, "rect", "segment")

    def end(bar):
        return percent(bar.get("x")) + percent(bar.get("width"))

    assert end(down) == pytest.approx(end(first), abs=2e-4)
    assert percent(down.get("x")) == pytest.approx(percent(up.get("x")), abs=2e-4)
    assert end(up) == pytest.approx(end(last), abs=2e-4)
    assert percent(down.get("width")) == pytest.approx(3 * percent(up.get("width")), rel=1e-3)


def test_names_on_a_plane_do_not_cover_each_other_or_the_marks():
    points = [Point(1.0, 10.0, "a", "first"), Point(1.02, 10.1, "b", "second"), Point(9.0, 90.0, "c")]
    tree = parsed(plane(points, [Line([(1.0, 1.0), (9.0, 9.0)], "strong")], "x", "y", "title", "description"))
    one, other = of(tree, "text", "label")
    assert {one.text, other.text} == {"first", "second"}
    assert (one.get("text-anchor"), one.get("y")) != (other.get("text-anchor"), other.get("y"))
    assert len(of(tree, "circle", "mark")) == 3


def test_a_plane_of_values_of_zero_and_below_has_round_steps_across_zero():
    points = [Point(0.0, -5.0, "a"), Point(3.0, 5.0, "b", low=-6.0, high=8.0), Point(-4.0, 2.0, "c")]
    tree = parsed(plane(points, [], "x", "y", "title", "description"))
    marks = of(tree, "circle", "mark")
    across = sorted(percent(mark.get("cx")) for mark in marks)
    assert across[1] - across[0] == pytest.approx((across[2] - across[1]) * 4 / 3, rel=1e-3)  # -4, 0 and 3
    assert "0" in {text.text for text in tree.iter() if text.text}


def test_a_name_that_finds_no_room_is_left_out_unless_the_page_is_about_it():
    crowd = [Point(1.0 + number / 1e3, 10.0, "", f"name {number}") for number in range(40)]
    strong = Point(1.02, 10.0, "", "design", "strong")
    edges = [Point(0.5, 5.0, ""), Point(2.0, 20.0, "")]
    labels = [one.text for one in of(parsed(plane([*crowd, strong, *edges], [], "x", "y", "", "")), "text", "label")]
    assert labels[0] == "design"
    assert 1 < len(labels) < 20


def test_the_longest_key_ends_inside_the_figure():
    keys = [("#0072b2", "m"), ("#c8500a", "a-model-with-a-name-of-forty-five-letters-7b")]
    tree = parsed(plane([Point(1.0, 1.0, "")], [], "x", "y", "", "", keys=keys))
    for text in of(tree, "text", "key"):
        shift = -float(re.match(r"translate\(-([\d.]+) 0\)", text.get("transform"))[1])
        assert text.get("x") == "100%"
        assert shift + 7.5 * len(text.text) <= 0  # of sans-serif letters of 12 px, 7.5 at most


def test_names_of_a_crowd_stand_apart_and_a_line_leads_to_each_that_is_not_beside_its_mark():
    crowd = [Point(1.0 + number / 30, 10.0 + number % 3 / 9, "", f"name {number}", "strong") for number in range(9)]
    ends = [Point(0.1, 1.0, ""), Point(100.0, 100.0, "")]
    tree = parsed(plane([*crowd, *ends], [], "x", "y", "", "", 420, keys=[("#0072b2", "m")], wide=860))
    boxes, missing = [], {f"name {number}" for number in range(9)}
    for text in of(tree, "text", "label"):
        width, shift = 6.7 * len(text.text), float(re.match(r"translate\((-?\d+) 0\)", text.get("transform"))[1])
        left = 860 * percent(text.get("x")) + shift - (width if text.get("text-anchor") == "end" else 0)
        base = float(text.get("y"))
        boxes.append((left, base - 9, left + width, base + 2))
        assert "keyed" in text.get("class")  # its colour is no model's
        missing.remove(text.text)
    assert not missing
    for at, one in enumerate(boxes):
        for other in boxes[:at]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    assert 0 < len(of(tree, "line", "leader")) < len(boxes)


def test_elements_take_python_names_and_leave_out_nothing_but_none():
    assert str(element("text", "1 < 2", class_="a", stroke_width=0, x=None)) == (
        '<text class="a" stroke-width="0">1 &lt; 2</text>'
    )


def test_a_name_is_nearest_to_its_own_mark():
    """Free of all others, the first place of "under" would still be nearest to the mark on its right."""
    points = [Point(1.0, 1.0, "under", "under"), Point(1.012, 1.02, "over", "over"), Point(1.2, 1.2, "far")]
    tree = parsed(plane(points, [], "x", "y", "t", "d", wide=860))
    spots = {one.get("aria-label"): one for one in of(tree, "circle", "mark")}
    places = {name: (860 * percent(one.get("cx")), float(one.get("cy"))) for name, one in spots.items() if name}
    names = of(tree, "text", "label")
    assert names
    for one in names:
        shift = float(one.get("transform").removeprefix("translate(").split()[0])
        width = 6.4 * len(one.text)
        left, base = 860 * percent(one.get("x")) + shift - (width if shift < 0 else 0), float(one.get("y"))
        gaps = {
            name: max(left - x - 5, x - 5 - left - width, 0) ** 2 + max(base - 11 - y - 5, y - 5 - base - 3, 0) ** 2
            for name, (x, y) in places.items()
        }
        assert gaps[one.text] == min(gaps.values()), one.text
