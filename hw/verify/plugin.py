"""The pytest plugin ``tritforge``: fixtures for those who verify an array of their own against the golden model.

``tritforge_case`` makes a test of every case, ``tritforge_check`` compares all of them in one; both know the array by
``--tritforge-array`` or the ini setting ``tritforge_array``. Nothing is imported before a test asks.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hw.verify.cases import GemmCase, Multiply

__all__ = ["pytest_addoption", "pytest_generate_tests", "tritforge_check"]

_ARRAY = "16x16"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the setting."""
    group = parser.getgroup("tritforge", "an array against the golden model")
    group.addoption(
        "--tritforge-array",
        metavar="ARRAY",
        help="array whose edges the products are to meet: RxC, a shipped name or a .yaml file (default: the ini "
        f"setting tritforge_array, else {_ARRAY})",
    )
    group.addoption(
        "--tritforge-seed", type=int, default=0, metavar="N", help="seed of the random products (default: 0)"
    )
    parser.addini("tritforge_array", "array whose edges the products of tritforge's fixtures meet", default=_ARRAY)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each case, where ``tritforge_case`` is asked for."""
    if "tritforge_case" in metafunc.fixturenames:
        cases = _cases(metafunc.config)
        metafunc.parametrize("tritforge_case", cases, ids=[case.name for case in cases])


@pytest.fixture
def tritforge_check(request: pytest.FixtureRequest) -> Callable[["Multiply"], None]:
    """A function that compares ``multiply(x, trits)``, int8 ``(m, k)`` and ``(n, k)`` to integers ``(m, n)``, with the
    golden sums of every case."""
    from hw.verify.cases import check_case

    def check(multiply: "Multiply") -> None:
        for case in _cases(request.config):
            check_case(case, multiply)

    return check


def _cases(config: pytest.Config) -> list["GemmCase"]:
    from hw.config import load_array
    from hw.errors import InputError
    from hw.verify.cases import gemm_cases

    name = config.getoption("--tritforge-array") or config.getini("tritforge_array")
    try:
        array = load_array(name)
    except InputError as error:
        pytest.fail(f"--tritforge-array: {error}", pytrace=False)
    return list(gemm_cases(array.rows, array.cols, config.getoption("--tritforge-seed")))
