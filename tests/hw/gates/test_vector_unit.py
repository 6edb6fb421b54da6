"""Blocks of the vector unit in gates: the netlist computes what the RTL does, and a wrong one is found."""

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from hw.gates import vector_unit
from hw.gates.flow.library import load_library
from hw.gates.vector_unit import measure_block
from tests.hw.conftest import TINY


@pytest.fixture(scope="module")
def library():
    return load_library([TINY])


def test_a_block_equals_its_rtl_and_takes_more_where_operands_fill(library):
    found = measure_block("residual", library)
    assert found.outputs_checked > 20_000
    assert found.flip_flops == 33  # 32 bits and a flag
    assert found.area_um2 > 0
    assert 0 < found.clock_j < min(found.filled_j, found.sized_j)


def test_a_netlist_that_computes_something_else_is_refused(library, monkeypatch):
    right = vector_unit._simulated

    def wrong(block, inputs):
        outputs = right(block, inputs)
        outputs["result"][100] ^= 1
        return outputs

    monkeypatch.setattr(vector_unit, "_simulated", wrong)
    with pytest.raises(RuntimeError, match=r"^residual in tiny: 1 output bits of the netlist differ from the RTL's$"):
        measure_block("residual", library)
