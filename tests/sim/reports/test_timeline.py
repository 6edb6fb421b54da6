"""Timelines: ops follow each other without gaps, add up to a step, and no unit is busier than its op is long."""

import itertools
import json
import os
from xml.etree import ElementTree

import pytest

from hw.config import load_array
from quant.shapes import load_shape
from sim.execution import Execution
from sim.memory import load_memory
from sim.reports.gantt import layer_gantt
from sim.reports.timeline import step_spans, timeline_events, tracks, write_timeline
from sim.simulator import simulate
from tests.sim.reports.perfetto_engine import read_by_perfetto, served


def spans_of(events):
    """Each begin with the end that follows it on its track, where nothing else may stand between them."""
    spans, open_spans = [], {}
    for event in events:
        track = event["pid"], event["tid"]
        if event["ph"] == "B":
            assert track not in open_spans
            open_spans[track] = event
        elif event["ph"] == "E":
            begin = open_spans.pop(track)
            assert (begin["name"], begin["args"]) == (event["name"], event["args"])  # by which speedscope pairs them
            spans.append({**begin, "end": event["ts"], "dur": event["ts"] - begin["ts"]})
    assert not open_spans
    return spans


@pytest.mark.parametrize("mac", ["ternary", "fp16"])
def test_ops_of_a_step_follow_each_other_and_hold_their_units(mac):
    shape, array = load_shape("stories260K"), load_array("8x8").baseline(mac)
    result = simulate(shape, array, load_memory("ddr4-2400"), prefill=70, decode=3)
    events = spans_of(timeline_events(result))
    for process, phase in enumerate(result.phases, start=1):
        ops = [event for event in events if event["pid"] == process and event["tid"] == 1]
        for before, after in itertools.pairwise(ops):
            assert after["ts"] == before["end"]  # to the bit: readers nest spans by their ends
        step_us = phase.cycles / phase.steps / array.clock_hz * 1e6
        assert ops[-1]["end"] == pytest.approx(step_us, abs=0.001)
        for thread in {event["tid"] for event in events}:
            track = [event for event in events if (event["pid"], event["tid"]) == (process, thread)]
            for before, after in itertools.pairwise(track):
                assert after["ts"] >= before["end"]
        assert sum(event["name"] == "q_proj" for event in ops) == shape.layers


def test_the_file_is_a_chrome_trace(tmp_path):
    result = simulate(load_shape("stories260K"), load_array("8x8"), load_memory("ddr4-2400"), prefill=3, decode=1)
    write_timeline(tmp_path / "timeline.json", result)
    trace = json.loads((tmp_path / "timeline.json").read_text())
    events = trace["traceEvents"]
    tracks = [event["args"]["name"] for event in events if event["name"] == "thread_name" and event["pid"] == 1]
    assert tracks == ["ops", "array", "weight stream", "vector unit", "results", "DRAM channel 0"]
    assert {event["ph"] for event in events} == {"M", "B", "E"}
    for event in events:
        assert {"name", "ph", "pid", "tid", "args"} <= set(event)
    for span in spans_of(events):
        assert span["dur"] > 0 <= span["ts"]
        assert span["ts"] * 1000 == pytest.approx(round(span["ts"] * 1000), abs=1e-6)  # whole nanoseconds


def test_channels_share_the_traffic_and_a_host_has_a_track():
    execution = Execution(placement={"lm_head": "host"})
    result = simulate(
        load_shape("stories260K"), load_array("8x8"), load_memory("lpddr5-6400"), 9, 1, execution=execution
    )
    assert tracks(result)[4] == "host"
    spans = step_spans(result, result.phase("decode"))
    channels = [[span[2:] for span in spans if span.track == f"DRAM channel {number}"] for number in range(4)]
    assert channels[0]
    assert channels.count(channels[0]) == 4
    assert {span.op for span in spans if span.track == "host"} == {"lm_head"}
    assert {span.what for span in spans if span.op == "kv_cache_write" and span.track != "ops"} == {"writes"}


