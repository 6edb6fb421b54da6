"""Jobs that cannot work are refused before anything runs, in one line with the numbers."""

from fractions import Fraction

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.formats import PLAIN, GemmFormat
from hw.job import CoreJob, golden_results

PLAIN_ARRAY = ArrayConfig(name="p", rows=2, cols=2, accumulator_bits=12)
FULL = ArrayConfig(
    name="f", rows=2, cols=2, planes=2, group_exponent_bits=1, sum_of_x=True, results="int8", accumulator_bits=12
)
DIGITS = ArrayConfig(name="d", rows=2, cols=2, planes=4, digits=True, accumulator_bits=15)


def job(planes: int = 1, k: int = 2, **fields) -> CoreJob:
    rng = np.random.default_rng(0)
    trits = rng.integers(-1, 2, (planes, 3, k), dtype=np.int8)
    return CoreJob(rng.integers(-127, 128, (2, k), dtype=np.int8), trits, **{"formats": GemmFormat(planes)} | fields)


@pytest.mark.parametrize(
    ("config", "wrong", "message"),
    [
        (PLAIN_ARRAY, job(planes=2), r"^planes must be as many as the format's 2 and at most 1 on array 'p', not 2$"),
        (FULL, job(planes=2, formats=PLAIN), r"^planes must be as many as the format's 1 and at most 2 on array 'f'"),
        (FULL, job(planes=2, k=5), r"^GEMM, over all planes: K = 10 needs accumulator_bits of at least 13, not 12 of"),
        (PLAIN_ARRAY, job(exponents=np.zeros((1, 1, 3))), r"^exponents must not come: array 'p' has group_exponent_b"),
        (FULL, job(exponents=np.full((1, 1, 3), 2)), r"^exponents must be 0 to 1, not 2 to 2$"),
        (FULL, job(formats=GemmFormat(row_scales=True)), r"^row_scales must come with multipliers, and results of arr"),
        (FULL, job(formats=GemmFormat(shift=64)), r"^shift must be 0 to 63, not 64 to 64$"),
        (
            FULL,
            job(formats=GemmFormat(multiplier=1 << 15)),
            r"^multiplier must be -32768 to 32767, not 32768 to 32768$",
        ),
        (
            FULL,
            job(planes=2, formats=GemmFormat(2, digits=True)),
            r"^digits must be false: array 'f' has digits false$",
        ),
        (FULL, job(formats=GemmFormat(by_lanes=True)), r"^by_lanes must be false: array 'f' has lane_loading false$"),
        (
            DIGITS,
            job(planes=4, k=4, formats=GemmFormat(4, digits=True)),
            r"^GEMM: K = 4 in 4 digits needs accumulator_bits of at least 16, not 15 of array 'd' \(good for K <= 3\)$",
        ),
        (PLAIN_ARRAY, job(formats=GemmFormat(offset=3)), r"^offset must be 0 on array 'p', not 3$"),
        (
            FULL,
            CoreJob(np.zeros((1, 2), np.int8), np.zeros((1, 1, 3), np.int8)),
            r"^operands must be \(m, k\) and \(pl",
        ),
    ],
)
def test_jobs_that_cannot_work_are_refused(config, wrong, message):
    with pytest.raises(InputError, match=message):
        wrong.check(config)


def test_two_planes_with_power_of_two_scales_and_offsets_by_naive_loops():
    """The golden results of every option at once, from loops over Python's integers."""
    given = job(planes=2, k=3, exponents=np.array([[[0, 1, 1], [1, 0, 0]], [[1, 1, 0], [0, 0, 1]]]))
    given = given._replace(formats=GemmFormat(2, multiplier=3, offset=-2, shift=2))
    expected = []
    for token in given.q.tolist():
        x_sum, row = sum(token), []
        for n in range(3):
            total = 0
            for plane, exponents in zip(given.planes.tolist(), given.exponents.tolist(), strict=True):
                for lane, x in enumerate(token):
                    total += plane[n][lane] * x * 2 ** exponents[lane // 2][n]
            row.append(max(-127, min(127, round(Fraction(3 * total - 2 * x_sum, 4)))))
        expected.append(row)
    assert golden_results(given, FULL).tolist() == expected
    sums = golden_results(given, FULL.model_copy(update={"results": "sums"}))
    assert sums[:, 3].tolist() == given.q.sum(axis=1, dtype=int).tolist()


@pytest.mark.parametrize("field", ["multiplier", "offset"])
def test_scales_end_where_their_bits_do(field):
    """16 bits with sign: -32768 to 32767."""
    for value in (-(1 << 15), (1 << 15) - 1):
        job(formats=GemmFormat(1, **{field: value})).check(FULL)
    for value in (-(1 << 15) - 1, 1 << 15):
        with pytest.raises(InputError, match=f"{field} must be -32768 to 32767"):
            job(formats=GemmFormat(1, **{field: value})).check(FULL)
