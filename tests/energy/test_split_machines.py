"""Energy and area of a run whose decode has a machine of its own: each phase's machine, and both areas."""

import pytest

from energy.area import area_of, area_of_run
from energy.costs.sources import load_source
from energy.model import energy_of
from hw.config import load_array
from quant.shapes import load_shape
from sim.job import SimJob

COSTS, SHAPE = load_source("gates:asap7"), load_shape("smollm2-135m")
ARRAY, OTHER = load_array("mobile-64x64"), load_array("edge-32x32-balanced")
JOB = SimJob(memory="ddr5-4800", prefill=9, decode=2, attention="vector")
SPLIT = JOB.model_copy(update={"decode_array": "edge-32x32-balanced", "decode_memory": "hbm3-6400"})


def test_decode_is_priced_on_its_own_machine():
    split = energy_of(SPLIT.simulate(SHAPE, ARRAY), COSTS)
    alone = energy_of(JOB.model_copy(update={"memory": "hbm3-6400"}).simulate(SHAPE, OTHER), COSTS)
    for part in ("array", "vector", "sram", "leakage"):
        assert split.phase("decode").parts[part] == alone.phase("decode").parts[part]
    assert split.phase("decode").parts["dram"].typical > alone.phase("decode").parts["dram"].typical  # K and V come
    assert split.phase("prefill").parts["host"].typical > 0  # over the link


def test_area_is_that_of_both_machines():
    both = area_of_run(SPLIT.simulate(SHAPE, ARRAY), COSTS)
    one, other = area_of(ARRAY, COSTS), area_of(OTHER, COSTS)
    assert both.total.typical == pytest.approx(one.total.typical + other.total.typical)
    assert area_of_run(JOB.simulate(SHAPE, ARRAY), COSTS) == one
