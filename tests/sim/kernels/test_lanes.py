"""Sums and toggles of the lanes equal plain sums and an issue-by-issue walk of the stream."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import sized
from hw.golden import tiles
from sim.replay import linear_sums, measure_skipping, measure_toggles
from tests.naive import gemm_sums

pytestmark = pytest.mark.kernels

arrays = st.builds(
    lambda rows, cols, token_tile: sized(rows, cols).model_copy(update={"token_tile": token_tile}),
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 4),
)  # fmt: skip


@st.composite
def operands(draw):
    m, n, k, planes = (draw(st.integers(1, limit)) for limit in (7, 9, 11, 2))
    seed = np.random.default_rng(draw(st.integers(0, 2**32)))
    return seed.integers(-127, 128, (m, k), np.int8), seed.integers(-1, 2, (planes, n, k), np.int8)


@settings(max_examples=150, deadline=None)
@given(operands(), arrays, st.integers(1, 12))
def test_group_sums_are_the_plain_sums(data, array, group):
    q, trits = data
    sums = linear_sums(q, trits, group, array)
    for plane, matrix in enumerate(trits):
        for g, start in enumerate(range(0, q.shape[1], group)):
            cut = slice(start, start + group)
            assert sums[plane, :, :, g].tolist() == gemm_sums(q[:, cut].tolist(), matrix[:, cut].tolist())


def walked_toggles(q, trits, array):
    """Every lane's operand of every issue, compared with the one before inside its plane and token tile."""
    m, k = q.shape
    planes, n, _ = trits.shape
    selected = entered = steady = 0
    for matrix in trits:
        before, row_before = None, -1
        for cut_m, cut_n, cut_k in tiles(m, n, k, array.token_tile, array.cols, array.rows):
            if cut_m.start != row_before:
                before, row_before = None, cut_m.start
            for token in range(cut_m.start, cut_m.stop):
                lanes = {}
                for c in range(array.cols):
                    for r in range(array.rows):
                        useful = cut_n.start + c < cut_n.stop and cut_k.start + r < cut_k.stop
                        x = int(q[token, cut_k.start + r]) if cut_k.start + r < cut_k.stop else 0
                        t = int(matrix[cut_n.start + c, cut_k.start + r]) if useful else 0
                        lanes[c, r] = ({1: x, 0: 0, -1: -x - 1}[t], x, useful)
                if before is not None:
                    for lane, (operand, x, useful) in lanes.items():
                        selected += ((operand ^ before[lane][0]) & 255).bit_count()
                        entered += ((x ^ before[lane][1]) & 255).bit_count() if useful else 0
                        steady += useful and operand == before[lane][0]
                before = lanes
    issued = planes * m * n * k
    return selected / (8 * issued), entered / (8 * issued), steady / issued


@settings(max_examples=100, deadline=None)
@given(operands(), arrays)
def test_toggles_are_those_of_a_walk_over_every_issue(data, array):
    assert measure_toggles(*data, array) == pytest.approx(walked_toggles(*data, array))


def walked_grid_toggles(q, trits, array):
    """Every element of the grid, issue by issue: token r, output c, all positions of K, then the next column tile."""
    (m, k), (planes, n, _) = q.shape, trits.shape
    selected = entered = steady = 0
    for matrix in trits:
        for token in range(m):
            for column in range(array.cols):
                seen = [(int(matrix[output, position]), int(q[token, position]))
                        for output in range(column, n, array.cols) for position in range(k)]  # fmt: skip
                operands = [({1: x, 0: 0, -1: -x - 1}[t], x) for t, x in seen]
                for (before, x_before), (operand, x) in itertools.pairwise(operands):
                    selected += ((operand ^ before) & 255).bit_count()
                    entered += ((x ^ x_before) & 255).bit_count()
                    steady += operand == before
    issued = planes * m * n * k
    return selected / (8 * issued), entered / (8 * issued), steady / issued


@settings(max_examples=60, deadline=None)
@given(operands(), st.integers(1, 5), st.integers(1, 4))
def test_toggles_of_a_grid_are_those_of_a_walk_over_its_elements(data, rows, cols):
    array = sized(rows, cols).reorganised("systolic")
    assert measure_toggles(*data, array) == pytest.approx(walked_grid_toggles(*data, array))


def test_skipping_counts_the_fullest_column_of_each_tile():
    """Tiles of 2 lanes x 2 columns over 3 outputs x 4 inputs, counted by hand: fullest 2, 1, 0, 1 of 2."""
    trits = np.array([[[1, -1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]], np.int8)
    skipping = measure_skipping(trits, sized(2, 2))
    assert skipping == (1.0 / 2, 1 / 4)
    assert skipping.speed_bound == 2


def test_random_dense_operands_toggle_half_of_their_bits():
    seed = np.random.default_rng(7)
    q = seed.integers(-128, 128, (200, 64)).astype(np.int8)
    toggles = measure_toggles(q, np.ones((1, 8, 64), np.int8), sized(16, 8))
    assert toggles.selected == pytest.approx(0.5, abs=0.01)
    assert toggles.entered == toggles.selected


def test_zero_trits_never_toggle():
    q = np.arange(40, dtype=np.int8).reshape(5, 8)
    toggles = measure_toggles(q, np.zeros((1, 6, 8), np.int8), sized(4, 3))
    assert toggles.selected == 0
    assert toggles.steady == 1 - 1 / (5 * 4)  # all but the first of four tiles of five issues: it follows nothing
