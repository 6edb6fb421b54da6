"""Traces without attention, without lm_head or without both run, are explained and drawn, and say only what is so."""

import json
from functools import partial
from pathlib import Path

import pytest

from hw.config import sized
from quant.shapes import load_shape
from sim.memory import load_memory
from sim.reports.explain import explain, explanation_lines
from sim.reports.timeline import step_spans
from sim.simulator import simulate_on, simulate_trace
from sim.trace.build import build_trace
from sim.trace.file import read_trace

EXAMPLE = Path(__file__).parents[3] / "docs/examples/attention-free-trace.json"
SHAPE, ARRAY, MEMORY = load_shape("stories260K"), sized(8, 8), load_memory("ddr4-2400")
ATTENTION = ("attention_scores", "softmax", "attention_values", "rope", "kv_cache_write")


def without(*names):
    trace = build_trace(SHAPE, 4, 2)
    phases = [
        phase.model_copy(update={"ops": [op for op in phase.ops if op.name not in names]}) for phase in trace.phases
    ]
    return trace.model_copy(update={"phases": phases})


def test_the_example_of_the_docs_runs_and_takes_what_its_ops_take():
    trace = read_trace(EXAMPLE, SHAPE, ARRAY)
    result = simulate_trace(trace, ARRAY, MEMORY)
    whole = simulate_trace(without(*ATTENTION), ARRAY, MEMORY)
    for phase, tokens in zip(result.phases, (4, 1), strict=True):
        (mix,) = [op for op in phase.ops if op.name == "time_mix"]
        assert mix.cycles == mix.count * -(-6 * 64 * tokens // ARRAY.vector_lanes)
        assert phase.cycles == whole.phase(phase.name).cycles + mix.cycles
        assert step_spans(result, phase)
    assert not any("attention" in note or "KV" in note for note in result.notes)
    assert any("lm_head runs on the vector unit; lm_head 8 bits, embedding 16 bits" in note for note in result.notes)


@pytest.mark.parametrize("left_out", [ATTENTION, ("lm_head",), (*ATTENTION, "lm_head", "mlp_residual")])
def test_whatever_is_left_out_nothing_else_changes(left_out):
    trace = without(*left_out)
    result, whole = simulate_trace(trace, ARRAY, MEMORY), simulate_trace(without(), ARRAY, MEMORY)
    for phase in result.phases:
        assert phase.ops == [op for op in whole.phase(phase.name).ops if op.name not in left_out]
        assert step_spans(result, phase)
    assert all(explanation_lines(one) for one in explain(result, partial(simulate_on, trace)))
    notes = " ".join(result.notes)
    assert ("lm_head" in notes) == ("lm_head" not in left_out)
    assert ("attention" in notes) == ("softmax" not in left_out)


def test_the_example_is_a_document_of_this_version():
    assert json.loads(EXAMPLE.read_text())["schema"] == "tritforge.trace"
