"""Traces on disk come back equal and are refused for another model, array or version, naming the command."""

import json

import pytest

from hw.config import sized
from hw.errors import InputError
from quant.shapes import load_shape
from sim.execution import Execution
from sim.memory import load_memory
from sim.simulator import simulate, simulate_trace
from sim.trace.build import build_trace
from sim.trace.file import read_trace, write_trace
from sim.trace.ops import Formats

SHAPE, ARRAY = load_shape("stories260K"), sized(8, 8)


@pytest.fixture
def stored(tmp_path):
    trace = build_trace(SHAPE, 9, 4, 2, Formats(kv_bits=8), execution=Execution(prefill_chunk=4, fuse_projections=True))
    path = tmp_path / "trace.json"
    write_trace(path, trace, ARRAY)
    return path, trace


def test_a_stored_trace_comes_back_equal_and_simulates_as_before(stored):
    path, trace = stored
    read = read_trace(path, SHAPE, ARRAY)
    assert read == trace
    memory = load_memory("ddr4-2400")
    whole = simulate(SHAPE, ARRAY, memory, 9, 4, 2, formats=Formats(kv_bits=8), execution=trace.execution)
    assert simulate_trace(read, ARRAY, memory) == whole


@pytest.mark.parametrize(
    ("shape", "array", "message"),
    [
        (load_shape("smollm2-135m"), ARRAY, "must be a trace of model 'smollm2-135m'"),
        (SHAPE, sized(8, 9), "must be a trace of array '8x9'"),
    ],
)
def test_a_trace_of_another_model_or_array_is_refused(stored, shape, array, message):
    with pytest.raises(InputError, match=message + ".*tritforge run"):
        read_trace(stored[0], shape, array)


def test_a_trace_of_another_version_or_a_damaged_one_is_refused(stored):
    path, _ = stored
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"version": 99}))
    with pytest.raises(InputError, match=r"version 1, not tritforge\.trace version 99"):
        read_trace(path, SHAPE, ARRAY)
    path.write_text(json.dumps(document | {"batch": "many"}))
    with pytest.raises(InputError, match=r"trace\.json: field 'batch' should be .*, not 'many'; make a new one"):
        read_trace(path, SHAPE, ARRAY)
