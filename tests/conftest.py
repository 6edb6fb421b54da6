"""``pytest --fast`` (``make test-fast``): the edit-test loop, without what compiles, runs RTL or quantizes.

A chosen set of files, since what makes a test long is what it loads: torch, Amaranth's simulator, Yosys, Verilator. It
runs in one process: on two cores pytest-xdist would import everything and load the kernels twice, most of its time.
"""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A property holds or not; how long an example takes on a busy machine says nothing.
settings.register_profile("tritforge", deadline=None)
settings.load_profile("tritforge")

os.environ["TRITFORGE_CACHE"] = "off"  # what is tested is simulated, also by commands that tests start

# A shell starts what runs in its background deaf to Ctrl-C, and what that starts is deaf too.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]

_TESTS = Path(__file__).parent
_LONG = (
    *(
        "hw/boards",
        "hw/gates",
        "hw/gateware",
        "hw/integration",
        "hw/simulation",
        "hw/synthesis",
        "hw/host/test_zynq.py",
    ),
    *("hw/arithmetic/test_adders.py", "hw/test_verilog.py"),
    *(
        "quant/evaluation",
        "quant/exports",
        "quant/llama",
        "quant/methods",
        "quant/native",
        "quant/procedures",
        "quant/results/test_bench.py",
    ),
    *("quant/token", "quant/test_integer_llama.py", "test_make.py", "fuzz"),
    *("quant/rewrite", "quant/test_pipeline.py", "quant/test_recording.py", "quant/test_smollm2.py", "quant/weights"),
    *("sim/references", "sim/test_demo.py", "sim/test_methods.py", "sim/test_quantized.py"),
    "energy/test_weights.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--fast", action="store_true", help="only the files and tests of the edit-test loop")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the long files out before they import anything."""
    here = collection_path.relative_to(_TESTS).as_posix() if collection_path.is_relative_to(_TESTS) else ""
    return True if config.getoption("--fast") and here in _LONG else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that are marked slow, or that torch makes slow."""
    if config.getoption("--fast"):
        left = [item for item in items if item.get_closest_marker("slow") or item.get_closest_marker("torch")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


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
