"""A pytest plugin: which test runs which line of the packages, and how long each test takes.

``python -m pytest -p tests.mutation.contexts --lines FILE`` writes a map (``tests.mutation.line_map``) to FILE, or adds
to the one there; lines that run while modules are imported have no test, and a test that fails anyway judges none.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

from hw.artifact import write_text
from tests.mutation.line_map import merged

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
        lines, sources = {}, {}
        for path in data.measured_files():
            tests = {
                line: sorted(set(names) - self.failed - {""}) for line, names in data.contexts_by_lineno(path).items()
            }
            name = str(Path(path).relative_to(self.root))
            lines[name] = {str(line): names for line, names in tests.items()}
            sources[name] = Path(path).read_text(encoding="utf-8")
        found = {"seconds": self.seconds, "lines": lines, "sources": sources}
        if self.path.is_file():
            found = merged(json.loads(self.path.read_text(encoding="utf-8")), found)
        write_text(self.path, json.dumps(found))


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--lines"):
        config.pluginmanager.register(_Lines(path, config.rootpath))
