"""Every derived width, depth and latency of an array by hand, with all options on and off."""

import pytest

from hw.arithmetics import ARITHMETICS
from hw.config import ArrayConfig, load_array, sized
from hw.errors import InputError

# 16 lanes x 6 columns, two bits per trit on a bus of eight bytes, chains of three lanes.
PLAIN = ArrayConfig(name="p", rows=16, cols=6, weight_bus_bits=64, chain_lanes=3, token_tile=10)
FULL = PLAIN.model_copy(
    update={"planes": 2, "group_exponent_bits": 2, "sum_of_x": True, "results": "int8", "accumulator_bits": 24}
)


BEATS = ("trit_beats", "exponent_beats", "weight_beats", "scale_bits", "scale_beats")


def figures(config, *names):
    return tuple(getattr(config, name) for name in names)


def test_a_tile_on_its_bus():
    assert figures(PLAIN, "lanes", "weight_bits", "tile_bytes") == (96, 2.0, 24)
    assert figures(PLAIN, "trit_beats", "exponent_beats", "weight_beats", "scale_bits", "scale_beats") == (
        3,
        0,
        3,
        0,
        0,
    )
    # 6 columns x 2 bits of exponent in one word; multiplier and offset of 16 bits each: 6 x 32 bits in three words
    assert figures(FULL, "trit_beats", "exponent_beats", "weight_beats", "scale_bits", "scale_beats") == (
        3,
        1,
        4,
        32,
        3,
    )
    without_offsets = FULL.model_copy(update={"sum_of_x": False})
    assert figures(without_offsets, "scale_bits", "scale_beats") == (16, 2)  # 96 bits


def test_the_pipeline_with_and_without_options():
    # six chains (5 x 3 + 1 lanes), three levels of adders, a register after two of them
    assert figures(PLAIN, "chains", "tree_levels", "column_stages", "total_stages") == (6, 3, 5, 5)
    assert figures(PLAIN, "requantizer_stages", "pipeline_latency", "result_queue_depth") == (0, 7, 9)
    assert figures(FULL, "total_stages", "requantizer_stages") == (6, 5)  # one of the exponents; 4 and the offsets'
    assert figures(FULL, "pipeline_latency", "result_queue_depth") == (13, 15)
    assert FULL.model_copy(update={"sum_of_x": False}).requantizer_stages == 4
    # shadow, active one, and every other edge of total stages and two: 7 and 8 edges
    assert (PLAIN.tiles_in_flight, FULL.tiles_in_flight) == (2 + 4, 2 + 4)
    assert PLAIN.model_copy(update={"chain_lanes": 4}).tiles_in_flight == 2 + 4  # 4 + 1 stages
    assert PLAIN.model_copy(update={"chain_lanes": 16}).tiles_in_flight == 2 + 9  # 16 stages


def test_registers_on_the_way_to_the_columns():
    spread = PLAIN.model_copy(update={"spread_stages": 2})
    assert figures(spread, "column_stages", "array_stages", "total_stages") == (5, 7, 7)
    assert figures(spread, "pipeline_latency", "result_queue_depth", "tiles_in_flight") == (9, 11, 2 + 5)
    assert FULL.model_copy(update={"spread_stages": 1}).pipeline_latency == 14
    with pytest.raises(ValueError, match="spread_stages must be 0 where organisation is systolic, not 1"):
        ArrayConfig(name="g", organisation="systolic", rows=4, cols=4, token_tile=4, spread_stages=1)


def test_accumulators():
    assert FULL.accumulator_buffer_bits == 10 * 6 * 24
    assert (PLAIN.max_exponent, FULL.max_exponent) == (0, 3)
    assert (PLAIN.max_k, FULL.max_k) == ((2**23 - 1) // 127, (2**23 - 1) // (127 * 8))


def test_options_are_named_in_their_order():
    assert PLAIN.options == []
    assert FULL.options == ["planes", "group_exponent_bits", "sum_of_x", "results"]


def test_defaults():
    array = ArrayConfig(name="d", rows=4, cols=4)
    assert array.model_dump(exclude={"name"}) == {
        "description": "",
        "organisation": "tree",
        "mac": "ternary",
        "rows": 4,
        "cols": 4,
        "packing": "2bit",
        "weight_bus_bits": 256,
        "accumulator_bits": 24,
        "token_tile": 64,
        "chain_lanes": 1,
        "adders_per_register": 2,
        "spread_stages": 0,
        "clock_hz": 1e9,
        "activation_buffer_bytes": 262144,
        "weight_buffer_bytes": 262144,
        "weight_cells": "auto",
        "activation_cells": "auto",
        "accumulator_cells": "auto",
        "planes": 1,
        "digits": False,
        "lane_loading": False,
        "group_exponent_bits": 0,
        "sum_of_x": False,
        "results": "sums",
        "vector_lanes": 64,
        "vector_units": 1,
        "attention_lanes": 0,
        "vector_bus_bits": None,
        "weight_port_bits": None,
        "activation_port_bits": None,
        "accumulator_port_bits": None,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"accumulator_bits": 11},  # 8 x 127 = 1016
        {"results": "int8", "accumulator_bits": 32},
        {"chain_lanes": 8},
        {"weight_buffer_bytes": 2 * 16},
        {"group_exponent_bits": 1, "accumulator_bits": 12},  # twice 1016
    ],
)
def test_the_last_value_that_works_works(fields):
    fields = {"name": "t", "rows": 8, "cols": 8} | fields
    assert ArrayConfig(**fields).model_dump(include=set(fields)) == fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"results": "int8", "accumulator_bits": 33}, "at most 32 where results are int8, not 33"),
        ({"group_exponent_bits": 1, "accumulator_bits": 11}, "at least 12 for a tile of 8 lanes"),
        ({"mac": "int8", "planes": 2}, "planes must keep its default but for mac ternary and organisation tree"),
        (
            {"organisation": "systolic", "token_tile": 8, "sum_of_x": True},
            "sum_of_x must keep its default but for mac ternary",
        ),
    ],
)
def test_one_more_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ArrayConfig(**{"name": "t", "rows": 8, "cols": 8} | fields)


