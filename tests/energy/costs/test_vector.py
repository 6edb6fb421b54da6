"""The vector unit from its measured blocks: shares of blocks by op, formats by array, libraries without blocks."""

import json
from pathlib import Path

import pytest

from energy.costs.sources import load_source
from energy.costs.vector import OPERATIONS, block_rows
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
