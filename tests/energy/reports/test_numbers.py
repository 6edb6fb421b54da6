"""Numbers of the pages: digits, units, alignment, print."""

import pytest

from energy.reports.numbers import THIN, aligned, common_unit, significant, thin


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345, "12\u202f300"),
        (999.6, "1\u202f000"),
        (99.96, "100"),
        (0.012345, "0.0123"),
        (3, "3.00"),
        (0, "0"),
        (-4.567, "-4.57"),
        (1e-9, "1.00e-09"),
    ],
)
def test_three_digits(value, text):
    assert significant(value) == text


def test_a_column_has_one_unit_whose_largest_figure_is_below_a_thousand():
    assert common_unit([0.104, 0.881], "J") == ("mJ", pytest.approx(1e3))
    assert common_unit([0.104, 1.2], "J") == ("J", 1)
    assert common_unit([4096.0], "lanes") == ("lanes", 1)
    assert common_unit([0.0, 0.0], "J") == ("J", 1)


def test_decimal_signs_meet_when_lines_end_together():
    lines = aligned(["104", "6.92", "0.0517", "–"])
    assert len({len(line) for line in lines[:3]}) > 1  # right-aligned, not padded in front
    ends = [len(line) - min(line.find(mark) for mark in ".\u2008" if mark in line) for line in lines[:3]]
    assert len(set(ends)) == 1
    assert lines[3] == "–"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("at 104 mJ per token", "at 104\u202fmJ per token"),
        ("74% of 1,099,163,825 cycles", "74\u202f% of 1\u202f099\u202f163\u202f825 cycles"),
        ("columns 1.58x, of a 64x64 array", "columns 1.58\u202f×, of a 64x64 array"),
        ("saves -9.0 % in w2a8-16x4", "saves −9.0\u202f% in w2a8-16x4"),
        ("128 tokens, batch 1", "128 tokens, batch 1"),
    ],
)
def test_print(text, printed):
    assert thin(text) == printed


@pytest.mark.parametrize(
    ("value", "text"),
    [(9.99e11, f"999{THIN}000{THIN}000{THIN}000"), (1e12, "1.00e+12"), (1.234e-6, "0.00000123"), (9.9e-7, "9.90e-07")],
)
def test_powers_of_ten_begin_beyond_twelve_digits_and_six_decimals(value, text):
    assert significant(value) == text
