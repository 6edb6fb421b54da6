"""What the energy tests share."""

import pytest


def _close(expected):
    return pytest.approx(expected, rel=1e-9, abs=0)


@pytest.fixture(scope="session")
def close():
    """``pytest.approx`` by relative error alone: its default absolute tolerance, 1e-12, is larger than a picojoule."""
    return _close
