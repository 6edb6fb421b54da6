"""The controller behind its port: data of a byte array, no rule of the chip broken, bandwidth, order, latency."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hw.errors import InputError
from hw.memory.controller import SdramController
from tests.hw.memory.bench import Bench, Read, Reset, Write, naive, tiny

CHIP = tiny()
ALL = (1 << 16) - 1  # every byte of a word of 128 bits


def words_of(chip, word_bits):
    return chip.bytes // (word_bits // 8)


def operations(word_bits):
    address = st.integers(0, words_of(CHIP, word_bits) - 1)
    gap = st.sampled_from([0, 0, 0, 1, 3, 40])
    value, mask = st.integers(0, (1 << word_bits) - 1), st.integers(0, (1 << word_bits // 8) - 1)
    lower = st.integers(0, words_of(CHIP, word_bits) // 2 - 12)
    upper = st.integers(words_of(CHIP, word_bits) // 2, words_of(CHIP, word_bits) - 1)
    slow = st.sampled_from([1, 1, 2, 25])
    reads = st.builds(Read, address, st.integers(1, 12), gap, slow, st.none())
    both = st.builds(Read, lower, st.integers(1, 12), gap, slow, st.builds(Write, upper, value, mask, gap))
    return st.lists(reads | both | st.builds(Write, address, value, mask, gap), min_size=1, max_size=25)


@pytest.mark.parametrize(
    ("word_bits", "cas", "clock_hz"), [(128, 2, 100e6), (128, 3, 133e6), (16, 2, 60e6), (64, 3, 143e6), (256, 2, 80e6)]
)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_traffic_reads_what_was_written_and_breaks_no_rule(word_bits, cas, clock_hz, data):
    asked = data.draw(operations(word_bits))
    bench = Bench(CHIP, clock_hz, word_bits, cas=cas).run(asked)
    assert bench.words == naive(asked, words_of(CHIP, word_bits), word_bits)
    assert bench.model.messages == []


def test_a_sequential_read_waits_for_refreshes_alone():
    # 300 words of 8 beats; each refresh takes tRP + tRFC = 2 + 7 clocks, 3 to the read, and what the burst had left
    chip = tiny(refresh_ns=7812.5)
    bench = Bench(chip, 100e6, 128).run([Read(0, 300)])
    gaps = [b - a for a, b in pairwise(bench.times[0])]
    assert bench.model.messages == []
    late = [gap for gap in gaps if gap != 8]
    assert late == [8 + 12] * 3  # 2400 clocks, one refresh every 781
    assert 300 * 8 / (bench.times[0][-1] - bench.times[0][0] + 8) > 0.98


def test_at_the_slowest_clock_no_refresh_is_late_and_reads_go_on():
    # an interval of 18 edges: tRP, tRFC, 3 to a read of a row that was opened, 8 beats and tWR, 3 to find the refresh
    fields = {"rcd_ns": 10, "rp_ns": 10, "ras_ns": 20, "rc_ns": 30, "rfc_ns": 10, "refresh_ns": 180}
    with pytest.raises(InputError, match="must leave time between refreshes"):
        tiny(**fields | {"refresh_ns": 170}).timing(100e6)
    asked = [Read(0, 40), *(Write(5 * i, i, ALL) for i in range(20)), *(Read(5 * i, 1) for i in range(20))]
    bench = Bench(tiny(**fields), 100e6, 128).run(asked)
    assert bench.words == naive(asked, words_of(tiny(), 128), 128)
    assert bench.model.messages == []


@pytest.mark.parametrize(("word_bits", "edges"), [(16, 2), (32, 2), (64, 4), (256, 16)])
def test_a_stream_of_words_of_one_beat_gets_half_of_the_peak_and_longer_ones_all(word_bits, edges):
    bench = Bench(tiny(refresh_ns=1_000_000), 100e6, word_bits).run([Read(0, 200)])  # over several rows
    assert {b - a for a, b in pairwise(bench.times[0])} == {edges}


def test_first_word_of_an_open_a_closed_and_another_row():
    # request, looked up, found; sent, CAS latency 2, three registers, 8 beats: 16 edges. Behind an activate or a
    # precharge, of 2 clocks each, the bank is looked up again: 3 more
    asked = [Read(0, 1, gap=20), Read(1, 1), Read(4, 1), Read(16, 1)]  # four words a row; word 16: row 1 of bank 0
    bench = Bench(tiny(refresh_ns=7812.5), 100e6, 128).run(asked)
    ends = [times[0] for times in bench.times]
    assert [b - a - 1 for a, b in pairwise(ends)] == [16, 19, 22]


def test_a_write_keeps_the_bytes_that_it_masks():
    old, new = int.from_bytes(range(16), "little"), int.from_bytes(range(100, 116), "little")
    bench = Bench(CHIP).run([Write(5, old, ALL), Write(5, new, 0x8001), Read(5, 1)])
    assert list(bench.words[0][0].to_bytes(16, "little")) == [100, *range(1, 15), 115]


def test_addresses_wrap_at_the_end_of_the_chip():
    last = words_of(CHIP, 128) - 1
    bench = Bench(CHIP).run([Write(last, 7, ALL), Write(0, 9, ALL), Read(last, 2)])
    assert bench.words[0] == [7, 9]
    assert bench.model.messages == []


@pytest.mark.parametrize("edge", range(0, 24, 3))
def test_a_reset_on_any_edge_breaks_no_rule_and_spoils_no_other_word(edge):
    asked = [Write(8, 11, ALL), Write(9, 12, ALL), Write(10, 13, ALL), Reset(edge), Read(8, 2)]
    bench = Bench(tiny(power_up_ns=20_000)).run(asked)
    assert bench.words == [[11, 12]]
    assert bench.model.messages == []
    assert bench.edge < 2500  # the chip has power: its 2000 clocks are not waited for again


def test_a_reset_within_a_refresh_is_waited_out():
    for edge in range(140, 160, 2):  # a refresh is due every 150 clocks
        bench = Bench(CHIP).run([Write(1, 5, ALL), Reset(edge), Read(1, 1)])
        assert bench.words == [[5]]
        assert bench.model.messages == []


def test_a_request_for_nothing_is_taken_and_answers_nothing():
    bench = Bench(CHIP).run([Read(3, 0), Read(3, 1)])
    assert [len(words) for words in bench.words] == [0, 1]


class EarlyData(SdramController):
    """Takes data an edge before they come."""

    def __init__(self, chip, clock_hz, word_bits, **how):
        super().__init__(chip, clock_hz, word_bits, read_edges=chip.timing(clock_hz).cas + 1)


def test_data_taken_an_edge_early_are_seen():
    asked = [Write(5, 1 << 64 | 3, ALL), Read(5, 1)]
    bench = Bench(CHIP, controller=EarlyData).run(asked)
    assert bench.words != naive(asked, words_of(CHIP, 128), 128)
