"""The plugin passes a right array, and tells faults of lanes, columns, signs, widths and edges by the first sum."""

from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from hw.golden import gemm
from hw.verify.cases import check_case, gemm_cases

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
INSTALLED = any(one.value == "hw.verify.plugin" for one in entry_points(group="pytest11"))
ARGUMENTS = () if INSTALLED else ("-p", "hw.verify.plugin")


def swapped_lanes(x, trits):
    x = x.copy()
    x[:, :2] = x[:, 1::-1] if x.shape[1] > 1 else x
    return gemm(x, trits)


def swapped_columns(x, trits):
    y = gemm(x, trits)
    y[:, :2] = y[:, 1::-1] if y.shape[1] > 1 else y
    return y


def lost_edge(x, trits):
    whole = x.shape[1] // 8 * 8 or x.shape[1]
    return gemm(x[:, :whole], trits[:, :whole])


FAULTS = {
    "lanes 0 and 1 swapped": swapped_lanes,
    "columns 0 and 1 swapped": swapped_columns,
    "the last fold's edge lost": lost_edge,
    "minus one taken for zero": lambda x, trits: gemm(x, np.maximum(trits, 0)),
    "sums of 11 bits": lambda x, trits: (gemm(x, trits) + 1024 & 2047) - 1024,
    "the lowest bit lost": lambda x, trits: gemm(x, trits) & -2,
    "tokens in reverse": lambda x, trits: gemm(x[::-1], trits),
}


def check_all(rows, cols, multiply):
    for case in gemm_cases(rows, cols):
        check_case(case, multiply)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_at_every_size_that_shows_it(fault):
    for rows, cols in ((8, 4), (16, 16)):
        with pytest.raises(AssertionError, match=r"y\[\d+, \d+\] must be -?\d+, not -?\d+; \d+ of \d+ sums differ"):
            check_all(rows, cols, FAULTS[fault])


def test_the_sums_are_those_of_three_loops_and_reach_the_widest():
    for case in gemm_cases(8, 4, seed=3):
        for m, token in enumerate(case.x.tolist()):
            for n, weights in enumerate(case.trits.tolist()):
                assert case.sums[m, n] == sum(a * b for a, b in zip(token, weights, strict=True))
        assert np.abs(case.x).max(initial=0) <= 127
        check_case(case, lambda x, trits: x.astype(int) @ trits.astype(int).T)
    sums = [case.sums for case in gemm_cases(8, 4)]
    assert max(map(np.max, sums)) == -min(map(np.min, sums)) == 127 * 16


def test_another_shape_or_kind_is_told():
    case = next(gemm_cases(8, 4))
    with pytest.raises(AssertionError, match=r"one lane .*: results must have shape \(1, 1\), not \(1,\)"):
        check_case(case, lambda x, trits: gemm(x, trits)[0])
    with pytest.raises(AssertionError, match="results must be integers, not float64"):
        check_case(case, lambda x, trits: gemm(x, trits) / 1)


@pytest.fixture
def here(pytester, monkeypatch):
    """pytest in an empty folder, with this checkout's packages."""
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parents[1]))
    return pytester


def test_the_example_of_the_page_runs_as_written(here):
    text = PAGE.read_text(encoding="utf-8")
    (example,) = [block.partition("```")[0] for block in text.split("```python\n")[1:] if "tritforge_case" in block]
    here.makepyfile(example)
    done = here.runpytest_subprocess(*ARGUMENTS, "--tritforge-array", "8x4", "-v")
    cases = len(list(gemm_cases(8, 4)))
    done.assert_outcomes(passed=cases + 1)
    done.stdout.fnmatch_lines(["*[[]each lane alone[]] PASSED*"])


def test_a_faulty_array_fails_with_one_line(here):
    here.makepyfile(
        "def array(x, trits):\n    return (x.astype(int) @ trits.T.astype(int))[:, ::-1]\n\n"
        "def test_array(tritforge_check):\n    tritforge_check(array)\n"
    )
    here.makeini("[pytest]\ntritforge_array = 4x4\n")
    done = here.runpytest_subprocess(*ARGUMENTS)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*one tile (m 3, n 4, k 4): y[[]0, 0[]] must be *, not *; * of 12 sums differ"])


@pytest.mark.parametrize("fixture", ["tritforge_case", "tritforge_check"])
def test_an_unknown_array_is_one_line(here, fixture):
    here.makepyfile(f"def test_array({fixture}):\n    {fixture}(None)\n")
    done = here.runpytest_subprocess(*ARGUMENTS, "--tritforge-array", "huge")
    assert done.ret != 0
    done.stdout.fnmatch_lines(["*--tritforge-array: array must be RxC*not 'huge'*"])
    done.stdout.no_fnmatch_line("*Error:*")
