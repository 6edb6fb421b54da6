"""Numbers as text."""

from types import SimpleNamespace

import pytest

from energy.costs.tables import Cost
from energy.reports.rows import _count, _part, percent, si


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "12.3 mJ"),
        (6_738_415_616, "6.74 GJ"),
        (999.6, "1.00 kJ"),
        (0.9996, "1.00 J"),
        (3, "3.00 J"),
        (0, "0 J"),
        (1e-16, "0.100 fJ"),
        (-0.5, "-500 mJ"),
    ],
)
def test_si_keeps_three_digits_and_carries_when_rounding(value, text):
    assert si(value, "J") == text


def test_percent_shows_one_decimal_below_ten():
    assert percent(0.0951) == "9.5 %"
    assert percent(0.909) == "91 %"
    assert percent(-0.25) == "-25 %"


def test_a_count_has_three_digits_from_ten_thousand_on():
    assert [_count(value) for value in (9999.0, 10_000.0, 123_456.0)] == ["9999", "10 k", "123 k"]


def test_a_row_of_several_parts_is_their_sum():
    phase = SimpleNamespace(joules_per_token={"read": Cost(1, 2, 3), "rows": Cost(4, 5, 6), "rest": Cost(7, 8, 9)})
    assert _part(phase, ("read", "rows")) == 7
