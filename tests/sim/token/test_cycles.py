"""Cycles of a program: the machine's own counters, instruction by instruction, and formulas by hand."""

import pytest

from hw.config import load_array
from hw.errors import InputError
from hw.program.compiler import compiled
from hw.program.machine import machine_around
from hw.token.attention import AttentionFormat
from sim.token.budget import budget_lines, budget_of
from sim.token.cycles import TokenCycles
from tests.hw.token.random_models import random_model
from tests.sim.token.coverage import Hits, covered_machine, empty_bins, play
from tests.sim.token.random_programs import random_runs


def program(machine, seed=1, **model):
    sizes = {"layers": 1, "hidden": 12, "intermediate": 20, "heads": 2, "kv_heads": 1, "head_dim": 8, "context": 40}
    return compiled(random_model(seed, **{"form": AttentionFormat(5, 3, True, 16)} | sizes | model), machine)


@pytest.fixture(scope="module")
def small():
    return program(machine_around(load_array("8x8"), 2, scratch_words=160))  # constants have no room to stay


def test_packed_weights_take_four_words_of_a_slow_memory_for_five():
    plain, packed = (
        program(machine_around(load_array("8x8"), 2, weight_packing=packing), hidden=48) for packing in ("2bit", "5in8")
    )
    stalls = bytes([1] + [0] * 9)
    pairs = list(zip(TokenCycles(plain, 8, stalls).step(), TokenCycles(packed, 8, stalls).step(), strict=True))
    code = plain.program()
    for a, b in pairs:
        if a.operation in ("DEQ", "ARGMAX"):
            words = code[a.number]["burst"]
            assert a.cycles - b.cycles == pytest.approx(10 * (words // 5), abs=20), a  # a word per 10 edges
    fast = [sum(one.cycles for one in TokenCycles(image).step()) for image in (plain, packed)]
    assert fast[0] == fast[1]  # where memory is as fast as the port, the array's beats decide


def test_what_stays_in_scratch_memory_is_loaded_once():
    cycles = TokenCycles(program(machine_around(load_array("8x8"), 2)))
    first, second = ([one.operation for one in cycles.step()] for _ in range(2))
    assert first.count("LOAD") - second.count("LOAD") == 13
    assert first[13:] == second


def by_operation(image, name, **how):
    return next(one for one in TokenCycles(image, **how).step() if one.operation == name)


def test_a_simple_instruction_takes_what_the_page_says(small):
    # an edge to run; 7 more to look up what nothing hides; a pass of N words N + 14, a scan N + 5; divisions 15, roots
    # 24, both of two bits per edge; fetching 8
    # instructions of 4 words: latency + 33
    latency, miss = 8, 8 + 33
    load, other = TokenCycles(small, latency).step()[:2]
    assert load.cycles == miss + 7 + 1 + latency + 1  # one word
    assert other.cycles == 1 + latency + 6  # 12 numbers, 2 lanes
    assert by_operation(small, "ROPE").cycles == 1 + 4 * 2 + 14
    assert by_operation(small, "GLU").cycles == 1 + 10 + 14
    assert by_operation(small, "ADD").cycles == 1 + 6 + 14
    assert by_operation(small, "NORM").cycles == miss + 7 + 1 + (6 + 5) + 2 * (6 + 14) + 24 + 15 + 5


def test_a_scan_that_is_longer_than_a_division_is_waited_for():
    # weights of V over 32 tokens: 16 words of 2 lanes, a scan of 21 edges; 2 queries
    wide = program(machine_around(load_array("8x8"), 2), form=AttentionFormat(5, 3, True, 32))
    one = [i for i in TokenCycles(wide, position=31).step() if i.operation == "QUANT"][1]
    assert one.cycles == 1 + 21 + (21 + 1 + 17 + 1) + (15 + 1 + 17 + 1) + 13


def test_a_row_begins_while_the_one_before_it_drains(small):
    # heads of 4 words, 2 queries; 8 tokens are visible: 4 words
    one = next(i for i in TokenCycles(small).step() if i.operation == "QUANT")
    assert small.program()[one.number]["rows"] == 2
    row = 15 + 1 + (1 + 4) + 1  # divided, its scale kept, its words issued, its end
    # the second one is scanned while the first one is divided, and waits for the depth of the lanes
    assert one.cycles == 1 + (4 + 5) + 2 * row + 13
    exp = by_operation(small, "EXP").cycles
    assert exp == 1 + 2 * ((4 + 5) + 2 + (4 + 7) + 1) + 7  # powers are summed up 7 edges before they are in memory
    # ONORM follows END, which hides but an edge of looking it up
    assert by_operation(small, "ONORM").cycles == 6 + 1 + 2 * (15 + 1 + (1 + 4) + 1) + 13


def test_a_row_out_of_tiles_takes_as_long_whichever_token_it_is_of():
    # 12 numbers are a fold of 4 scratch words and one of 2. Per fold: an edge that asks, the request, its latency and
    # words; packed: 24 edges of division before, and a fifth beat behind the four words
    model = random_model(1, layers=1, hidden=12, context=40, form=AttentionFormat(5, 3, True, 16))
    for packing, fold in (("2bit", 1 + 1 + 8), ("5in8", 24 + 1 + 1 + 8 + 3 + 1)):
        image = compiled(model, machine_around(load_array("8x8"), 2, weight_packing=packing), "tiles")
        found = [one.cycles for one in TokenCycles(image, latency=8).step() if one.operation == "ROW"]
        assert found == 3 * [1 + 2 * fold + 4 + 2], packing


def test_instructions_are_fetched_while_the_lanes_work_but_not_while_memory_is_read(small):
    found, latency = TokenCycles(small, 8).step(), 8
    fetching = latency + 33 + 7  # edges from the one that looks up until the instruction can be taken
    (load, norm), (rope, wht) = found[7:9], found[15:17]
    assert [one.operation for one in (load, norm, rope, wht)] == ["LOAD", "NORM", "ROPE", "WHT"]
    assert {norm.number, wht.number} == {8, 16}  # the first of a line
    assert norm.cycles == fetching + 1 + (6 + 5) + 2 * (6 + 14) + 24 + 15 + 5
    assert wht.cycles == (fetching - rope.cycles) + 1 + 1 + 3 * (4 * 2 + 14)


def test_lines_of_instructions_that_stay_are_not_fetched_again():
    few, all_of_them = (program(machine_around(load_array("8x8"), 2, instruction_lines=lines)) for lines in (1, 8))
    assert all_of_them.header.instructions <= 64
    tokens = [
        [sum(one.cycles for one in cycles.step()) for _ in range(3)] for cycles in map(TokenCycles, (few, all_of_them))
    ]
    assert tokens[0][1] == tokens[0][2]
    assert tokens[1][2] == tokens[1][1] < tokens[0][1]


def test_latency_is_paid_once_per_burst(small):
    one, two = (TokenCycles(small, latency).step() for latency in (10, 17))  # looking up is hidden
    bursts = {"LOAD": 1, "DEQ": 1, "SCORE": 1, "OACC": 3, "ARGMAX": 1}
    tags, seen = [], None
    for instruction in one:
        tags.append(instruction.number // 8 != seen)
        seen = instruction.number // 8
    before = ""
    for a, b, fetched in zip(one, two, tags, strict=True):
        paid = 7 * (bursts.get(a.operation, 0) + fetched)
        slack = 2 if a.operation in ("DEQ", "SCORE", "OACC", "ARGMAX") else 0  # a result may wait for the lanes
        slack += 7 * (fetched and before not in ("", *bursts))  # the lanes' work may hide it
        before = a.operation
        assert paid - slack <= b.cycles - a.cycles <= paid, a


def test_the_array_takes_every_vector_of_every_tile_once(small):
    found = [(one.operation, one.issues) for one in TokenCycles(small).step() if one.issues]
    # q, k, v: 2 digits x 2 folds x column tiles; o: 2 folds; gate, up: 3 column tiles; down: 3 folds x 2
    assert [issues for name, issues in found if name == "DEQ"] == [8, 4, 4, 8, 12, 12, 12]
    assert [issues for name, issues in found if name == "SCORE"] == [2 * 5 * 1]  # 2 queries, 5 digits, 8 tokens
    assert [issues for name, issues in found if name == "OACC"] == [2 * 3 * 1]
    assert [issues for name, issues in found if name == "ARGMAX"] == [2 * 3 * 2 * 2]


def test_the_context_grows_by_blocks_and_a_prompt_skips_the_head(small):
    cycles = TokenCycles(small, position=16)
    names = [one.operation for one in cycles.step(wanted=False)]
    assert names.count("END") == names.count("SCORE") == 2
    assert [one.cycles for one in TokenCycles(small).step(wanted=False) if one.operation == "ARGMAX"] == [4]


def test_the_budget_adds_up(small):
    tokens = [TokenCycles(small).step(), TokenCycles(small, position=20).step()]
    budget = budget_of(tokens)
    assert budget.cycles == sum(one.cycles for token in tokens for one in token) / 2
    assert sum(row.cycles for row in budget.rows) == pytest.approx(budget.cycles)
    assert sum(row.share for row in budget.rows) == pytest.approx(1)
    assert budget.rows == sorted(budget.rows, key=lambda row: -row.cycles)
    lines = budget_lines(budget, 50e6)
    assert f"{50e6 / budget.cycles:,.1f} tokens/s at 50 MHz" in lines[-2]


@pytest.mark.slow
@pytest.mark.parametrize(("packing", "cases"), [("2bit", 300), ("5in8", 100)])
def test_random_programs_take_what_the_verilated_machine_counts_and_reach_every_bin(packing, cases):
    from hw.simulation.verilated_machine import build_machine

    machine, hits = covered_machine(weight_packing=packing), Hits()
    try:
        path = build_machine(machine)
    except InputError as error:
        pytest.skip(str(error))
    for run in random_runs(machine, cases, seed=7):
        play(run, path, hits)
    assert empty_bins(hits, machine) == []
