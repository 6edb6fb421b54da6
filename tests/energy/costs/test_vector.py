"""The vector unit from its measured blocks: shares of blocks by op, formats by array, libraries without blocks."""

import json
from pathlib import Path

import pytest

from energy.costs.sources import load_source
from energy.costs.vector import OPERATIONS, BlockRow, VectorUnit, block_rows, vector_unit
from hw.config import load_array

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "hw" / "gates" / "results"
ASAP7 = {row["block"]: row for row in json.loads((RESULTS / "vector-asap7.json").read_text())["blocks"]}
COSTS = load_source("gates:asap7")
ARRAY = load_array("mobile-64x64")


def filled(*names):
    return sum(ASAP7[name]["filled_j"] for name in names)


@pytest.mark.parametrize(
    ("op", "joules"),
    [
        ("attention_norm", filled("square", "norm") / 3),
        ("final_norm", filled("square", "norm") / 3),
        ("rope", filled("rotary") / 6),
        ("gate", filled("glu") / 5),
        ("quantize_mlp_input", filled("quantize") / 2),
        ("kv_cache_write", filled("quantize") / 2),
        ("softmax", filled("score", "exponential") / 5),
        ("rotate", filled("hadamard") / 24),
        ("mlp_residual", filled("residual")),
        ("qkv_bias", filled("residual")),
    ],
)
def test_an_operation_takes_its_share_of_the_block_that_does_the_element(op, joules, close):
    cost = COSTS.element(op, ARRAY)
    assert cost.typical == close(joules)
    assert 0 < cost.low <= cost.typical <= cost.high


def test_a_scale_takes_both_products_of_the_dequantizer(close):
    row = ASAP7["dequantize"]
    assert tuple(COSTS.scale(ARRAY)) == close((row["sized_j"], row["filled_j"], row["filled_j"]))


def test_a_float_array_keeps_lanes_of_floats(close):
    floats = ARRAY.baseline("fp16")
    assert COSTS.scale(floats) == COSTS.vector_mac("fp16")
    assert COSTS.element("gate", floats).typical == close(COSTS.vector_mac("fp16").typical / 2)


def test_a_library_without_blocks_takes_the_references_as_int8_lanes_differ(close):
    def lane(library):
        rows = json.loads((RESULTS / f"{library}.json").read_text())["rows"].values()
        return next(row["dynamic_j"] for row in rows if row["design"] == "lane int8-20")

    assert block_rows("gt2n") is None
    ratio = load_source("gates:gt2n").element("gate", ARRAY).typical / COSTS.element("gate", ARRAY).typical
    assert ratio == close(lane("gt2n") / lane("asap7"))
    assert "as int8 lanes of gt2n and asap7" in load_source("gates:gt2n").vector_recipe(ARRAY)


def test_every_block_was_checked_and_every_kind_of_work_has_its_blocks():
    """Netlists equal the RTL in every output bit of every cycle; a committed file of fewer blocks is none."""
    synthesized = json.loads((ROOT / "docs" / "results" / "vector-unit.json").read_text())["blocks"]
    assert set(ASAP7) == {row["block"] for row in synthesized}
    assert set(ASAP7) >= {name for work in OPERATIONS.values() for name in work.blocks}
    assert all(row["outputs_checked"] > 5000 for row in ASAP7.values())
    for row in synthesized:
        found = ASAP7[row["block"]]
        assert (found["latency"], found["multiplications"]) == (row["latency"], row["multiplications"]), row["block"]


def block(name, **fields):
    """A block whose figures differ from every other one's."""
    number = HAND.index(name) + 1
    values = {"latency": 1, "multiplications": 1, "cells": 1, "area_um2": 100.0 * number**2, "critical_s": 1e-9}
    values |= {"filled_j": 1e-12 * number, "sized_j": 1.5e-12 * number, "clock_j": 2e-13 * number, "leakage_w": 1e-9}
    return BlockRow(block=name, **values | fields)


