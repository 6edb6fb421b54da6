"""The bins of the whole-token machine's coverage: what a token of known sizes falls into, and what it does not."""

import subprocess
import sys
from collections import Counter

import pytest

from sim.token.cycles import TokenCycles
from tests.sim.token.coverage import Hits, cover, covered_machine, empty_bins, events
from tests.sim.token.coverage_bins import BINS, PACKED_BINS
from tests.sim.token.random_programs import random_runs


@pytest.fixture(scope="module")
def run():
    return next(random_runs(covered_machine(), 1, seed=7))._replace(stalls=b"", latency=1)


def hits_of(run, position, wanted, token=0):
    cycles, hits = TokenCycles(run.image, run.latency, run.stalls), Hits()
    if position:
        cycles.seek(position)
    for event in events(run, cycles.step(wanted, token), position, wanted, token):
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
    assert ("operation x memory", "ARGMAX, a word every edge") in empty_bins(hits, run.image.machine)


def test_nothing_played_leaves_every_bin_empty():
    plain, packed = (covered_machine(weight_packing=packing) for packing in ("2bit", "5in8"))
    assert len(empty_bins(Hits(), plain)) == sum(map(len, BINS.values())) > 150
    assert len(empty_bins(Hits(), packed)) == len(empty_bins(Hits(), plain)) + 20 + 5


def test_packed_weights_fall_into_bins_by_the_beats_behind_whole_fives():
    run = next(random_runs(covered_machine(weight_packing="5in8"), 1, seed=7))._replace(stalls=b"", latency=1)
    hits, array = hits_of(run, 0, True), run.image.machine.array
    found = Counter()
    for one in run.image.program():
        if one.operation in ("DEQ", "ARGMAX"):
            # a tile of 16 x 8 trits is two beats of 64
            beats = 2 * one["planes"] * -(-one["n"] // array.cols) * -(-one["k"] // array.rows)
            assert one["burst"] == beats - beats // 5
            found[
                f"{one.operation}, {('whole fives of beats', *(f'fives and {n} more' for n in range(1, 5)))[beats % 5]}"
            ] += 1
    bins = PACKED_BINS["GEMM of packed weights x memory"]
    assert {name: hits["GEMM of packed weights x memory", name] for name in bins} == {
        name: found[name.removesuffix(", a word every edge")] for name in bins
    }
    assert sum(found.values()) > 7


def test_a_row_falls_into_the_bin_of_its_place_among_five_beats():
    # 128 bits hold 4 of the 8 columns of 16 trits: a tile is two beats
    runs = random_runs(covered_machine(weight_packing="5in8"), 4, seed=7)
    run = next(run for run in runs if any(one.operation == "ROW" for one in run.image.program()))
    [first, *_] = [one for one in run.image.program() if one.operation == "ROW" and one["skip"] == 0]
    for token in (0, 4, 8):
        hits = hits_of(run, 0, True, token)
        beat = token // 8 * first["beats"] + token % 8 // 4
        assert hits["ROW of packed weights", f"beat {beat % 5} of five"] >= 1
        assert sum(hits["ROW of packed weights", f"beat {n} of five"] for n in range(5)) == sum(
            one.operation == "ROW" for one in run.image.program()
        )


def test_memories_that_give_every_nth_word_are_told_from_others(run):
    for stalls, name in ((b"\1\0\0", "a word every 2 to 6 edges"), (b"\1\0\1", "stalls"), (b"", "a word every edge")):
        hits = hits_of(run._replace(stalls=stalls), 0, True)
        full = [kind for kind in ("a word every 2 to 6 edges", "stalls", "a word every edge")
                if hits["operation x memory", f"NORM, {kind}"]]  # fmt: skip
        assert full == [name]


@pytest.mark.parametrize(
    ("memory", "error"),
    [
        ("foo", "error: --memory must be sdram:CHIP@MHZ[xN], not 'foo'"),
        ("sdram:as4c16m16sa-7@900", "error: clock of as4c16m16sa-7 must be above 0 and at most 143 MHz, not 900 MHz"),
    ],
)
def test_a_memory_that_is_none_is_refused_in_one_line(memory, error):
    command = [sys.executable, "-m", "tests.sim.token.coverage", "--memory", memory]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(error)
