"""Explanations name the bound that a machine was built to have, and the change that removes it."""

import math
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hw.config import ArrayConfig, load_array
from quant.shapes import load_shape
from sim.cores import ONE_CORE, CoreGroup
from sim.execution import Execution
from sim.host import Host
from sim.memory import load_memory, memory_names
from sim.reports.explain import explain, explanation_json, explanation_lines
from sim.simulator import array_formats, simulate, simulate_on, simulate_trace
from sim.trace.build import build_trace

EDGE, HBM3 = load_array("edge-32x32"), load_memory("hbm3-6400")
SHAPE = load_shape("smollm2-135m")


def explained(array, memory, execution=None, cores=ONE_CORE, shape=SHAPE, sizes=(64, 4, 1)):
    trace = build_trace(shape, *sizes, formats=array_formats(array), execution=execution)
    result = simulate_trace(trace, array, memory, cores)
    return {one.phase: one for one in explain(result, partial(simulate_on, trace))}, result


def test_decode_behind_a_narrow_bus_is_bound_by_it():
    found, _ = explained(EDGE.model_copy(update={"weight_bus_bits": 8}), HBM3)
    decode = found["decode"]
    assert max(decode.shares, key=decode.shares.get) == "weight_stall"
    assert decode.changes[0].what == "weight bus"
    assert decode.changes[0].speedup == pytest.approx(2, abs=0.1)
    assert "bound by the weight bus" in explanation_lines(decode)[0]
    assert decode.bound.what == ("weight bus",)


def test_a_slow_memory_is_bound_by_dram_and_reaches_its_roof():
    slow = load_memory("ddr4-2400").model_copy(update={"peak_bytes_per_s": 1e8, "latency_s": 0.0})
    decode = explained(EDGE, slow)[0]["decode"]
    assert max(decode.shares, key=decode.shares.get) == "dram_stall"
    assert decode.changes[0].what == "memory channels"
    assert 0.97 < decode.roofline.reached <= 1
    assert decode.roofline.macs_per_byte < decode.roofline.ridge


def test_a_starved_vector_unit_is_found():
    found, _ = explained(EDGE.model_copy(update={"vector_lanes": 1}), HBM3)
    assert found["prefill"].changes[0].what == "vector lanes"


@pytest.mark.parametrize("mac", ["ternary", "int8", "fp16"])
def test_no_phase_beats_its_roof(mac):
    found, result = explained(EDGE.baseline(mac), HBM3)
    for one in found.values():
        assert 0 < one.roofline.reached <= 1
        assert sum(one.shares.values()) == pytest.approx(1)
        assert one.cycles == result.phase(one.phase).cycles
        assert explanation_json(one)["sentences"]
        assert 0 < one.roofline.dram_busy <= 1
        assert one.dram_efficiency + sum(one.dram_losses) == pytest.approx(1, abs=0.002)


def test_what_interleaving_bank_groups_would_gain_is_said_where_it_gains():
    """DDR4-2400 gives 62.7 % of its peak as it is and 92.8 % interleaved; LPDDR5 hardly gains."""
    found, _ = explained(EDGE, load_memory("ddr4-2400"))
    assert found["decode"].interleaving == pytest.approx(0.928 / 0.627, rel=0.01)
    assert "interleaves bank groups would make its streams 1.48x as fast" in "".join(explanation_lines(found["decode"]))
    found, _ = explained(EDGE, load_memory("lpddr5-6400"))
    assert "interleaves" not in "".join(explanation_lines(found["decode"]))


def test_a_run_without_dram_traffic_is_explained():
    array = load_array("8x8").model_copy(update={"weight_buffer_bytes": 1 << 22, "activation_buffer_bytes": 1 << 20})
    result = simulate(load_shape("stories260K"), array, HBM3, 4, 2, execution=Execution(on_chip=True))
    (_, decode) = explain(result, lambda machine: result)
    assert decode.roofline.macs_per_byte == math.inf
    assert "the array is the roof" in "".join(explanation_lines(decode))


arrays = st.builds(
    lambda rows, cols, mac, **fields: ArrayConfig(name="a", rows=rows, cols=cols, **fields).baseline(mac),
    st.sampled_from([8, 32, 48]),
    st.sampled_from([8, 32, 64]),
    st.sampled_from(["ternary", "int8"]),
    weight_bus_bits=st.sampled_from([16, 64, 256, 1024]),
    vector_lanes=st.sampled_from([4, 32, 256]),
    token_tile=st.sampled_from([16, 64]),
    weight_buffer_bytes=st.sampled_from([1 << 14, 1 << 18]),
    activation_buffer_bytes=st.sampled_from([1 << 12, 1 << 18]),
)
memories = st.builds(
    lambda name, channels, latency_s: load_memory(name).model_copy(
        update={"channels": channels, "latency_s": latency_s, "channel_bytes": None}  # none is too small
    ),
    st.sampled_from(memory_names()),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([0.0, 60e-9]),
)
placements = st.sampled_from([{}, {"lm_head": "host"}, {"gate": "host", "softmax": "host"}])


