"""The Verilated core: the same machine as under Icarus."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.job import descriptor_bits, golden_results, vector_stream, weight_stream
from hw.simulation.verilated import VerilatedCore, build_core
from quant.shapes import Gemm
from sim.gemm.closed_form import closed_form
from tests.hw.gateware.rtl import Case, activation_vectors, descriptor, random_case, weight_words
from tests.naive_cycles import naive_cycles

CONFIG = ArrayConfig(
    name="v", rows=6, cols=3, chain_lanes=2, packing="5in8", weight_bus_bits=16, accumulator_bits=19, token_tile=5
)


# A second core with every option.
FULL = CONFIG.model_copy(
    update={"name": "f", "planes": 2, "group_exponent_bits": 2, "sum_of_x": True, "results": "int8"}
    | {"accumulator_bits": 28, "weight_bus_bits": 24}
)


def random_cases(config: ArrayConfig, count: int) -> list[Case]:
    rng = np.random.default_rng(21)
    return [random_case(rng, config, stalls=False) for _ in range(count)]


@pytest.mark.parametrize("config", [CONFIG, FULL], ids=lambda config: config.name)
def test_streams_are_those_of_the_bench(config):
    for case in random_cases(config, 40):
        case.job.check(config)
        size = config.weight_bus_bits // 8
        words = b"".join(word.to_bytes(size, "little") for word in weight_words(config, case))
        vectors = b"".join(vector.to_bytes(config.rows, "little") for vector in activation_vectors(config, case))
        assert weight_stream(case.job, config) == words
        assert vector_stream(case.job, config) == vectors
        assert descriptor_bits(case.job, config) == descriptor(config, case)


@pytest.mark.slow  # compiles C++
@pytest.mark.parametrize("config", [CONFIG, FULL], ids=lambda config: config.name)
def test_thousand_gemms_give_the_golden_results_in_the_predicted_cycles(config):
    rng = np.random.default_rng(22)
    with VerilatedCore(config, build_core(config)) as core:
        for index, case in enumerate(random_cases(config, 1000)):
            shape, formats = Gemm(case.m, case.n, case.k), case.formats
            product = core.run(case.job)
            np.testing.assert_array_equal(product.results, golden_results(case.job, config))
            assert product.counters == closed_form(shape, config, formats)._asdict()
            if index % 10 == 0:
                readies = rng.integers(0, 2, 300, dtype=np.uint8)
                stalled = core.run(case.job, (b"", b"", readies.tobytes()))
                np.testing.assert_array_equal(stalled.results, product.results)
                options = {"planes": formats.planes, "row_scales": formats.row_scales}
                assert stalled.counters == naive_cycles(shape, config, results=readies.tolist(), **options)