HAND = ["accumulate", "exponential", "glu", "dequantize", "norm", "square", "rotary", "quantize", "score", "hadamard"]
HAND += ["residual"]
AREA = {name: 100.0 * (place + 1) ** 2 for place, name in enumerate(HAND)}


def hand_unit(energy=1.0, area=1.0, **changed):
    rows = {name: block(name, **changed.get(name, {})) for name in HAND}
    return VectorUnit(rows, "hand", energy, area)


@pytest.mark.parametrize("energy", [1.0, 3.0])
def test_an_operation_ranges_over_rows_that_fill_the_unit_and_rows_that_are_sized_to_it(close, energy):
    """A norm is square (6 pJ) and norm (5 pJ) for three operations; sized rows take half as much again, or less."""
    unit = hand_unit(energy)
    assert tuple(unit.operation("mlp_norm")) == close([energy * 11e-12 / 3, energy * 11e-12 / 3, energy * 16.5e-12 / 3])
    cheaper = hand_unit(energy, glu={"sized_j": 1e-12})
    assert tuple(cheaper.operation("gate")) == close([energy * 1e-12 / 5, energy * 3e-12 / 5, energy * 3e-12 / 5])
    assert tuple(unit.work("addition")) == close([energy * 11e-12, energy * 11e-12, energy * 16.5e-12])


@pytest.mark.parametrize(
    ("op", "kind"),
    [("rope", "rope"), ("gate", "gate"), ("softmax", "softmax"), ("routing", "softmax"), ("logit_softcap", "gate"),
     ("rotate", "rotate"), ("kv_cache_write", "quantize"), ("quantize_head_input", "quantize"), ("q_norm", "norm"),
     ("normalise", "addition"), ("requantize", "addition"), ("experts_sum", "addition")],
)  # fmt: skip
def test_every_op_is_one_kind_of_work(op, kind):
    assert hand_unit().operation(op) == hand_unit().work(kind)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_lane_is_a_datapath_with_two_tables_between_one_multiplier_and_a_block_for_every_work(close, factor):
    """Low: norm and exponential; typical: accumulate, exponential, and what a glu has over a dequantizer."""
    unit = hand_unit(area=factor)
    tables = AREA["exponential"] + AREA["glu"] - AREA["dequantize"]
    own = {"square": 3, "norm": 3, "rotary": 6, "glu": 5, "quantize": 2, "score": 5, "exponential": 5, "hadamard": 24}
    every = sum(AREA[name] / count for name, count in own.items()) + AREA["residual"] + AREA["dequantize"]
    assert unit.tables_area_um2 == close(factor * tables)
    found = [AREA["norm"] + AREA["exponential"], AREA["accumulate"] + tables, every]
    assert tuple(unit.lane_area_um2) == close([factor * area for area in found])
    wide = hand_unit(area=factor, accumulate={"area_um2": 1e6})
    assert wide.lane_area_um2.high == wide.lane_area_um2.typical == close(factor * (1e6 + tables))


def test_a_lane_leaks_as_its_datapath_does_per_area_and_clocks_as_it_does(close):
    unit = hand_unit(3.0, 0.5, accumulate={"leakage_w": 7e-9})
    lane = AREA["accumulate"] + AREA["exponential"] + AREA["glu"] - AREA["dequantize"]
    assert unit.lane_leakage_w == close(7e-9 / AREA["accumulate"] * lane * 0.5 * 3.0)
    assert unit.clock_share == close(0.2)


def test_factors_of_a_library_without_blocks_are_those_of_its_lane(close):
    own, other = vector_unit("asap7", (1.0, 1.0), (1.0, 1.0)), vector_unit("none", (6e-14, 20.0), (2e-14, 50.0))
    assert other.operation("rope").high == close(3 * own.operation("rope").high)
    assert other.lane_area_um2.typical == close(0.4 * own.lane_area_um2.typical)
    assert other.recipe == "integer blocks with asap7 cells x 3, as int8 lanes of none and asap7"
    assert own.recipe == "integer blocks with asap7 cells, 24 x 16 bit products"