def test_sizes_as_names():
    assert figures(load_array("8x8"), "rows", "cols", "weight_bus_bits", "accumulator_bits") == (8, 8, 16, 24)
    assert figures(sized(1, 1), "weight_bus_bits", "accumulator_bits") == (8, 24)
    assert figures(sized(100, 3), "weight_bus_bits", "name") == (80, "100x3")  # 75 bits and a byte's rest
    assert figures(load_array("1x1024"), "rows", "cols") == (1, 1024)
    assert figures(load_array("1024x1"), "rows", "cols") == (1024, 1)
    for name in ("1x1025", "8y8", "8x", "x8"):
        with pytest.raises(InputError, match=r"^array"):
            load_array(name)


BASE = ArrayConfig(
    name="b", rows=32, cols=32, packing="5in8", weight_bus_bits=256, planes=2, weight_buffer_bytes=3000, clock_hz=5e8
)


@pytest.mark.parametrize(
    ("mac", "bits", "balanced_bus", "buffer", "accumulator"),
    [
        # 1024 weights; the balanced bus is 256 * bits / 1.6, up to a byte; two tiles of the widest operand
        ("ternary", 1.6, 256, 3000, 24),
        ("int8", 8.0, 1280, 2048, 32),
        ("fp16", 16.0, 2560, 4096, 32),
        ("w4a8", 4.0, 640, 1024, 32),
        ("w2a8", 2.0, 320, 512, 32),
        ("w4a16", 4.0, 640, 4096, 32),
    ],
)
def test_baselines_have_their_own_formats_buses_and_buffers(mac, bits, balanced_bus, buffer, accumulator):
    same, balanced = BASE.baseline(mac), BASE.baseline(mac, "balanced")
    assert same.weight_bits == bits
    assert (same.weight_bus_bits, balanced.weight_bus_bits) == (256, balanced_bus)
    assert same.weight_buffer_bytes == max(3000, buffer)
    assert same.accumulator_bits == accumulator
    assert same.planes == (2 if mac == "ternary" else 1)
    assert (same.rows, same.cols, same.clock_hz) == (32, 32, 5e8)
    assert same.check_ternary() is None if mac == "ternary" else same.name == f"b/{mac}"


@pytest.mark.parametrize(
    ("mac", "figures"),
    [  # activation bits, dense passes and bits, lm_head bits, largest magnitude, product's share and bits
        ("int8", (8, 1, 8.0, 8, 127, 1.0, 16)),
        ("fp16", (16, 1, 16.0, 16, None, 1.0, None)),
        ("w4a8", (8, 2, 8.0, 8, 127, 0.5, 12)),
        ("w2a8", (8, 4, 8.0, 8, 127, 0.25, 10)),
        ("w4a16", (16, 1, 16.0, 16, None, 1.0, None)),
    ],
)
def test_what_a_product_is(mac, figures):
    one = ARITHMETICS[mac]
    found = (one.activation_bits, one.dense_passes, one.dense_bits, one.head_bits)
    assert (*found, one.largest_weight, one.product_share, one.term_bits) == figures
    assert not one.stores_trits


def test_ternary_operands():
    one = ARITHMETICS["ternary"]
    assert (one.activation_bits, one.term_bits, one.largest_weight, one.stores_trits) == (8, 8, 1, True)
    assert (one.output_scales, ARITHMETICS["fp16"].output_scales, ARITHMETICS["w4a16"].output_scales) == (None, 0, 1)
    with pytest.raises(InputError, match="mac must multiply dense operands to hold lm_head, not ternary"):
        _ = one.dense_bits
    with pytest.raises(InputError, match="mac must be ternary for gateware, not int8"):
        BASE.baseline("int8").check_ternary()


def test_a_float_array_takes_any_k():
    BASE.baseline("fp16").check_k(10**9, "anything")


def test_a_plane_of_digits_weighs_at_most_the_last_power_of_three():
    digits = ArrayConfig(name="d", rows=4, cols=4, planes=4, digits=True)
    assert digits.largest_plane_weight == 27
    assert digits.model_copy(update={"digits": False}).largest_plane_weight == 1


@pytest.mark.parametrize(("mac", "largest"), [("ternary", 1), ("int8", 127), ("w2a8", 127)])
def test_the_longest_sum_that_fits_is_one_product_short_of_the_first_that_does_not(mac, largest):
    """127 times the largest weight, K times, in 20 bits: at most 524287; shifted by one, half of it."""
    arithmetic = ARITHMETICS[mac]
    product = 127 * largest
    assert arithmetic.max_k(20) == 524287 // product
    assert arithmetic.max_k(20, 1) == 524287 // (2 * product)
    assert arithmetic.sum_bits(524287 // product) == 20
