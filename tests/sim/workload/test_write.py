"""Claims: a model's step, written in any format and read back, is the same products; simulated, the same cycles."""

import pytest

from hw.config import load_array
from quant.shapes import load_shape
from sim.execution import Execution
from sim.job import SimJob
from sim.memory import load_memory
from sim.simulator import array_formats, simulate_trace
from sim.trace.build import build_trace
from sim.trace.products import phase_products, workload_trace
from sim.workload.read import read_workload
from sim.workload.write import FORMATS, write_workload

SHAPE = load_shape("stories260K")
SUFFIX = {"csv": "csv", "scale-sim": "csv", "zigzag": "yaml"}


def trace(prefill=16, decode=3, batch=2):
    return build_trace(SHAPE, prefill, decode, batch)


def by_size(workload):
    counted = {}
    for one in workload.products:
        counted[one.gemm] = counted.get(one.gemm, 0) + one.count
    return counted


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_written_and_read_back(tmp_path, form, phase):
    path = tmp_path / f"w.{SUFFIX[form]}"
    workload = phase_products(trace(), phase)
    write_workload(path, workload, form)
    assert by_size(read_workload(path)) == by_size(workload)


def test_the_products_of_a_step_by_hand():
    found = {one.name: (one.m, one.n, one.k, one.count) for one in phase_products(trace(), "decode").products}
    group, layers, head = SHAPE.heads // SHAPE.kv_heads, SHAPE.layers, SHAPE.head_dim
    assert found["gate_proj"] == (2, SHAPE.intermediate_size, SHAPE.hidden_size, layers)
    assert found["lm_head"] == (2, SHAPE.vocab_size, SHAPE.hidden_size, 1)
    assert found["attention_scores"] == (group, 16 + 3, head, layers * 2 * SHAPE.kv_heads)
    assert found["attention_values"] == (group, head, 16 + 3, layers * 2 * SHAPE.kv_heads)
    linears = phase_products(trace(), "prefill", attention=False)
    assert not {"attention_scores", "attention_values"} & {one.name for one in linears.products}
    assert linears.linear_parameters == SHAPE.linear_parameters + SHAPE.embedding_parameters


def test_a_workload_runs_as_a_models_linears_do():
    array, memory = load_array("edge-32x32"), load_memory("ddr4-2400")
    model = build_trace(SHAPE, 16, 0, formats=array_formats(array))
    listed = workload_trace(phase_products(model, "prefill", attention=False), model.formats, Execution())
    of_model = {op.name: op for op in simulate_trace(model, array, memory).phase("prefill").ops}
    of_list = {op.name: op for op in simulate_trace(listed, array, memory).phase("pass").ops}
    assert len(of_list) == 8
    for name in of_list.keys() - {"lm_head"}:  # which a list has in trits
        assert of_list[name].cycles == of_model[name].cycles, name
        assert of_list[name].counts == of_model[name].counts, name


def test_the_share_of_zeros_of_a_job_holds_for_a_list_too():
    listed = phase_products(trace(), "decode", attention=False)
    (phase,) = SimJob(zero_fraction=0.625).trace(listed, load_array("edge-32x32")).phases
    assert {op.statistics.zero_fraction for op in phase.ops} == {0.625}
