"""The closed forms of the systolic baseline equal what SCALE-Sim 3.0.0 reports: committed numbers, and the tool itself.

The second test runs where TRITFORGE_SCALE_SIM names a Python that has the tool (see ``sim.references.scale_sim``).
"""

import os
from pathlib import Path

import pytest

from hw.artifact import read_artifact
from hw.errors import InputError
from quant.shapes import Gemm
from sim.gemm.closed_form import scale_sim_cycles
from sim.references.scale_sim import run_scale_sim
from tests.sim.references.make_scale_sim_cycles import PATH, SCHEMA, VERSION, cases


def test_closed_forms_equal_the_recorded_cycles_of_the_tool():
    runs = read_artifact(PATH, SCHEMA, VERSION)["runs"]
    assert {run["dataflow"] for run in runs} == {"ws", "os", "is"}
    for run in runs:
        ours = [scale_sim_cycles(Gemm(*gemm), run["rows"], run["cols"], run["dataflow"]) for gemm in run["gemms"]]
        assert ours == run["cycles"], run


def test_published_decode_projection():
    """1 x 4096 x 4096 on 32 x 32 and 64 x 64, cycles of the tool's own 11-minute runs."""
    gemm = Gemm(1, 4096, 4096)
    assert scale_sim_cycles(gemm, 32, 32, "ws") == 1_556_479
    assert scale_sim_cycles(gemm, 32, 32, "os") == 532_223
    assert scale_sim_cycles(gemm, 64, 64, "ws") == 782_335


@pytest.mark.slow
def test_closed_forms_equal_the_installed_tool():
    python = os.environ.get("TRITFORGE_SCALE_SIM")
    if not python:
        pytest.skip("TRITFORGE_SCALE_SIM does not name a Python with scalesim==3.0.0")
    for dataflow, rows, cols, gemms in cases(count=3, seed=2):
        ours = [scale_sim_cycles(gemm, rows, cols, dataflow) for gemm in gemms]
        assert ours == run_scale_sim(Path(python), gemms, rows, cols, dataflow).cycles


def test_a_python_without_the_tool_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a Python that has scalesim"):
        run_scale_sim(tmp_path / "python", [Gemm(1, 1, 1)], 1, 1, "ws")
