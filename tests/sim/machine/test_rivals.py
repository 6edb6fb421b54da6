"""Rivals with narrow weights: what they read from DRAM, and how K, V and lm_head pass them in digits."""

import pytest

from hw.arithmetics import ARITHMETICS
from hw.config import load_array, sized
from quant.shapes import load_shape
from sim.memory import load_memory
from sim.simulator import simulate

LPDDR5 = load_memory("lpddr5-6400")
SHAPE = load_shape("stories260K")
ARRAY = sized(8, 8)


def run(mac, bus="same"):
    return simulate(SHAPE, ARRAY.baseline(mac, bus), LPDDR5, 9, 3)


def op_of(result, phase, name):
    return next(op for op in result.phase(phase).ops if op.name == name)


@pytest.mark.parametrize(("mac", "bits"), [("ternary", 2), ("w2a8", 2), ("w4a8", 4), ("w4a16", 4), ("int8", 8)])
def test_a_linear_reads_its_weights_once_at_their_own_width(mac, bits):
    op = op_of(run(mac), "decode", "q_proj")
    n, k = SHAPE.linear("q_proj")  # both multiples of 8: no padding
    assert op.counts.dram_read_bits == 3 * SHAPE.layers * n * k * bits


@pytest.mark.parametrize(("mac", "passes"), [("w4a8", 2), ("w2a8", 4)])
@pytest.mark.parametrize("name", ["attention_scores", "attention_values", "lm_head"])
def test_eight_bit_operands_pass_in_digits_and_read_no_more_than_an_int8_array_does(mac, passes, name):
    dense, narrow = op_of(run("int8"), "prefill", name), op_of(run(mac), "prefill", name)
    assert narrow.unit == "array"
    assert narrow.counts.array_macs == passes * dense.counts.array_macs
    assert narrow.counts.dram_read_bits == dense.counts.dram_read_bits
    assert narrow.counts.scale_multiplies == dense.counts.scale_multiplies  # a digit's power of two is a shift
    assert narrow.causes["ideal"] == passes * dense.causes["ideal"]


@pytest.mark.parametrize("name", ["attention_scores", "lm_head"])
def test_fp16_operands_pass_a_w4a16_array_as_they_pass_an_fp16_array(name):
    assert op_of(run("w4a16"), "decode", name) == op_of(run("fp16"), "decode", name)


@pytest.mark.parametrize("mac", [name for name, one in ARITHMETICS.items() if not one.stores_trits])
def test_a_balanced_bus_takes_a_tile_in_as_many_cycles(mac):
    array = load_array("edge-32x32")  # 1024 trits of two bits over 256 bits
    bits = {"int8": 8, "fp16": 16, "w4a8": 4, "w2a8": 2, "w4a16": 4}[mac]
    balanced = array.baseline(mac, "balanced")
    assert balanced.weight_bus_bits == 128 * bits
    assert balanced.weight_beats == array.weight_beats == 8
    assert array.baseline(mac).weight_bus_bits == 256
