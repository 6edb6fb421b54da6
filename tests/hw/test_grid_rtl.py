"""The systolic grid's Verilog under Icarus: golden sums, and its counters equal to those of docs/architecture.md."""

import numpy as np
import pytest

from hw.cells import Cells
from hw.config import ArrayConfig
from hw.job import golden_results, vector_stream
from quant.shapes import Gemm
from sim.analytic import closed_form
from sim.cycles import count_cycles
from tests.hw.rtl import Case, Record, activation_vectors, play, random_case
from tests.sim.naive_grid import naive_grid_cycles


def grid(rows: int, cols: int, **fields) -> ArrayConfig:
    wanted = {"organisation": "systolic", "token_tile": rows, "weight_bus_bits": 16, "accumulator_bits": 16} | fields
    return ArrayConfig(name=f"{rows}x{cols}", rows=rows, cols=cols, **wanted)


GRIDS = [
    grid(1, 1, weight_bus_bits=8),
    grid(3, 5, packing="5in8", weight_bus_bits=8),
    grid(4, 4, weight_bus_bits=32),  # a tile per beat: final issues follow each other as fast as they may
    grid(6, 2),
    grid(2, 9),  # more columns than the result queue's slack
]
CARRY_CELLS: list[tuple[ArrayConfig, Cells]] = [(GRIDS[1], "ecp5"), (GRIDS[1], "lut6")]


def check(config: ArrayConfig, case: Case, record: Record) -> None:
    """Results and every counter against the simulator's kernel, the naive machine, and the recurrence."""
    if not case.damaged:
        np.testing.assert_array_equal(record.results, golden_results(case.job, config))
    assert record.illegal_weights == case.damaged
    shape, patterns = Gemm(case.m, case.n, case.k), list(record.patterns.values())
    counters = dict(record.counters)
    assert counters["cycles"] == record.edges
    assert counters == count_cycles(shape, config, *patterns)._asdict()
    if not (case.weight_offers or case.activation_offers or case.result_readies):
        assert counters == closed_form(shape, config)._asdict()
    offered = [lambda edge, bits=bits: edge > len(bits) or bool(bits[edge - 1]) for bits in patterns]
    naive = naive_grid_cycles(shape, config, *offered)
    assert {name: count for name, count in counters.items() if count} == {"cycles": record.edges, **naive}


def cases(config: ArrayConfig, count: int, seed: int) -> list[Case]:
    """Random GEMMs, every fourth without stalls, and results refused until the credits run out."""
    rng = np.random.default_rng(seed)
    some = [random_case(rng, config, stalls=i % 4 != 0) for i in range(count)]
    q = rng.integers(-127, 128, (2 * config.rows, config.rows), dtype=np.int8)
    trits = rng.integers(-1, 2, (4 * config.cols, config.rows), dtype=np.int8)
    return [*some, Case(q, trits, result_readies="0" * 150)]


@pytest.mark.parametrize("config", GRIDS, ids=lambda config: config.name)
def test_random_gemms_give_the_golden_sums_in_the_predicted_cycles(config, tmp_path):
    some = cases(config, 20, config.lanes)
    for case, record in zip(some, play(config, some, tmp_path), strict=True):
        check(config, case, record)
        assert record.waited == 0, "a descriptor must be taken on the edge after the last result"


@pytest.mark.parametrize(("config", "cells"), CARRY_CELLS, ids=lambda value: getattr(value, "name", value))
def test_a_grid_of_carry_cells_is_the_same_machine(config, cells, tmp_path):
    some = cases(config, 10, 3)
    for case, record in zip(some, play(config, some, tmp_path, cells), strict=True):
        check(config, case, record)


@pytest.mark.slow
@pytest.mark.parametrize("config", GRIDS, ids=lambda config: config.name)
def test_two_hundred_random_gemms_are_cycle_equal(config, tmp_path):
    some = cases(config, 40, 1000 + config.lanes)
    for case, record in zip(some, play(config, some, tmp_path), strict=True):
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


@pytest.mark.parametrize("config", GRIDS, ids=lambda config: config.name)
def test_the_drivers_send_the_vectors_of_the_benches(config):
    for case in cases(config, 5, 1):
        size = config.rows
        expected = b"".join(vector.to_bytes(size, "little") for vector in activation_vectors(config, case))
        assert vector_stream(case.job, config) == expected
