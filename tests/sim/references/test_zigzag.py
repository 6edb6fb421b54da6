"""Our cycles are within 1 % of ZigZag's, where TRITFORGE_ZIGZAG names a Python that has it."""

import os
from pathlib import Path

import pytest

from hw.errors import InputError
from quant.shapes import Gemm
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob
from sim.references.figures import zigzag_machine
from sim.references.zigzag import run_zigzag


@pytest.mark.slow
@pytest.mark.parametrize("gemm", [Gemm(1, 4096, 4096), Gemm(1, 512, 512)], ids=str)
def test_decode_projections_agree_with_the_installed_tool(gemm):
    python = os.environ.get("TRITFORGE_ZIGZAG")
    if not python:
        pytest.skip("TRITFORGE_ZIGZAG does not name a Python with zigzag-dse==3.9.1 and six")
    array, memory = zigzag_machine()
    ours = gemm_cost(GemmJob(gemm), array.baseline("int8"), memory).cycles
    assert ours == pytest.approx(run_zigzag(Path(python), gemm).cycles[0], rel=0.01)


def test_a_python_without_the_tool_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a Python that has zigzag-dse"):
        run_zigzag(tmp_path / "python", Gemm(1, 1, 1))
