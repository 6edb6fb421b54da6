"""The port between two clocks: a byte array's data at any ratio and phase, order, resets, rate, and edges it takes."""

from itertools import pairwise

import pytest
from amaranth.sim import Simulator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hw.memory.crossing import Handover, WordQueue
from hw.memory.fast import FastController
from tests.hw.memory.bench import Bench, Read, Reset, Write, naive, tiny
from tests.hw.memory.test_controller import ALL, CHIP, operations, words_of


def crossed(asked, ratio, chip=CHIP, clock_hz=100e6, word_bits=128, lag=0.0, **how) -> Bench:
    """A bench that has carried these operations out, the chip ``ratio`` times as fast as the port."""
    return Bench(chip, clock_hz, word_bits, FastController, ratio=ratio, lag=lag, **how).run(asked)


@pytest.mark.parametrize(
    ("ratio", "lag", "word_bits", "clock_hz"),
    [(2, 0, 128, 100e6), (3, 0, 64, 143e6), (3, 2, 256, 120e6), (2, 1, 16, 80e6), (4, 0, 64, 133e6)],
)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_traffic_reads_what_was_written_and_breaks_no_rule(ratio, lag, word_bits, clock_hz, data):
    asked = data.draw(operations(word_bits))
    bench = crossed(asked, ratio, CHIP, clock_hz, word_bits, lag)
    assert bench.words == naive(asked, words_of(CHIP, word_bits), word_bits)
    assert bench.model.messages == []


@pytest.mark.parametrize("ratio", [2, 3])
@pytest.mark.parametrize("edge", range(0, 12, 3))
def test_a_reset_on_any_edge_breaks_no_rule_and_spoils_no_other_word(ratio, edge):
    asked = [Write(8, 11, ALL), Write(9, 12, ALL), Write(10, 13, ALL), Reset(edge), Read(8, 2)]
    asked += [Read(0, 30, gap=edge), Reset(edge), Read(8, 2), Write(9, 5, ALL), Reset(30), Read(9, 1)]
    bench = crossed(asked, ratio, tiny(power_up_ns=20_000))
    assert [bench.words[0], *bench.words[2:]] == [[11, 12], [11, 12], [5]]
    assert bench.model.messages == []
    assert bench.edge < 2500 / ratio + 400  # the chip has power: its 2000 clocks are not waited for again


def test_a_request_sees_the_writes_that_were_taken_before_it():
    # three writes fill what the crossing and the controller hold of them, the last of the word that is read at once
    asked = [Write(8, 1, ALL), Write(8, 2, ALL), Write(8, 3, ALL), Read(8, 1)]
    assert crossed(asked, 3).words == [[3]]


@pytest.mark.parametrize(("ratio", "word_bits"), [(2, 32), (3, 32)])
def test_words_come_on_every_edge_where_the_chip_is_as_fast(ratio, word_bits):
    # a word of two beats: at a ratio of 2 one per edge, at 3 the chip waits for who takes them
    bench = crossed([Read(0, 100)], ratio, tiny(refresh_ns=1_000_000), word_bits=word_bits)
    assert [b - a for a, b in pairwise(bench.times[0])] == [1] * 99


def test_edges_that_do_not_coincide_cost_edges_and_no_word():
    asked = [*(Write(i, i * i, ALL) for i in range(9)), Read(0, 9, slow=2), Reset(2), Read(0, 9)]
    for lag in (0.25, 0.5, 0.75):
        bench = crossed(asked, 2, lag=lag)
        assert bench.words == naive(asked, words_of(CHIP, 128), 128)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_the_first_word_takes_what_the_page_says(ratio):
    # the row is open: request, 2 edges of the chip's to the controller, looked up, found, read, CAS latency 2, 3
    # registers, 8 beats, the queue, a slot of the crossing: 19; then the next edge of the port that is not before it,
    # and one more
    bench = crossed([Read(0, 1, gap=20), Read(1, 1)], ratio, tiny(refresh_ns=100_000))
    first, second = (times[0] for times in bench.times)
    assert second - first - 1 == -(-19 // ratio) + 1


def on_two_clocks(dut, ratio, drive, edges):
    """Let ``drive(ctx)`` set inputs behind every edge of the faster clock; the slower one's edges coincide with it."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6 * ratio, phase=0.5e-6)
    simulator.add_clock(1e-6, phase=0.5e-6, domain="memory")

    async def testbench(ctx):
        for _ in range(edges):
            drive(ctx)
            await ctx.tick("memory")

    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("ratio", [2, 3])
def test_an_item_is_offered_two_edges_behind_and_the_next_one_taken_two_edges_behind_that(ratio):
    dut, found = Handover(8), []

    def drive(ctx):
        ctx.set(dut.input.valid, 1)
        ctx.set(dut.output.ready, 1)
        found.append((ctx.get(dut.input.ready), ctx.get(dut.output.valid)))

    on_two_clocks(dut, ratio, drive, 6 * ratio + 1)
    taken = [i for i in range(0, len(found), ratio) if found[i][0]]
    offered = [i for i, (_, valid) in enumerate(found) if valid]
    assert offered[:2] == [taken[0] + 2, taken[1] + 2]
    behind = offered[0] // ratio + 1  # the edge of sync behind the one that carried the item out
    assert taken[1] == ratio * (behind + 1)


def test_a_closed_queue_hands_nothing_over():
    dut, found = WordQueue(8), []

    def drive(ctx):
        ctx.set(dut.input.valid, 1)
        ctx.set(dut.output.ready, 1)
        ctx.set(dut.closed, 1)
        found.append((ctx.get(dut.input.ready), ctx.get(dut.output.valid)))

    on_two_clocks(dut, 2, drive, 20)
    assert [ready for ready, _ in found].count(1) == 4
    assert not any(valid for _, valid in found)
