"""Run the bench: ``pytest``, or ``SIM=verilator pytest``; needs cocotb 2, cocotbext-axi and the simulator.

SPDX-License-Identifier: Apache-2.0
"""

import os
from pathlib import Path
from xml.etree import ElementTree

from cocotb_tools.runner import get_runner

HERE = Path(__file__).parent
TOP = "tritforge_axi"
TIMESCALE = ("1ns", "1ps")


def test_tritforge():
    runner = get_runner(os.environ.get("SIM", "icarus"))
    runner.build(
        sources=sorted(HERE.glob("tritforge_*.v")),
        hdl_toplevel=TOP,
        build_dir=HERE / "sim_build",
        timescale=TIMESCALE,
        always=True,
    )
    report = runner.test(
        hdl_toplevel=TOP,
        test_module="tritforge_bench",
        build_dir=HERE / "sim_build",
        test_dir=HERE,
        timescale=TIMESCALE,
    )
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert cases, "no test ran"
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    assert not failed, f"failed: {', '.join(failed)}"