def every_doubling(shape, array, memory, cores, execution, sizes):
    """What is doubled -> phase -> cycles, in this test's own words."""

    def run(machine=array, dram=memory, group=cores, host=execution.host):
        result = simulate(
            shape, machine, dram, *sizes, cores=group, execution=execution.model_copy(update={"host": host})
        )
        return {phase.name: phase.cycles for phase in result.phases}

    def wider(**fields):
        return ArrayConfig(**array.model_dump() | fields)

    host = {name: 2 * getattr(execution.host, name) for name in ("macs_per_s", "operations_per_s", "link_bytes_per_s")}
    tiles = 4 * cores.count * array.tile_bytes
    return {
        "memory channels": run(dram=memory.model_copy(update={"channels": 2 * memory.channels})),
        "memory latency": run(dram=memory.model_copy(update={"latency_s": memory.latency_s / 2})),
        "columns": run(wider(cols=2 * array.cols, weight_buffer_bytes=max(array.weight_buffer_bytes, tiles))),
        "weight bus": run(wider(weight_bus_bits=2 * array.weight_bus_bits)),
        "vector lanes": run(wider(vector_lanes=2 * array.vector_lanes)),
        "activation buffer": run(wider(activation_buffer_bytes=2 * array.activation_buffer_bytes)),
        "weight buffer": run(wider(weight_buffer_bytes=2 * array.weight_buffer_bytes)),
        "host": run(host=Host(**host, source="twice", latency_s=execution.host.latency_s / 2)),
    }


models = st.sampled_from(["smollm2-135m", "stories260K"])
sizes_of_runs = st.sampled_from([(33, 2, 1), (4, 3, 5)])


def agree(name, array, memory, count, placement, sizes):
    """Of all doublings the bound's helps most; and none saves more than twice the cycles that its cause is charged.

    One mapping, since more of anything may make another one better, whose cycles are nobody's fault.
    """
    cores = CoreGroup(count=count, split="columns")
    execution = Execution(placement=placement, mapping="tokens", descriptor_tokens=64)
    array = cores.fed(array)
    found, result = explained(array, memory, execution, cores, load_shape(name), sizes)
    doubled = every_doubling(load_shape(name), array, memory, cores, execution, sizes)
    for phase in result.phases:
        bound, speedups = (
            found[phase.name].bound,
            {what: phase.cycles / run[phase.name] for what, run in doubled.items()},
        )
        if len(bound.what) == 1:
            assert speedups[bound.what[0]] == bound.speedup == max(speedups.values())
        else:
            assert max(speedups.values()) < 1.01
        saved = {what: phase.cycles - run[phase.name] for what, run in doubled.items()}
        charged, rounding = phase.causes, sum(3 * op.count for op in phase.ops)
        assert saved["weight bus"] <= 2 * charged["weight_stall"] + charged["fill_drain"] + rounding
        assert saved["vector lanes"] <= charged["vector"] + rounding
        assert saved["memory channels"] <= 2 * charged["dram_stall"] + rounding
        assert saved["memory latency"] <= charged["dram_stall"] + rounding
        assert saved["host"] <= charged["host"] + rounding


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models, arrays, memories, st.sampled_from([1, 3]), placements, sizes_of_runs)
def test_what_a_phase_is_bound_by_helps_most_when_doubled_and_the_causes_agree(
    name, array, memory, count, placement, sizes
):
    agree(name, array, memory, count, placement, sizes)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(models, arrays, memories, st.sampled_from([1, 3]), placements, sizes_of_runs)
def test_the_same_of_many_machines(name, array, memory, count, placement, sizes):
    agree(name, array, memory, count, placement, sizes)


def test_two_rates_that_are_level_are_named_together():
    """Tiles of 8 beats from a memory that takes 8 cycles: each alone helps nothing; 7 beats hide behind the memory."""
    memory = HBM3.model_copy(
        update={
            "channels": 1,
            "peak_bytes_per_s": 32e9,
            "sequential_efficiency": 1.0,
            "latency_s": 0.0,
            "dram": None,
            "channel_bytes": None,
        }
    )
    level = EDGE.model_copy(update={"weight_bus_bits": 256, "vector_lanes": 4096})

    def decode(array):
        return explained(array, memory, shape=load_shape("llama2-7b"), sizes=(4, 4, 1))[0]["decode"]

    one = decode(level)
    assert one.bound.what == ("memory channels",)  # also of lm_head and the KV cache, on the vector unit
    assert one.bound.level_with[0] == "weight bus"
    assert "weight bus close behind" in explanation_lines(one)[0]
    one = decode(level.model_copy(update={"weight_bus_bits": 8 * 37}))
    assert one.bound.what == ("memory channels",)
    assert one.shares["weight_stall"] < 0.01
    one = decode(level.model_copy(update={"weight_bus_bits": 8 * 31}))  # nine beats
    assert one.bound.what == ("weight bus",)
    assert one.shares["weight_stall"] > 0.8