def test_the_gantt_of_a_layer_has_a_bar_for_each_span_and_needs_no_script():
    result = simulate(load_shape("stories260K"), load_array("8x8"), load_memory("ddr4-2400"), prefill=70, decode=3)
    chart = ElementTree.fromstring(layer_gantt(result, result.phase("prefill")))
    bars = chart.findall(".//{http://www.w3.org/2000/svg}rect")
    spans = [span for span in step_spans(result, result.phase("prefill")) if span.layer == 0]
    assert len(bars) == len(spans)
    titles = [bar[0].text for bar in bars]
    assert any(title.startswith("q_proj, array: ") for title in titles)
    width = float(chart.get("viewBox").split()[2])
    assert all(float(bar.get("x")) + float(bar.get("width")) <= width for bar in bars)


@pytest.mark.parametrize("clock_hz", [8e8, 333e6])  # of which the second has no cycle of whole nanoseconds
def test_perfetto_reads_every_span_and_drops_none(browser, clock_hz):
    """A reader that is not ours, asked in SQL: the same spans on the same tracks, nanosecond by nanosecond."""
    array = load_array("8x8").model_copy(update={"clock_hz": clock_hz})
    result = simulate(load_shape("stories260K"), array, load_memory("lpddr5-6400"), prefill=9, decode=2)
    events = timeline_events(result)
    page = browser.new_page()
    with read_by_perfetto(page, json.dumps({"displayTimeUnit": "ms", "traceEvents": events}).encode()) as trace:
        faults = trace.query("select name, value from stats where severity in ('error', 'data_loss') and value != 0")
        found = trace.query(
            "select slice.name, category, ts, dur, depth, thread.name as track, process.name as process,"
            " extract_arg(slice.arg_set_id, 'args.layer') as layer from slice"
            " join thread_track on track_id = thread_track.id join thread using (utid)"
            " join process using (upid) order by slice.id"
        )
    assert [(fault.name, fault.value) for fault in faults] == []
    assert {one.depth for one in found} == {0}  # none lies within another
    called = {
        (event["pid"], event["tid"], event["name"]): event["args"].get("name") for event in events if event["ph"] == "M"
    }
    ours = sorted(
        (
            called[span["pid"], 0, "process_name"],
            called[span["pid"], span["tid"], "thread_name"],
            *(round(span["ts"] * 1000), round(span["end"] * 1000)),
            *(span["name"], span["cat"], span["args"].get("layer")),
        )
        for span in spans_of(events)
    )
    theirs = sorted(
        (one.process, one.track, one.ts, one.ts + one.dur, one.name, one.category, one.layer) for one in found
    )
    assert len(theirs) == len(ours)
    for one, other in zip(theirs, ours, strict=True):
        assert one[:2] + one[4:] == other[:2] + other[4:]
        assert max(abs(one[2] - other[2]), abs(one[3] - other[3])) <= 1  # Perfetto cuts, we round, to nanoseconds


@pytest.mark.slow
def test_speedscope_opens_the_file_without_a_complaint(browser, tmp_path):
    """A reader that is not ours: TRITFORGE_SPEEDSCOPE names the dist/release folder of speedscope 1.25.0 from npm."""
    folder = os.environ.get("TRITFORGE_SPEEDSCOPE")
    if not folder:
        pytest.skip("needs TRITFORGE_SPEEDSCOPE to name the release folder of speedscope 1.25.0")
    result = simulate(load_shape("llama2-7b"), load_array("edge-32x32"), load_memory("lpddr5-6400"))
    write_timeline(tmp_path / "run.json", result)
    said = []
    with served(folder) as address:
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"{address}/index.html")
        page.locator("input[type=file]").set_input_files(tmp_path / "run.json")
        page.get_by_text("prefill of llama2-7b").first.wait_for(timeout=30_000)
    assert any("Importing as Trace Event Format" in text for text in said)
    assert not [text for text in said if "Tried to end" in text or "still open" in text]
