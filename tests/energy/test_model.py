"""Energy of a run whose counts were chosen by hand, every part recomputed by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy.costs.sources import OperatorSource, load_source
from energy.costs.tables import load_costs
from energy.model import energy_of
from energy.summary import summarize
from hw.config import ArrayConfig, sized
from quant.shapes import load_shape
from sim.counts import ActionCounts
from sim.memory import load_memory
from sim.result import CAUSES, OpResult, PhaseResult, SimResult
from sim.simulator import simulate

KIB = 1024
CYCLES = 2_000_000
COUNTS = ActionCounts(
    array_macs=1000,
    array_macs_active=400,
    vector_macs=30,
    vector_ops=20,
    scale_multiplies=10,
    weight_buffer_read_bits=256,
    weight_buffer_write_bits=512,
    activation_buffer_read_bits=1024,
    activation_buffer_write_bits=2048,
    accumulator_read_bits=4096,
    accumulator_write_bits=8192,
    dram_read_bits=7000,
    dram_write_bits=3000,
    vector_float_macs=5,
)


def _result(mac="ternary"):
    array = ArrayConfig(
        name="hand",
        mac=mac,
        rows=4,
        cols=4,
        accumulator_bits=24,
        token_tile=64 * KIB * 8 // (4 * 24) + 1,  # accumulator buffer of 64 KiB, to within one token
        clock_hz=1e9,
        activation_buffer_bytes=64 * KIB,
        weight_buffer_bytes=64 * KIB,
    )
    causes = dict.fromkeys(CAUSES, 0) | {"ideal": CYCLES}
    op = OpResult(name="q_proj", unit="array", count=1, macs=1000, cycles=CYCLES, causes=causes, counts=COUNTS)
    phase = PhaseResult(name="decode", tokens=6, steps=3, ops=[op])
    return SimResult(
        model="hand",
        shape=load_shape("stories260K"),
        method="",
        array=array,
        memory=load_memory("lpddr5-6400"),
        prefill=1,
        decode=3,
        batch=2,
        phases=[phase],
    )


@pytest.fixture(scope="module")
def parts():
    return energy_of(_result(), load_source("horowitz-45nm")).phase("decode").parts


def test_array_is_active_macs_times_a_four_lane_tree(parts, close):
    def adder(bits):
        return 0.03 + 0.07 * (bits - 8) / 24

    assert parts["array"].typical == close(400 * (2 * adder(9) + adder(10) + adder(24)) / 4 * 1e-12)


def test_vector_unit_is_int8_macs_fp16_corrections_and_element_ops_and_fp32_scales(parts, close):
    corrections = 5 * (1.1 + 0.9)  # an FP16 product and an FP32 sum
    assert parts["vector"].typical == close((30 * (0.2 + 0.1) + corrections + 20 * 1.1 + 10 * 3.7) * 1e-12)


def test_sram_is_each_buffers_bits_at_the_64_kib_array(parts):
    read, write = 41.71 / 256, 51.89 / 256
    expected = (256 + 1024 + 4096) * read + (512 + 2048 + 8192) * write
    assert parts["sram"].typical == pytest.approx(expected * 1e-12, rel=1e-3, abs=0)  # the buffer is one token larger


def test_dram_is_what_bits_rows_standby_and_refresh_take_by_hand(parts, close):
    """LPDDR5, one chip per channel: mA of the data sheet times 1.05, 1.8 and 0.5 V, and what chips draw of that."""
    read = 0.736 * (1.05 * 350 + 1.8 * 15.2 + 0.5 * 111.3) * 1e-3 / 120e9 + 1.5e-12
    write = 0.542 * (1.05 * 225 + 1.8 * 13.7) * 1e-3 / 120e9 + 1.5e-12
    assert parts["dram"].typical == close(7000 * read + 3000 * write)
    row = 1.05 * (53 * 61.25 - 40 * 42.5 - 32.5 * 18.75) + 1.8 * (3.8 * 61.25 - 2.8 * 42.5 - 1.5 * 18.75)
    assert parts["dram_rows"].typical == close(1.1 * 10_000 / 8 / 2048 * 0.427 * row * 1e-12)
    seconds = CYCLES / 1e9
    closed = 0.566 * (1.05 * 32.5 + 1.8 * 1.5 + 0.5 * 0.6) * 1e-3  # more than 0.367 of open rows' current
    assert parts["dram_standby"].typical == close(4 * seconds * closed)
    powered_down = 0.383 * (1.05 * 3.9 + 1.8 * 1.5 + 0.5 * 0.6) * 1e-3
    assert parts["dram_standby"].low == pytest.approx(4 * seconds * powered_down, rel=1e-3)  # busy for 0.01 % of it
    refresh = 0.829 * (1.05 * (205 - 32.5) + 1.8 * (2.8 - 1.5)) * 1e-3 * 280 / 3906
    assert parts["dram_refresh"].typical == close(4 * seconds * refresh)


def test_leakage_is_three_buffers_and_a_tenth_of_full_logic_power_over_the_time(parts):
    def adder(bits):
        return 0.03 + 0.07 * (bits - 8) / 24

    seconds = CYCLES / 1e9
    logic_w = 0.1 * 16 * 1e9 * (2 * adder(9) + adder(10) + adder(24)) / 4 * 1e-12
    expected = (3 * 31.17e-3 + logic_w) * seconds
    assert parts["leakage"].typical == pytest.approx(expected, rel=1e-3, abs=0)


def test_sram_factor_of_a_smaller_node_is_applied(close):
    table = load_costs("horowitz-45nm")
    costs = OperatorSource(table)
    half = OperatorSource(table.model_copy(update={"sram": table.sram.model_copy(update={"factor": 0.5})}))
    full = energy_of(_result(), costs).phase("decode").parts["sram"]
    assert energy_of(_result(), half).phase("decode").parts["sram"].typical == close(full.typical / 2)


def test_summary_divides_by_tokens_and_seconds(close):
    costs = load_source("horowitz-45nm")
    summary = summarize([_result(), _result("int8")], costs, [], None)
    phase = summary.ternary.phase("decode")
    assert phase.seconds == close(2e-3)
    assert phase.tokens_per_s == close(6 / 2e-3)
    assert phase.joules_per_token["dram"].typical * 6 == close(
        energy_of(_result(), costs).phase("decode").parts["dram"].typical
    )
    assert phase.utilization == close(1000 / (16 * CYCLES))


def test_reduction_is_one_minus_ternary_over_baseline(close):
    costs = load_source("horowitz-45nm")
    results = [_result(), _result("int8")]
    saved = summarize(results, costs, [], None).reductions[0]
    ternary, int8 = (energy_of(result, costs).phase("decode") for result in results)
    assert saved.latency == 0
    assert saved.array_energy == close(1 - ternary.parts["array"].typical / int8.parts["array"].typical)
    assert 0 < saved.system_energy < saved.compute_energy < saved.array_energy < 1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(2, 5), st.sampled_from(["ternary", "int8", "fp16"]))
def test_energy_is_additive_over_layers(layers, factor, mac):
    """A model with as many layers again takes as much energy again, but for embedding, final norm and lm_head."""
    costs, memory, shape = load_source("horowitz-45nm"), load_memory("ddr4-2400"), load_shape("stories260K")
    array = sized(4, 4).baseline(mac)

    def energy(count):
        result = simulate(shape.model_copy(update={"layers": count}), array, memory, 5, 2)
        return [phase.total.typical for phase in energy_of(result, costs).phases]

    none = [2 * one - two for one, two in zip(energy(1), energy(2), strict=True)]
    for rest, one, many in zip(none, energy(layers), energy(layers * factor), strict=True):
        assert many - rest == pytest.approx(factor * (one - rest), rel=1e-9)
