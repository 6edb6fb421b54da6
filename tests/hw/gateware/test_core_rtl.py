"""The core's Verilog under Icarus: golden sums, and its own counters equal to every cycle model edge by edge."""

import numpy as np
import pytest

from hw.formats import GemmFormat
from hw.golden import fixed_point, gemm
from tests.hw.gateware.coverage import Hits, cover, empty_bins
from tests.hw.gateware.random_gemms import TREES, array_name, check, played, tree
from tests.hw.gateware.record_tiles import DATA, KINDS
from tests.hw.gateware.rtl import Case, play, random_case, random_offers


@pytest.fixture(scope="module")
def hits() -> Hits:
    """Coverage of the cases that the tests of this module have played."""
    return Hits()


@pytest.mark.parametrize("config", TREES, ids=array_name)
def test_random_gemms_give_the_golden_results_in_the_predicted_cycles(config, hits, tmp_path):
    for case, record in played(config, 24, tmp_path):
        check(config, case, record)
        assert record.waited == 0, "a descriptor must be taken on the edge after the last result"
        cover(hits, config, case, record)
    hits["arrays", array_name(config)] += 1


def test_no_declared_bin_of_shapes_stalls_and_formats_is_empty(hits):
    if len([key for key in hits if key[0] == "arrays"]) < len(TREES):
        pytest.skip("only some of the random GEMMs were played")
    assert empty_bins(hits, "tree") == []


CARRY_CELLS = [(TREES[3], "ecp5"), (TREES[4], "ecp5"), (TREES[0], "lut6"), (TREES[1], "lut6"), (TREES[4], "lut6")]
CARRY_CELLS += [(tree(16, 4, adders_per_register=1, accumulator_bits=20), "lut6")]
CARRY_CELLS += [(TREES[0], "asic"), (TREES[1], "asic"), (TREES[2], "asic")]


@pytest.mark.parametrize(("config", "cells"), CARRY_CELLS, ids=lambda value: getattr(value, "name", value))
def test_a_core_of_a_familys_cells_is_the_same_machine(config, cells, tmp_path):
    rng = np.random.default_rng(7)
    cases = [random_case(rng, config) for _ in range(12)]
    for case, record in zip(cases, play(config, cases, tmp_path, cells=cells), strict=True):
        check(config, case, record)


GROUPS = [
    tree(4, 8, sum_of_x=True, lane_loading=True, chain_lanes=2, packing="5in8", weight_bus_bits=256),
    tree(3, 17, lane_loading=True, packing="5in8", weight_bus_bits=24, token_tile=3),
    tree(3, 9, results="int8", sum_of_x=True, weight_bus_bits=16),
]


@pytest.mark.parametrize("config", GROUPS, ids=array_name)
def test_a_last_group_of_one_column_or_of_the_activations_alone_has_its_own_flags_words_and_addresses(config, tmp_path):
    for case, record in played(config, 6, tmp_path):
        check(config, case, record)


SPREAD = [
    tree(16, 9, chain_lanes=4, adders_per_register=1, spread_stages=1),
    TREES[11].model_copy(update={"spread_stages": 2}),
    tree(7, 3, planes=4, digits=True, lane_loading=True, group_exponent_bits=1, weight_bus_bits=8, spread_stages=1),
    tree(1, 1, results="int8", group_exponent_bits=1, token_tile=1, accumulator_bits=16, spread_stages=3),
]


@pytest.mark.parametrize("config", SPREAD, ids=array_name)
def test_registers_on_the_way_to_the_columns_cost_an_edge_each_and_nothing_else(config, tmp_path):
    without = config.model_copy(update={"spread_stages": 0})
    assert config.pipeline_latency == without.pipeline_latency + config.spread_stages
    for case, record in played(config, 24, tmp_path):
        check(config, case, record)


@pytest.mark.slow
@pytest.mark.parametrize("config", TREES, ids=array_name)
def test_over_five_hundred_random_gemms_are_cycle_equal(config, tmp_path):
    for case, record in played(config, 90, tmp_path):
        check(config, case, record)


def test_recorded_tiles_of_every_linear_of_a_real_layer(tmp_path):
    """Sums without and with stalls, then int8 results with a scale per output that spreads its sums over int8."""
    rng = np.random.default_rng(0)
    with np.load(DATA) as recorded:
        tiles = {kind: (recorded[f"{kind}_q"], recorded[f"{kind}_trits"]) for kind in KINDS}
    config = tree(16, 16, token_tile=8, weight_bus_bits=64)
    cases = [Case(*tiles[kind]) for kind in KINDS]
    cases.append(Case(*tiles["o_proj"], *(random_offers(rng, 2000) for _ in range(3))))
    for case, record in zip(cases, play(config, cases, tmp_path / "sums"), strict=True):
        check(config, case, record)
    config = config.model_copy(update={"results": "int8"})
    cases = []
    for kind in ("gate_proj", "down_proj"):
        q, trits = tiles[kind]
        multipliers, shift = fixed_point(127 / np.abs(gemm(q, trits)).max(axis=0))
        cases.append(Case(q, trits, formats=GemmFormat(row_scales=True, shift=shift), multipliers=multipliers))
    for case, record in zip(cases, play(config, cases, tmp_path / "int8"), strict=True):
        check(config, case, record)
        assert (np.abs(record.results).max(axis=0) == 127).all()


def test_odd_situations_leave_no_trace(tmp_path):
    """Reset in mid-tile, refused descriptors and damaged weights, each followed by a GEMM that must be right."""
    config = tree(4, 4, accumulator_bits=12, weight_bus_bits=16)
    rng = np.random.default_rng(5)

    def good() -> Case:
        q = rng.integers(-127, 128, (7, 9), dtype=np.int8)
        return Case(q, rng.integers(-1, 2, (6, 9), dtype=np.int8))

    def refused(*sizes: int) -> Case:
        return Case(np.zeros((1, 1), np.int8), np.zeros((1, 1), np.int8), refused=True, sizes=sizes)

    resets = [Case(good().q, good().trits, reset_after=edges) for edges in (1, 2, 3, 7, 12, 20, 33)]
    refusals = [refused(0, 5, 5), refused(5, 0, 5), refused(5, 5, 0), refused(5, 5, config.max_k + 1)]
    damaged = Case(good().q, good().trits, damaged=True)
    largest = Case(np.full((2, config.max_k), 127, np.int8), np.ones((2, config.max_k), np.int8))
    cases = [case for odd in (*resets, largest, damaged, *refusals) for case in (odd, good())]
    records = play(config, cases, tmp_path)
    kept = [case for case in cases if not case.reset_after]
    statuses = []
    for case, record in zip(kept, records, strict=True):
        if case.refused:
            statuses.append(record.status)
            assert record.counters["cycles"] > 0, "a refused descriptor must leave the counters of the GEMM before"
        else:
            check(config, case, record)
    assert statuses == [1, 1, 1, 2]
