"""A cocotb bench on Verilog under Icarus, and what its report must say."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cocotb_tools.runner import get_runner

__all__ = ["run_bench"]

_TIMES = ("1ns", "1ps")  # unit and precision


def run_bench(
    sources: Sequence[Path], top: str, module: str, folder: Path, environment: dict[str, str], tests: int
) -> None:
    """Fail with the simulator's message unless all ``tests`` of the bench ``module`` pass on ``top``.

    ``folder`` is where it runs and what it leaves goes; ``environment`` is what the bench reads.
    """
    runner = get_runner("icarus")
    runner.build(
        sources=sources,
        hdl_toplevel=top,
        build_dir=folder / "build",
        timescale=_TIMES,
        log_file=folder / "build.log",
    )
    report = folder / "results.xml"
    report.unlink(missing_ok=True)
    with suppress(SystemExit):  # the runner's exit says less than the report
        runner.test(
            hdl_toplevel=top,
            test_module=module,
            build_dir=folder / "build",
            test_dir=folder,
            results_xml=report,
            extra_env=environment,
            log_file=folder / "test.log",
            timescale=_TIMES,
        )
    _assert_passed(report, tests)


def _assert_passed(report: Path, tests: int) -> None:
    """Fail with the simulator's message unless exactly ``tests`` cocotb tests ran and none failed."""
    found = list(ElementTree.parse(report).iter("testcase"))
    assert len(found) == tests, f"{len(found)} cocotb tests ran, not {tests}"
    for test in found:
        for bad in (*test.findall("failure"), *test.findall("error"), *test.findall("skipped")):
            raise AssertionError(f"{test.get('name')}: {bad.get('error_msg') or bad.get('message') or bad.text}")
