"""Axes: lists stay, ranges are expanded by hand-computed values, and what never ends is refused before it is made."""

import pytest

from energy.study.axes import MAX_POINTS, expand_axis


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([3, "x", None], [3, "x", None]),
        ({"from": 1, "to": 7, "step": 2}, [1, 3, 5, 7]),
        ({"from": 1, "to": 8, "step": 3}, [1, 4, 7]),
        ({"from": 0.1, "to": 0.3, "step": 0.1}, [0.1, 0.2, 0.3]),
        ({"from": -1, "to": 1, "step": 1}, [-1, 0, 1]),
        ({"from": 5, "to": 5, "step": 1}, [5]),
        ({"from": 16, "to": 128, "factor": 2}, [16, 32, 64, 128]),
        ({"from": 16, "to": 100, "factor": 2}, [16, 32, 64]),
        ({"from": 1, "to": 1000, "log_points": 4}, [1, 10, 100, 1000]),
        ({"from": 2, "to": 16, "log_points": 4}, [2, 4, 8, 16]),
        ({"from": 1, "to": 3, "log_points": 5}, [1, 2, 3]),
        ({"from": 3, "to": 40, "log_points": 2}, [3, 40]),
        ({"from": 1, "to": 2, "step": 0.5}, [1.0, 1.5, 2.0]),
        ({"from": 1, "to": 4, "factor": 1.5}, [1.0, 1.5, 2.25, 3.375]),
        ({"from": 7, "to": 7, "factor": 3}, [7]),
        ({"from": 9e299, "to": 9e299, "factor": 2.0}, [9e299]),
        ({"from": 1, "to": MAX_POINTS, "step": 1}, list(range(1, MAX_POINTS + 1))),
    ],
)
def test_a_range_is_its_values(given, values):
    expanded = expand_axis(given)
    assert expanded == values
    assert [type(value) for value in expanded] == [type(value) for value in values]


def test_equal_ratios_of_fractions(close):
    first, second, third = expand_axis({"from": 1.0, "to": 2.0, "log_points": 3})
    assert (first, third) == (1.0, 2.0)
    assert second == close(2**0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "must have at least 1 value"),
        (None, "must have at least 1 value"),
        ({"from": 1, "to": 2}, "must be a list of values, or from and to with one of step, factor, log_points"),
        ({"from": 1, "to": 2, "step": 1, "factor": 2}, "with one of step"),
        ({"from": 1, "to": 2, "stop": 1}, "with one of step"),
        ({"from": "a", "to": 2, "step": 1}, "must have a number as 'from'"),
        ({"from": 1, "to": float("inf"), "step": 1}, "must have a number as 'to'"),
        ({"from": 2, "to": 1, "step": 1}, "must have 'from' at most as large as 'to'"),
        ({"from": 1, "to": 2, "step": 0}, "must have 'step' above 0"),
        ({"from": 0, "to": 2, "factor": 2}, "must have 'from' above 0 beside 'factor'"),
        ({"from": 1, "to": 2, "factor": 1}, "must have 'factor' above 1"),
        ({"from": 1, "to": 2, "log_points": 1}, "must have a whole number of at least 2 as 'log_points'"),
        ({"from": 1, "to": MAX_POINTS + 1, "step": 1}, "would have 1e[+]06 values and must have at most 1000000"),
        ({"from": 1, "to": 1e300, "step": 1}, "must have a number as 'to'"),
        ({"from": -1e300, "to": 1, "step": 1}, "must have a number as 'from'"),
        ({"from": True, "to": 1, "step": 1}, "must have a number as 'from'"),
        ({"from": 1, "to": 10**9, "step": 1}, "would have 1e[+]09 values and must have at most 1000000"),
        ({"from": 1, "to": 2, "log_points": 10**9}, "would have 1e[+]09 values and must have at most 1000000"),
    ],
)
def test_a_range_that_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        expand_axis(given)


@pytest.mark.parametrize(("start", "end"), [(1, 8.0), (1.0, 8)])
def test_ratios_are_rounded_only_between_two_integers(start, end):
    inner = expand_axis({"from": start, "to": end, "log_points": 3})[1]
    assert inner == pytest.approx(8**0.5)
    assert expand_axis({"from": 1, "to": 8, "log_points": 3})[1] == 3
