"""Shipped machines are balanced: on each axis of their studies less costs something, and twice as much gains little."""

import pytest

from energy.area import area_of
from energy.costs.sources import load_source
from energy.job import Rivals, simulate_machines
from energy.model import energy_of
from energy.study.document import load_study, study_names
from hw.config import ArrayConfig, load_array
from quant.shapes import load_shape
from sim.memory import load_memory

MACHINES = ("edge-32x32-balanced", "mobile-64x64", "server-128x128")
LOSS = 0.03  # of one figure at least, where an axis is a step lower
GAIN = 0.10  # of a time at most, where it is a step higher


def figures(job, array):
    result = job.simulate(load_shape(job.model), array)
    energy = energy_of(result, load_source(job.costs))
    found = {"area": area_of(array, load_source(job.costs)).total.typical}
    for name in ("prefill", "decode"):
        phase = energy.phase(name)
        found |= {f"{name}_s": phase.seconds / phase.tokens, f"{name}_j": phase.joules_per_token}
    return found


def changed(job, array, axis, value):
    if axis.startswith("array."):
        return job, ArrayConfig(**array.model_dump() | {axis.removeprefix("array."): value})
    return job.model_copy(update={axis: value}), array


@pytest.mark.parametrize("name", [f"{machine}-{topic}" for machine in MACHINES for topic in ("memory", "buffers")])
def test_a_step_down_costs_and_a_step_up_gains_little(name):
    study = load_study(name)
    job, array = study.base, load_array(study.base.array)
    own = figures(job, array)
    for axis, values in study.axes.items():
        mine = getattr(array, axis.removeprefix("array.")) if axis.startswith("array.") else getattr(job, axis)
        place = values.index(mine)
        lower = figures(*changed(job, array, axis, values[place - 1]))
        assert place > 0
        assert max(lower[key] / own[key] for key in own) > 1 + LOSS, (axis, lower, own)
        if place + 1 < len(values):
            higher = figures(*changed(job, array, axis, values[place + 1]))
            assert min(higher[f"{phase}_s"] / own[f"{phase}_s"] for phase in ("prefill", "decode")) > 1 - GAIN, axis


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_has_its_studies(machine):
    assert {f"{machine}-memory", f"{machine}-buffers"} <= set(study_names())
    assert load_study(f"{machine}-memory").base.array == machine


def test_mobile_reaches_what_its_memory_allows():
    """LLaMA-2-7B, 512 + 128, LPDDR5-6400: 29 tokens/s of about 33, prefill in 1.1 s at no more than INT8's power."""
    job = load_study("mobile-64x64-memory").base
    assert (job.memory, job.prefill, job.decode, job.model) == ("lpddr5-6400", 512, 128, "llama2-7b")
    found = figures(job, load_array("mobile-64x64"))
    int8 = figures(job, load_array("edge-32x32").baseline("int8"))
    assert 1 / found["decode_s"] >= 29
    assert 512 * found["prefill_s"] <= 1.1
    assert found["prefill_j"] / found["prefill_s"] <= int8["prefill_j"] / int8["prefill_s"]


@pytest.mark.parametrize(("prompt", "behind"), [(512, 0.04), (2048, 0.10)])
def test_attention_on_the_array_keeps_prefill_beside_int8_of_equal_lanes(prompt, behind):
    """Today it is ahead: 12 % and 4 %, each with its own balanced bus."""
    job = load_study("mobile-64x64-memory").base.model_copy(update={"prefill": prompt, "decode": 1})
    own = load_array("mobile-64x64")
    ternary, int8 = (figures(job, machine)["prefill_s"] for machine in (own, own.baseline("int8", "balanced")))
    assert ternary <= (1 + behind) * int8


def test_of_equal_compute_area_ternary_prefill_is_three_times_as_fast():
    job = load_study("mobile-64x64-memory").base
    summary, _ = simulate_machines(
        job, load_shape(job.model), None, Rivals(rivals="int8", rival_bus="balanced", hold="compute-area")
    )
    ternary, int8 = summary.machines
    assert int8.phase("prefill").seconds >= 3 * ternary.phase("prefill").seconds


@pytest.mark.parametrize("machine", MACHINES)
def test_vector_lanes_keep_up_with_the_memory_while_lm_head_streams(machine):
    """A byte per weight: the vector unit takes less time for lm_head than DRAM, and with half of its lanes more."""
    job = load_study(f"{machine}-memory").base
    array, memory = load_array(machine), load_memory(job.memory)
    bytes_per_cycle = memory.bytes_per_cycle(array.clock_hz)
    assert array.vector_lanes / 2 < bytes_per_cycle <= array.vector_lanes


def test_the_old_edge_array_keeps_its_numbers():
    old = load_array("edge-32x32")
    assert (old.rows, old.cols, old.packing, old.weight_bus_bits) == (32, 32, "2bit", 256)
    assert (old.weight_buffer_bytes, old.activation_buffer_bytes, old.vector_lanes) == (262144, 262144, 64)
