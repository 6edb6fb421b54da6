"""Timelines: ops follow each other without gaps, add up to a step, and no unit is busier than its op is long."""

import itertools
import json
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree

import pytest

from hw.config import load_array
from quant.shapes import load_shape
from sim.execution import Execution
from sim.memory import load_memory
from sim.reports.gantt import layer_gantt
from sim.reports.timeline import step_spans, timeline_events, tracks, write_timeline
from sim.simulator import simulate


@pytest.mark.parametrize("mac", ["ternary", "fp16"])
def test_ops_of_a_step_follow_each_other_and_hold_their_units(mac):
    shape, array = load_shape("stories260K"), load_array("8x8").baseline(mac)
    result = simulate(shape, array, load_memory("ddr4-2400"), prefill=70, decode=3)
    events = [event for event in timeline_events(result) if event["ph"] == "X"]
    for process, phase in enumerate(result.phases, start=1):
        ops = [event for event in events if event["pid"] == process and event["tid"] == 1]
        for before, after in itertools.pairwise(ops):
            assert after["ts"] == before["ts"] + before["dur"]  # to the bit: readers nest spans by their ends
        step_us = phase.cycles / phase.steps / array.clock_hz * 1e6
        assert ops[-1]["ts"] + ops[-1]["dur"] == pytest.approx(step_us, abs=0.001)
        for thread in {event["tid"] for event in events}:
            track = [event for event in events if (event["pid"], event["tid"]) == (process, thread)]
            for before, after in itertools.pairwise(track):
                assert after["ts"] >= before["ts"] + before["dur"]
        assert sum(event["name"] == "q_proj" for event in ops) == shape.layers


def test_the_file_is_a_chrome_trace(tmp_path):
    result = simulate(load_shape("stories260K"), load_array("8x8"), load_memory("ddr4-2400"), prefill=3, decode=1)
    write_timeline(tmp_path / "timeline.json", result)
    trace = json.loads((tmp_path / "timeline.json").read_text())
    events = trace["traceEvents"]
    tracks = [event["args"]["name"] for event in events if event["name"] == "thread_name" and event["pid"] == 1]
    assert tracks == ["ops", "array", "weight stream", "vector unit", "results", "DRAM channel 0"]
    assert {event["ph"] for event in events} == {"M", "X"}
    for event in events:
        assert {"name", "ph", "pid", "tid", "args"} <= set(event)
        if event["ph"] == "X":
            assert event["dur"] > 0 <= event["ts"]


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


@pytest.mark.slow
def test_speedscope_opens_the_file_without_a_complaint(tmp_path):
    """A reader that is not ours: TRITFORGE_SPEEDSCOPE names the dist/release folder of speedscope 1.25.0 from npm."""
    folder = os.environ.get("TRITFORGE_SPEEDSCOPE")
    browser = shutil.which("chromium")
    if not (folder and browser):
        pytest.skip("needs chromium, and TRITFORGE_SPEEDSCOPE to name the release folder of speedscope 1.25.0")
    playwright = pytest.importorskip("playwright.sync_api")
    result = simulate(load_shape("llama2-7b"), load_array("edge-32x32"), load_memory("lpddr5-6400"))
    write_timeline(tmp_path / "run.json", result)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = []
    with playwright.sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.locator("input[type=file]").set_input_files(tmp_path / "run.json")
        page.get_by_text("prefill of llama2-7b").first.wait_for(timeout=30_000)
    server.shutdown()
    assert any("Importing as Trace Event Format" in text for text in said)
    assert not [text for text in said if "Tried to end" in text or "still open" in text]
