"""The kernel of a DRAM channel: streams timed by hand, and rules that no stream may break."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.kernels.bursts import BURST, DramTiming, Queues
from sim.kernels.dram import serve_bursts
from tests.naive_dram import naive_bursts

pytestmark = pytest.mark.kernels

TIMING = DramTiming(
    burst=4, tCCD_S=4, tCCD_L=6, tRCD=10, tRP=11, tRAS=30, tRRD_S=4, tRRD_L=7, tFAW=100, tRTP=8, CL=12, CWL=9, tWR=15,
    tWTR_S=3, tWTR_L=8, tRFC=200, tREFI=0,
)  # fmt: skip


def serve(bursts, reads=1, writes=1, **changes):
    """``bursts``: (group, bank, row, write) each; ``reads``, ``writes``: that the controller sees."""
    return serve_bursts(np.array(bursts, BURST), Queues(reads, writes), TIMING._replace(**changes))


def test_a_row_opens_then_hits_follow_at_the_long_interval():
    issued, activates, _ = serve([(0, 0, 5, 0)] * 3)
    assert issued.tolist() == [10, 16, 22]  # tRCD, then tCCD_L each
    assert activates == 1


def test_another_row_of_the_bank_waits_for_precharge():
    """Read at 10 may close at 18, but tRAS says 30; precharge 11, activate at 41, read at 51."""
    assert serve([(0, 0, 5, 0), (0, 0, 6, 0)]).issued.tolist() == [10, 51]


def test_another_group_may_follow_at_the_short_interval_when_it_is_visible():
    """Seen together, bank 4 activates tRRD_S = 4 after bank 0 and its read follows 4 after the first."""
    assert serve([(0, 0, 5, 0), (1, 4, 5, 0)], reads=2).issued.tolist() == [10, 14]
    assert serve([(0, 0, 5, 0), (1, 4, 5, 0)], reads=1).issued.tolist() == [10, 20]  # activates once it is seen


def test_the_fifth_activate_waits_for_the_window_of_four():
    issued = serve([(b % 2, b, 5, 0) for b in range(5)], reads=5, tFAW=40).issued
    assert issued[4] == 40 + 10


def test_turning_from_write_to_read_and_back():
    """A full buffer of one goes first, at 10; reads after CWL + burst + tWTR_L = 21."""
    assert serve([(0, 0, 5, 1), (0, 0, 5, 0)]).issued.tolist() == [10, 31]


def test_a_write_waits_for_reads_while_its_buffer_is_not_full():
    """Two reads at 10 and 16, then the write after CL + burst + 2 - CWL = 9 more: the buffer of two is never full."""
    assert serve([(0, 0, 5, 0), (0, 0, 5, 1), (0, 0, 5, 0)], 2, 2).issued.tolist() == [10, 25, 16]


def test_a_full_write_buffer_drains_whole_before_the_next_read():
    """Writes at 10 and 16; the read that both overtook comes after CWL + burst + tWTR_L = 21 more."""
    assert serve([(0, 0, 5, 0), (0, 0, 5, 1), (0, 0, 5, 1)], 1, 2).issued.tolist() == [37, 10, 16]


def test_refresh_closes_the_banks_and_holds_them():
    """Reads every 6 from 10 to 94; the one at 100 waits: the row may close at 94 + 8, precharge 11, refresh 30."""
    issued, activates, refreshes = serve([(0, 0, 5, 0)] * 16, tRFC=30, tREFI=100)
    assert issued.tolist() == [*range(10, 95, 6), 102 + 11 + 30 + 10]
    assert (activates, refreshes) == (2, 1)


def test_a_stream_ends_where_refreshes_close_rows_before_they_are_used():
    """Rows of five banks open over more than a refresh interval, four per tFAW of 100: each refresh closed them all."""
    stream = [
        (0, 3, 2, 0), (1, 7, 1, 0), (0, 0, 2, 1), (1, 5, 0, 1), (1, 4, 0, 0), (0, 0, 1, 1), (0, 3, 0, 1), (1, 4, 1, 1),
        (0, 2, 2, 0), (0, 1, 2, 1), (1, 5, 1, 0),
    ]  # fmt: skip
    served = serve(stream, 5, 3, tREFI=150, tRFC=60)
    assert served.issued.min() > 0
    issued, activates, refreshes = naive_bursts(stream, 5, 3, TIMING._replace(tREFI=150, tRFC=60))
    assert refreshes <= len(stream) + 1  # at most one for each burst
    assert (served.issued.tolist(), served.activates, served.refreshes) == (issued, activates, refreshes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), min_size=1, max_size=60), st.integers(1, 12))
def test_every_burst_is_served_once_and_never_faster_than_the_bus(bursts, lookahead):
    issued, activates, _ = serve([(bank // 4, bank, row, 0) for bank, row in bursts], lookahead)
    order = np.sort(issued)
    assert (np.diff(order) >= TIMING.tCCD_S).all()
    assert order[0] >= TIMING.tRCD
    for bank in {bank for bank, _ in bursts}:
        same_group = np.sort(issued[[b // 4 == bank // 4 for b, _ in bursts]])
        assert (np.diff(same_group) >= TIMING.tCCD_L).all()
    assert activates >= len({bank for bank, _ in bursts})


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from(
        [{}, {"tFAW": 16, "tRRD_S": 5}, {"tREFI": 150, "tRFC": 60}, {"tWTR_S": 20, "tRAS": 12, "tRTP": 15}]
    ),
)
def test_every_burst_goes_when_a_walk_over_all_commands_lets_it(bursts, reads, writes, changes):
    stream = [(bank // 4, bank, row, write) for bank, row, write in bursts]
    served = serve(stream, reads, writes, **changes)
    issued, activates, refreshes = naive_bursts(stream, reads, writes, TIMING._replace(**changes))
    assert (served.issued.tolist(), served.activates, served.refreshes) == (issued, activates, refreshes)


def test_long_streams_with_refreshes_equal_the_walk():
    """Three banks of two groups, rows of eight bursts, a write in three, over a dozen refreshes."""
    stream = [
        (number // 2 % 2, number // 2 % 2 * 4 + number % 3, number // 24, number % 3 == 1) for number in range(300)
    ]
    changes = {"tREFI": 400, "tRFC": 90, "tFAW": 30}
    served = serve(stream, 4, 3, **changes)
    issued, activates, refreshes = naive_bursts(stream, 4, 3, TIMING._replace(**changes))
    assert refreshes > 5
    assert (served.issued.tolist(), served.activates, served.refreshes) == (issued, activates, refreshes)
