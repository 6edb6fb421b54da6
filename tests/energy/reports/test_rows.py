"""Numbers as text."""

import pytest

from energy.reports.rows import percent, si


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
