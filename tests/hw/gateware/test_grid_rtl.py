"""The systolic grid's Verilog under Icarus: golden sums, and its counters equal to those of docs/architecture.md."""

import numpy as np
import pytest

from hw.arithmetic.adders import Cells
from hw.config import ArrayConfig
from hw.job import vector_stream
from tests.hw.gateware.coverage import Hits, cover, empty_bins
from tests.hw.gateware.random_gemms import GRIDS, array_name, check, played, random_cases
from tests.hw.gateware.rtl import Case, activation_vectors, play

CARRY_CELLS: list[tuple[ArrayConfig, Cells]] = [(GRIDS[1], "ecp5"), (GRIDS[1], "lut6")]


@pytest.fixture(scope="module")
def hits() -> Hits:
    """Coverage of the cases that the tests of this module have played."""
    return Hits()


@pytest.mark.parametrize("config", GRIDS, ids=array_name)
def test_random_gemms_give_the_golden_sums_in_the_predicted_cycles(config, hits, tmp_path):
    for case, record in played(config, 20, tmp_path):
        check(config, case, record)
        assert record.waited == 0, "a descriptor must be taken on the edge after the last result"
        cover(hits, config, case, record)
    hits["arrays", array_name(config)] += 1


def test_no_declared_bin_of_shapes_and_stalls_is_empty(hits):
    if len([key for key in hits if key[0] == "arrays"]) < len(GRIDS):
        pytest.skip("only some of the random GEMMs were played")
    assert empty_bins(hits, "systolic") == []


@pytest.mark.parametrize(("config", "cells"), CARRY_CELLS, ids=lambda value: getattr(value, "name", value))
def test_a_grid_of_carry_cells_is_the_same_machine(config, cells, tmp_path):
    for case, record in played(config, 10, tmp_path, cells, seed=3):
        check(config, case, record)


@pytest.mark.slow
@pytest.mark.parametrize("config", GRIDS, ids=array_name)
def test_two_hundred_random_gemms_are_cycle_equal(config, tmp_path):
    for case, record in played(config, 40, tmp_path, seed=1000 + config.lanes):
        check(config, case, record)


def test_a_reset_in_mid_tile_leaves_no_trace(tmp_path):
    config, rng = GRIDS[1], np.random.default_rng(5)

    def good(**fields) -> Case:
        q = rng.integers(-127, 128, (4, 7), dtype=np.int8)
        return Case(q, rng.integers(-1, 2, (6, 7), dtype=np.int8), **fields)

    some = [case for edges in (1, 3, 8, 9, 10, 11, 12, 14, 20) for case in (good(reset_after=edges), good())]
    kept = [case for case in some if not case.reset_after]
    for case, record in zip(kept, play(config, some, tmp_path), strict=True):
        check(config, case, record)


@pytest.mark.parametrize("config", GRIDS, ids=array_name)
def test_the_drivers_send_the_vectors_of_the_benches(config):
    for case in random_cases(config, 5, 1):
        size = config.rows
        expected = b"".join(vector.to_bytes(size, "little") for vector in activation_vectors(config, case))
        assert vector_stream(case.job, config) == expected
