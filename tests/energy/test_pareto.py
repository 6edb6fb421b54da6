"""The Pareto mark against the definition, by exhaustive comparison on random points."""

from hypothesis import given
from hypothesis import strategies as st

from energy.study import pareto_front

ROWS = st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), min_size=1, max_size=12)


@given(ROWS)
def test_a_point_is_marked_exactly_when_nothing_dominates_it(rows):
    for row, marked in zip(rows, pareto_front(rows), strict=True):
        dominated = False
        for x, y in rows:
            if x <= row[0] and y <= row[1] and (x < row[0] or y < row[1]):
                dominated = True
        assert marked == (not dominated)


def test_equal_points_are_both_marked():
    assert pareto_front([[1, 2], [1, 2], [2, 3]]) == [True, True, False]
