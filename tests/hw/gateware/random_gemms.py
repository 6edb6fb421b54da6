"""Random GEMMs on the Verilog of small arrays of both organisations, and the judgement of what it recorded."""

from pathlib import Path

import numpy as np

from hw.arithmetic.adders import Cells
from hw.config import ArrayConfig
from hw.job import golden_results
from quant.shapes import Gemm
from sim.gemm.closed_form import closed_form
from sim.gemm.cycles import count_cycles
from tests.hw.gateware.rtl import Case, Record, play, random_case
from tests.naive_cycles import naive_cycles

__all__ = ["GRIDS", "TREES", "array_name", "check", "grid", "played", "random_cases", "tree"]


def tree(rows: int, cols: int, **fields) -> ArrayConfig:
    return ArrayConfig(name=f"{rows}x{cols}", rows=rows, cols=cols, **{"token_tile": 6, "weight_bus_bits": 32} | fields)


def grid(rows: int, cols: int, **fields) -> ArrayConfig:
    wanted = {"organisation": "systolic", "token_tile": rows, "weight_bus_bits": 16, "accumulator_bits": 16} | fields
    return ArrayConfig(name=f"{rows}x{cols}", rows=rows, cols=cols, **wanted)


# Between them: one lane, odd sizes, both packings, words that split columns, one beat per tile, depth 1, chains with a
# short last one, trees registered at every level and only at the root; every option alone or with others.
TREES = [
    tree(1, 1, weight_bus_bits=8, accumulator_bits=12),
    tree(3, 5, packing="5in8", weight_bus_bits=8, token_tile=1),
    tree(8, 8, weight_bus_bits=128, token_tile=16),
    tree(16, 4, chain_lanes=4, weight_bus_bits=16, accumulator_bits=20),
    tree(10, 3, chain_lanes=4, packing="5in8", weight_bus_bits=48, adders_per_register=1, token_tile=5),
    tree(8, 32, weight_bus_bits=64, adders_per_register=4),
    tree(7, 3, planes=2, group_exponent_bits=2, sum_of_x=True, weight_bus_bits=16),
    tree(8, 4, results="int8", weight_bus_bits=24),
    tree(9, 5, results="int8", sum_of_x=True, planes=2, group_exponent_bits=3, packing="5in8", chain_lanes=3),
    tree(1, 1, results="int8", group_exponent_bits=1, weight_bus_bits=32, token_tile=1, accumulator_bits=16),
    tree(6, 4, planes=5, digits=True, lane_loading=True, weight_bus_bits=16, accumulator_bits=22),
    tree(5, 6, planes=3, digits=True, lane_loading=True, packing="5in8", chain_lanes=2, results="int8", sum_of_x=True),
    tree(7, 3, planes=4, digits=True, lane_loading=True, group_exponent_bits=1, weight_bus_bits=8),
    tree(3, 2, planes=2, digits=True, lane_loading=True, packing="5in8", weight_bus_bits=64, accumulator_bits=13),
]
GRIDS = [
    grid(1, 1, weight_bus_bits=8),
    grid(3, 5, packing="5in8", weight_bus_bits=8),
    grid(4, 4, weight_bus_bits=32),  # a tile per beat: final issues follow each other as fast as they may
    grid(6, 2),
    grid(2, 9),  # more columns than the result queue's slack
]


def array_name(config: ArrayConfig) -> str:
    shape = "grid" if config.organisation == "systolic" else str(config.chain_lanes)
    return "-".join([config.name, config.packing, shape, *config.options])


def random_cases(config: ArrayConfig, count: int, seed: int) -> list[Case]:
    """``count`` random GEMMs, every fourth without stalls; on a grid two more, of what chance leaves out.

    Results are refused until the credits run out; final issues follow each other faster than the readout.
    """
    rng = np.random.default_rng(seed)
    cases = [random_case(rng, config, stalls=i % 4 != 0) for i in range(count)]
    if config.organisation == "systolic":
        q = rng.integers(-127, 128, (2 * config.rows, config.rows), dtype=np.int8)
        trits = rng.integers(-1, 2, (4 * config.cols, config.rows), dtype=np.int8)
        cases += [Case(q, trits, result_readies="0" * 150), Case(q[: config.rows, :1], trits[:, :1])]
    return cases


def played(
    config: ArrayConfig, count: int, folder: Path, cells: Cells = "portable", seed: int | None = None
) -> list[tuple[Case, Record]]:
    """``random_cases`` of the seed, by default the number of lanes, on the RTL."""
    cases = random_cases(config, count, config.lanes if seed is None else seed)
    return list(zip(cases, play(config, cases, folder, cells), strict=True))


def check(config: ArrayConfig, case: Case, record: Record) -> None:
    """Results, the cycle count seen from outside, and every counter against the three models."""
    if not case.damaged:
        np.testing.assert_array_equal(record.results, golden_results(case.job, config))
    assert record.status == 0
    assert record.illegal_weights == case.damaged
    assert record.counters["cycles"] == record.edges
    shape, patterns = Gemm(case.m, case.n, case.k), list(record.patterns.values())
    formats = {"planes": case.formats.planes, "row_scales": case.formats.row_scales}
    assert record.counters == naive_cycles(shape, config, *patterns, **formats)
    assert record.counters == count_cycles(shape, config, *patterns, case.formats)._asdict()
    if not (case.weight_offers or case.activation_offers or case.result_readies):
        assert record.counters == closed_form(shape, config, case.formats)._asdict()
