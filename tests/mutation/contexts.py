"""A pytest plugin: which test runs which line of the packages, and how long each test takes.

``python -m pytest -p tests.mutation.contexts --lines FILE`` writes ``{"seconds": {test: s}, "lines": {path: {line:
[tests]}}}``; lines that run while modules are imported have no test, and a test that fails anyway judges
none.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

_PACKAGES = ("hw", "quant", "sim", "energy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lines", type=Path, help="write here which test runs which line")


class _Lines:
    """Measures from the first test to the last."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage = coverage.Coverage(data_file=None, source=[str(root / name) for name in _PACKAGES])
        self.coverage.start()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        started = time.perf_counter()
        yield
        self.seconds[item.nodeid] = round(time.perf_counter() - started, 3)
        self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {}
        for path in data.measured_files():
            tests = {
                line: sorted(set(names) - self.failed - {""}) for line, names in data.contexts_by_lineno(path).items()
            }
            lines[str(Path(path).relative_to(self.root))] = {str(line): names for line, names in tests.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({"seconds": self.seconds, "lines": lines}))


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--lines"):
        config.pluginmanager.register(_Lines(path, config.rootpath))
