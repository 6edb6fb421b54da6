"""Costs of GEMMs that are found once: by all that they depend on, and by nothing else."""

import pytest

from hw.config import ArrayConfig, load_array
from quant.shapes import Gemm
from sim.cores import CoreGroup
from sim.gemm.cost import _UNUSED, GemmCosts, forget_gemms, gemm_cost
from sim.gemm.schedule import GemmJob
from sim.memory import load_memory

ARRAY, MEMORY, CORES = load_array("mobile-64x64"), load_memory("lpddr5-6400"), CoreGroup(count=2)
JOBS = [GemmJob(Gemm(1, 200, 300)), GemmJob(Gemm(300, 200, 300), planes=2), GemmJob(Gemm(9, 70, 64), digits=True)]
OTHER = {"name": "another", "description": "another", "weight_cells": "hp", "activation_cells": "hp"}
OTHER |= {"accumulator_cells": "hp"}


@pytest.mark.parametrize("field", sorted(_UNUSED))
def test_fields_that_are_left_out_change_no_gemm(field):
    value = OTHER.get(field) or 7 + 3 * (getattr(ARRAY, field) or 0)
    other = ArrayConfig.model_validate(ARRAY.model_dump() | {field: value})
    assert other != ARRAY
    assert GemmCosts(other, MEMORY, CORES) == GemmCosts(ARRAY, MEMORY, CORES)
    for job in JOBS:
        assert gemm_cost(job, other, MEMORY, CORES) == gemm_cost(job, ARRAY, MEMORY, CORES)


def test_every_other_field_tells_machines_apart():
    """Those that are hashed with the array's design, its buffers and its clock."""
    plain = GemmCosts(ARRAY, MEMORY, CORES)
    for change in ({"clock_hz": 9e8}, {"rows": 32}, {"weight_buffer_bytes": 1 << 20}, {"token_tile": 64}):
        assert GemmCosts(ArrayConfig.model_validate(ARRAY.model_dump() | change), MEMORY, CORES) != plain
    assert GemmCosts(ARRAY, load_memory("hbm3-6400"), CORES) != plain
    assert GemmCosts(ARRAY, MEMORY, CoreGroup(count=4)) != plain


def test_a_gemm_is_costed_once_until_it_is_forgotten(monkeypatch):
    forget_gemms()
    costed = []

    def counted(job, *machine):
        costed.append(job)
        return gemm_cost(job, *machine)

    monkeypatch.setattr("sim.gemm.cost.gemm_cost", counted)
    wider = ARRAY.model_copy(update={"vector_lanes": 128})
    for array in (ARRAY, wider, ARRAY):
        for job in JOBS:
            assert GemmCosts(array, MEMORY, CORES).of(job) == gemm_cost(job, ARRAY, MEMORY, CORES)
    assert costed == JOBS
    forget_gemms()
    GemmCosts(ARRAY, MEMORY, CORES).of(JOBS[0])
    assert costed == [*JOBS, JOBS[0]]
