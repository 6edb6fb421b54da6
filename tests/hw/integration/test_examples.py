"""Example GEMMs: packets as a naive packer makes them, results as a naive product, every option of the array in use."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.integration import examples
from hw.integration.examples import example_gemms
from tests.hw.gateware.rtl import Case, activation_vectors, weight_words

PLAIN = ArrayConfig(name="4x3", rows=4, cols=3, weight_bus_bits=16, token_tile=2)
INT8 = ArrayConfig(
    name="int8", rows=4, cols=2, weight_bus_bits=24, planes=3, digits=True, lane_loading=True, sum_of_x=True,
    group_exponent_bits=2, results="int8", accumulator_bits=32,
)  # fmt: skip


@pytest.fixture
def jobs(monkeypatch):
    """The operands of the examples, which the packets hide."""
    seen = []
    make = examples._example
    monkeypatch.setattr(examples, "_example", lambda job, config: seen.append(job) or make(job, config))
    return seen


def test_packets_and_sums_of_a_plain_array_are_those_of_naive_loops(jobs):
    for gemm, job in zip(example_gemms(PLAIN), jobs, strict=True):
        case = Case(job.q, job.planes[0])
        assert gemm.weights == b"".join(word.to_bytes(2, "little") for word in weight_words(PLAIN, case))
        assert gemm.activations == b"".join(word.to_bytes(4, "little") for word in activation_vectors(PLAIN, case))
        beats = []
        for first in range(0, case.m, 2):
            for column in range(0, case.n, 3):
                for token in range(first, min(first + 2, case.m)):
                    for c in range(column, column + 3):
                        row = [0] * case.k if c >= case.n else case.trits[c].tolist()
                        beats.append(sum(x * w for x, w in zip(case.q[token].tolist(), row, strict=True)))
        assert np.frombuffer(gemm.results, "<i4").tolist() == beats


def test_every_option_of_an_array_is_in_use_and_few_results_saturate(jobs):
    found = example_gemms(INT8)
    last = jobs[-1]
    assert last.formats._replace(shift=0, multiplier=1) == last.formats._replace(
        planes=3, row_scales=True, digits=True, by_lanes=True, shift=0, multiplier=1, offset=0
    )
    assert last.exponents.max() == 3
    assert np.abs(last.offsets).max() > 0
    values = np.frombuffer(found[-1].results, np.int8)
    assert np.mean(np.abs(values) == 127) < 0.5
    assert len(set(values.tolist())) > 4


def test_examples_are_the_same_every_time():
    assert example_gemms(PLAIN) == example_gemms(PLAIN)
