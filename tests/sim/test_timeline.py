"""Timelines: ops follow each other without gaps, add up to a step, and no unit is busier than its op is long."""

import itertools
import json

import pytest

from hw.config import load_array
from quant.shapes import load_shape
from sim.memory import load_memory
from sim.simulator import simulate
from sim.timeline import timeline_events, write_timeline


@pytest.mark.parametrize("mac", ["ternary", "fp16"])
def test_ops_of_a_step_follow_each_other_and_hold_their_units(mac):
    shape, array = load_shape("stories260K"), load_array("8x8").baseline(mac)
    result = simulate(shape, array, load_memory("ddr4-2400"), prefill=70, decode=3)
    events = [event for event in timeline_events(result) if event["ph"] == "X"]
    for process, phase in enumerate(result.phases, start=1):
        ops = [event for event in events if event["pid"] == process and event["tid"] == 1]
        for before, after in itertools.pairwise(ops):
            assert after["ts"] == pytest.approx(before["ts"] + before["dur"])
        step_us = phase.cycles / phase.steps / array.clock_hz * 1e6
        assert ops[-1]["ts"] + ops[-1]["dur"] == pytest.approx(step_us)
        ends = {event["ts"]: event["dur"] for event in ops}
        for event in events:
            if event["pid"] == process:
                assert event["dur"] <= ends[event["ts"]] * (1 + 1e-6) + 1e-3
        assert sum(event["name"] == "q_proj" for event in ops) == shape.layers


def test_the_file_is_a_chrome_trace(tmp_path):
    result = simulate(load_shape("stories260K"), load_array("8x8"), load_memory("ddr4-2400"), prefill=3, decode=1)
    write_timeline(tmp_path / "timeline.json", result)
    trace = json.loads((tmp_path / "timeline.json").read_text())
    tracks = {event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert tracks == {"ops", "array", "weight bus", "vector unit", "DRAM"}
