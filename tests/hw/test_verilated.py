"""The Verilated core: the same machine as under Icarus, and a real LLaMA that writes with it."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.golden import gemm
from hw.verilated import VerilatedCore, build_core, vector_stream, weight_stream
from quant.shapes import Gemm
from sim.analytic import closed_form
from tests import naive
from tests.hw.rtl import Case, activation_vectors, random_case, weight_words

CONFIG = ArrayConfig(
    name="v", rows=6, cols=3, chain_lanes=2, packing="5in8", weight_bus_bits=16, accumulator_bits=19, token_tile=5
)


def random_cases(count: int) -> list[Case]:
    rng = np.random.default_rng(21)
    return [random_case(rng, CONFIG, stalls=False) for _ in range(count)]


def test_streams_are_those_of_the_bench():
    for case in random_cases(20):
        size = CONFIG.weight_bus_bits // 8
        words = b"".join(word.to_bytes(size, "little") for word in weight_words(CONFIG, case))
        vectors = b"".join(vector.to_bytes(CONFIG.rows, "little") for vector in activation_vectors(CONFIG, case))
        assert weight_stream(case.trits, case.m, CONFIG) == words
        assert vector_stream(case.q, case.n, CONFIG) == vectors


@pytest.mark.slow  # compiles C++
def test_thousand_gemms_give_the_golden_sums_in_the_predicted_cycles():
    rng = np.random.default_rng(22)
    with VerilatedCore(CONFIG, build_core(CONFIG)) as core:
        for index, case in enumerate(random_cases(1000)):
            size = (case.m, case.n, case.k)
            product = core.gemm(case.q, case.trits)
            np.testing.assert_array_equal(product.sums, gemm(case.q, case.trits))
            assert product.counters == closed_form(Gemm(*size), CONFIG)._asdict()
            if index % 10 == 0:
                readies = rng.integers(0, 2, 300, dtype=np.uint8)
                stalled = core.gemm(case.q, case.trits, (b"", b"", readies.tobytes()))
                np.testing.assert_array_equal(stalled.sums, product.sums)
                assert stalled.counters == naive.gemm_cycles(CONFIG, *size, results=readies.tolist())


@pytest.mark.slow  # compiles C++
def test_a_real_llama_writes_the_same_tokens_on_the_rtl():
    stories = pytest.importorskip("tests.hw.stories", reason="needs torch")
    if not stories.MODEL.exists():
        pytest.skip("stories260K.bin is not there")
    config = stories.story_array()
    with VerilatedCore(config, build_core(config)) as core:
        engine = stories.RtlEngine(core)
        written = list(stories.TernaryLlama(stories.MODEL, engine).write(20))
    assert written == list(stories.TernaryLlama(stories.MODEL, gemm).write(20))
    assert len(set(written)) > 5  # it says something
    assert engine.cycles == engine.predicted > 0
