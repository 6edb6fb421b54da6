"""The core's Verilog under Icarus: golden sums, and its own counters equal to every cycle model edge by edge."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.golden import gemm
from quant.shapes import Gemm
from sim.analytic import closed_form
from sim.cycles import count_cycles
from tests import naive
from tests.hw.rtl import Case, Record, play, random_case


def array(rows: int, cols: int, **fields) -> ArrayConfig:
    return ArrayConfig(name=f"{rows}x{cols}", rows=rows, cols=cols, **{"token_tile": 6, "weight_bus_bits": 32} | fields)


# Between them: one lane, odd sizes, both packings, words that split columns, one beat per tile, depth 1, chains with a
# short last one, trees registered at every level and only at the root.
ARRAYS = [
    array(1, 1, weight_bus_bits=8, accumulator_bits=12),
    array(3, 5, packing="5in8", weight_bus_bits=8, token_tile=1),
    array(8, 8, weight_bus_bits=128, token_tile=16),
    array(16, 4, chain_lanes=4, weight_bus_bits=16, accumulator_bits=20),
    array(10, 3, chain_lanes=4, packing="5in8", weight_bus_bits=48, adders_per_register=1, token_tile=5),
    array(8, 32, weight_bus_bits=64, adders_per_register=4),
]


def check(config: ArrayConfig, case: Case, record: Record) -> None:
    """Sums, the cycle count seen from outside, and every counter against the three models."""
    np.testing.assert_array_equal(record.sums, gemm(case.q, case.trits))
    assert record.status == 0
    assert record.illegal_weights == 0
    assert record.counters["cycles"] == record.edges
    assert record.counters == naive.gemm_cycles(config, case.m, case.n, case.k, *record.patterns.values())
    assert record.counters == count_cycles(Gemm(case.m, case.n, case.k), config, *record.patterns.values())._asdict()
    if not (case.weight_offers or case.activation_offers or case.result_readies):
        assert record.counters == closed_form(Gemm(case.m, case.n, case.k), config)._asdict()


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: f"{config.name}-{config.packing}-{config.chain_lanes}")
def test_random_gemms_give_the_golden_sums_in_the_predicted_cycles(config, tmp_path):
    rng = np.random.default_rng(config.lanes)
    cases = [random_case(rng, config, stalls=i % 4 != 0) for i in range(24)]
    for case, record in zip(cases, play(config, cases, tmp_path), strict=True):
        check(config, case, record)
        assert record.waited == 0, "a descriptor must be taken on the edge after the last result"
