"""The bins of the whole-token machine's coverage: what a token of known sizes falls into, and what it does not."""

import pytest

from sim.token.cycles import TokenCycles
from tests.sim.token.coverage import BINS, Hits, cover, covered_machine, empty_bins, events
from tests.sim.token.random_programs import random_runs


@pytest.fixture(scope="module")
def run():
    return next(random_runs(covered_machine(), 1, seed=7))._replace(stalls=b"", latency=1)


def hits_of(run, position, wanted):
    cycles, hits = TokenCycles(run.image, run.latency, run.stalls), Hits()
    if position:
        cycles.seek(position)
    for event in events(run, cycles.step(wanted), position, wanted):
        cover(hits, event)
    return hits


def test_a_token_falls_into_the_bins_of_its_position_and_its_memory(run):
    size, hits = 1 << run.image.header.block_bits, hits_of(run, 0, True)
    groups = sum(one.operation == "SCORE" for one in run.image.program())  # of queries
    assert hits["operation x memory", "SCORE, a word every edge"] == groups
    assert hits["softmax x blocks", "END, behind the last"] == groups
    assert hits["softmax x blocks", "END, to the next block"] == 0
    assert hits["K and V", "K, first token of a tile"] == hits["K and V", "V, first token of a tile"] > 0
    assert hits["memory", "latency of an edge"] > hits["not wanted x memory", "NORM, a word every edge"] == 0
    later = hits_of(run, size, True)
    assert later["softmax x blocks", "END, whose next block has one token"] == groups
    assert later["operation x memory", "SCORE, a word every edge"] == 2 * groups
    assert later["softmax x blocks", "EXP, first block, whole"] == groups


def test_the_head_of_a_token_that_is_not_wanted_is_passed_over(run):
    hits = hits_of(run, 0, False)
    assert hits["not wanted x memory", "NORM, a word every edge"] == 1
    assert hits["operation x memory", "ARGMAX, a word every edge"] == 0
    assert ("operation x memory", "ARGMAX, a word every edge") in empty_bins(hits)


def test_nothing_played_leaves_every_bin_empty():
    assert len(empty_bins(Hits())) == sum(map(len, BINS.values())) > 150
