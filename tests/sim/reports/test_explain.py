"""Explanations name the bound that a machine was built to have, and the change that removes it."""

import math

import pytest

from hw.config import load_array
from quant.shapes import load_shape
from sim.cores import ONE_CORE
from sim.execution import Execution
from sim.memory import load_memory
from sim.reports.explain import explain, explanation_json, explanation_lines
from sim.simulator import simulate

EDGE, HBM3 = load_array("edge-32x32"), load_memory("hbm3-6400")
SHAPE = load_shape("smollm2-135m")


def explained(array, memory):
    def rerun(machine, dram, cores=ONE_CORE):
        return simulate(SHAPE, machine, dram, prefill=64, decode=4, cores=cores)

    result = rerun(array, memory)
    return {one.phase: one for one in explain(result, rerun)}, result


def test_decode_behind_a_narrow_bus_is_bound_by_it():
    found, _ = explained(EDGE.model_copy(update={"weight_bus_bits": 8}), HBM3)
    decode = found["decode"]
    assert max(decode.shares, key=decode.shares.get) == "weight_stall"
    assert decode.changes[0].what == "weight bus"
    assert decode.changes[0].speedup == pytest.approx(2, abs=0.1)
    assert "bound by the weight bus" in explanation_lines(decode)[0]


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
    (_, decode) = explain(result, lambda machine, memory, cores: result)
    assert decode.roofline.macs_per_byte == math.inf
    assert "the array is the roof" in "".join(explanation_lines(decode))
