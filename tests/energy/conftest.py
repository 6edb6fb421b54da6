"""What the energy tests share."""

import shutil

import pytest


def _close(expected):
    return pytest.approx(expected, rel=1e-9, abs=0)


@pytest.fixture(scope="session")
def close():
    """``pytest.approx`` by relative error alone: its default absolute tolerance, 1e-12, is larger than a picojoule."""
    return _close


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, driven by playwright; skips where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield one
        one.close()
