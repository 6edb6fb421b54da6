"""Prefill and decode on two machines are the two runs, with K and V over the link as a plain loop sends them."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.config import load_array, sized
from hw.errors import InputError
from quant.shapes import load_shape
from sim.__main__ import main
from sim.job import SimJob
from sim.memory import load_memory
from sim.split import _of, exposed_cycles
from sim.trace.build import build_trace

SHAPE = load_shape("stories260K")  # five layers, four KV heads of eight
FAST = SimJob(
    model="stories260K", memory="ddr5-4800", prefill=9, decode=3, batch=2, decode_array="16x16",
    decode_memory="hbm3-6400", decode_cores=2, kv_link_latency_s=0.0,
)  # fmt: skip
KV_BITS = 2 * 5 * 4 * 8 * 16 * 9 * 2


def result(job, array=None):
    return job.simulate(SHAPE, array or sized(8, 8))


def alone(job, **fields):
    kept = {"decode_array": None, "decode_memory": None, "decode_cores": None, "decode_channels": None}
    return job.model_copy(update=kept | fields)


def test_each_phase_is_that_of_its_machine_alone():
    found = result(FAST)
    first = alone(FAST).simulate(SHAPE, sized(8, 8))
    second = alone(FAST, memory="hbm3-6400", cores=2).simulate(SHAPE, sized(16, 16))
    assert found.phase("prefill").ops[:-1] == first.phase("prefill").ops
    assert found.phase("decode").ops[1:] == second.phase("decode").ops
    assert found.machine == "8x8, then 2 x 16x16"
    for name, other in (("prefill", first), ("decode", second)):
        view = found.on(name)
        assert (view.array, view.memory, view.cores) == (other.array, other.memory, other.cores)
    assert found.utilization(found.phase("decode")) == second.utilization(second.phase("decode"))


def test_k_and_v_of_the_prompt_are_read_sent_and_written_once():
    found = result(FAST)
    sent, received = found.phase("prefill").ops[-1], found.phase("decode").ops[0]
    assert (sent.name, sent.unit, sent.counts.host_link_bits, sent.counts.dram_read_bits) == (
        "kv_transfer", "link", KV_BITS, KV_BITS
    )  # fmt: skip
    assert (received.name, received.cycles, received.counts.dram_write_bits) == ("kv_received", 0, KV_BITS)
    assert any("K and V of the prompt" in note for note in found.notes)


def test_a_slow_link_by_hand():
    """1 MB/s: a layer's 2304 bytes x 2 take 4.608 ms, far longer than a layer; five of them follow the first layer."""
    found = result(FAST.model_copy(update={"kv_link_bytes_per_s": 1e6, "kv_link_latency_s": 1e-3}))
    layer = sum(op.cycles for op in found.phase("prefill").ops[:-1]) / 5
    transfer = KV_BITS / 8 / 5 / 1e6 * 1e9
    waits = found.phase("prefill").ops[-1]
    assert waits.cycles == pytest.approx(1e6 + 5 * transfer - 4 * layer, abs=1)
    assert waits.causes["output_stall"] == waits.cycles


def test_a_memory_that_writes_more_slowly_than_the_link_sends_by_hand():
    """SDR SDRAM takes a byte in write_cost / bytes_per_s, which a layer hides but for the last one's K and V."""
    job = FAST.model_copy(update={"decode_memory": "sdr-100", "kv_link_bytes_per_s": 1e12})
    found, memory = result(job), load_memory("sdr-100")
    layer = sum(op.cycles for op in found.phase("prefill").ops[:-1]) / 5
    transfer = KV_BITS / 8 / 5 * memory.write_cost / memory.bytes_per_s * 1e9
    assert transfer < layer
    assert memory.write_cost > 1
    assert found.phase("prefill").ops[-1].cycles == math.ceil(transfer)


def naive_exposed(layer, transfer, latency, layers):
    """Layers one after another; each transfer starts when its layer is done and the link is free."""
    now, link_free = 0.0, 0.0
    for _ in range(layers):
        now += layer
        link_free = max(now, link_free) + transfer
    return link_free + latency - now


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e5), st.integers(1, 40))
def test_what_prefill_waits_for_is_what_a_loop_over_the_layers_gives(layer, transfer, latency, layers):
    assert exposed_cycles(layer, transfer, latency, layers) == pytest.approx(
        naive_exposed(layer, transfer, latency, layers), rel=1e-9, abs=1.001
    )


@pytest.mark.parametrize(
    ("changes", "array", "message"),
    [
        ({"decode": 0}, sized(8, 8), "decode must be at least 1 where decode has a machine of its own"),
        ({"mixed_chunk": 4}, sized(8, 8), "mixed_chunk must be left out where decode has a machine of its own"),
        (
            {"attention": "auto"}, load_array("mobile-64x64"),
            "decode_array must keep K and V as 'mobile-64x64' does, in .* not 256 of '16x16'; with attention vector",
        ),
    ],
)  # fmt: skip
def test_runs_that_cannot_be_split_are_refused(changes, array, message):
    with pytest.raises(InputError, match=message):
        result(FAST.model_copy(update=changes), array)


def test_the_command_line_explains_each_phase_on_its_machine(capsys, tmp_path):
    options = ["--decode-array", "16x16", "--decode-memory", "hbm3-6400", "--prefill", "9", "--decode", "3"]
    path = tmp_path / "timeline.json"
    main(["run", "--model", "stories260K", "--array", "8x8", *options, "--json", "--explain", "--timeline", str(path)])
    run = json.loads(capsys.readouterr().out)
    assert run["decode_machine"]["array"] == "16x16"
    assert run["decode_machine"]["memory"] == "hbm3-6400"
    prefill, decode = run["explanation"]
    assert (prefill["phase"], decode["phase"]) == ("prefill", "decode")
    assert decode["roofline"]["ridge"] == pytest.approx(256 / (16 * 51.2 * 0.904))
    names = {event["args"].get("name") for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "M"}
    assert "decode of stories260K on 16x16" in names


def test_what_passes_the_link_is_one_op_and_prefill_keeps_no_room_for_decode():
    assert [op.count for op in result(FAST).phase("prefill").ops if op.unit == "link"] == [1]
    trace = build_trace(SHAPE, 16, 4)
    assert (_of(trace, "prefill").decode, _of(trace, "decode").decode) == (0, 4)
