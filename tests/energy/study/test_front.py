"""The Pareto mark against the definition, by exhaustive comparison on random points of two and three objectives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy.study.front import pareto_front


def _rows(objectives):
    row = st.lists(st.integers(0, 4), min_size=objectives, max_size=objectives)
    return st.lists(row, min_size=1, max_size=14)


@given(st.one_of(_rows(2), _rows(3)))
def test_a_point_is_marked_exactly_when_nothing_dominates_it(rows):
    for row, marked in zip(rows, pareto_front(rows), strict=True):
        dominated = False
        for other in rows:
            if all(o <= r for o, r in zip(other, row, strict=True)) and other != row:
                dominated = True
        assert marked == (not dominated)


def test_equal_points_are_both_marked():
    assert pareto_front([[1, 2], [1, 2], [2, 3]]) == [True, True, False]


def test_no_points_have_no_front():
    assert pareto_front([]) == []


@pytest.mark.parametrize("objectives", [2, 3])
def test_comparisons_grow_like_n_log_n(objectives):
    """Rows that are all on the front, the worst case: fewer than forty comparisons for each of four thousand."""
    counted = 0

    class Counted(float):
        def __lt__(self, other):
            nonlocal counted
            counted += 1
            return float(self) < float(other)

    n = 4096
    rows = [[Counted(i), Counted(n - i), Counted((i * 7919) % n)][:objectives] for i in range(n)]
    assert all(pareto_front(rows))
    assert counted < 40 * n


def test_a_row_that_falls_takes_no_other_with_it():
    """(1, 3, 4) beats the step (4, 4) for later rows; the step (6, 1) stays, and (2, 6, 2) lies behind it."""
    rows = [[0, 2, 5], [0, 4, 4], [0, 6, 1], [1, 3, 4], [2, 6, 2]]
    assert pareto_front(rows) == [True, True, True, True, False]
