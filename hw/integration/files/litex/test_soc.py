"""Build the example SoC and run its bench: ``pytest``; needs LiteX, cocotb 2 and Icarus (or ``SIM=verilator``).

SPDX-License-Identifier: Apache-2.0
"""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from cocotb_tools.runner import get_runner

HERE = Path(__file__).parent
TOP = "tritforge_soc"
TIMESCALE = ("1ns", "1ps")


def test_soc():
    subprocess.run([sys.executable, "soc.py"], cwd=HERE, check=True)
    runner = get_runner(os.environ.get("SIM", "icarus"))
    build = HERE / "build" / "simulation"
    runner.build(
        sources=[HERE / "build" / f"{TOP}.v", *sorted(HERE.glob("tritforge_*.v"))], hdl_toplevel=TOP, build_dir=build,
        timescale=TIMESCALE, always=True,
    )  # fmt: skip
    report = runner.test(hdl_toplevel=TOP, test_module="soc_bench", build_dir=build, test_dir=HERE, timescale=TIMESCALE)
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert cases, "no test ran"
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    assert not failed, f"failed: {', '.join(failed)}"
