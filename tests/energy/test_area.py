"""Area of every part equals sums by hand over the committed files, ordered, and told by the commands."""

import json
import re
from pathlib import Path

import pytest
import yaml

from energy.__main__ import main
from energy.area import AREA_PARTS, area_of
from energy.costs.sources import load_source, source_names
from energy.costs.tables import load_sram
from hw.arithmetics import ARITHMETICS
from hw.config import ArrayConfig
from sim.cores import CoreGroup

ROOT = Path(__file__).parents[2]
TECH = ROOT / "energy" / "tech"
ASAP7 = json.loads((ROOT / "hw" / "gates" / "results" / "asap7.json").read_text())["rows"]
VECTOR = json.loads((ROOT / "hw" / "gates" / "results" / "vector-asap7.json").read_text())["blocks"]
LOGIC = yaml.safe_load((TECH / "area" / "logic.yaml").read_text())
KIB = 1024


def array(**fields):
    return ArrayConfig(name="hand", **{"rows": 32, "cols": 16, "weight_buffer_bytes": 64 * KIB} | fields)


def cells(key):
    return ASAP7[key]["area_um2"]


def parts(machine, costs="gates:asap7", cores=1):
    return area_of(machine, load_source(costs), CoreGroup(count=cores)).parts_mm2


def test_lanes_are_those_of_the_measured_tree_behind_the_utilization(close):
    """512 lanes of a 16 x 4 tree with 24-bit accumulators; cells cover 60, 75 or 90 % of a block."""
    lanes = 512 * cells("tree ternary-24 16x4 zeros 0.4") / 64 / 1e6
    assert tuple(parts(array())["array"]) == close((lanes / 0.9, lanes / 0.75, lanes / 0.6))


@pytest.mark.parametrize(
    ("mac", "design"),
    [("int8", "int8-32"), ("w4a8", "int4-32"), ("w2a8", "int2-32"), ("fp16", "fp16-fp32"), ("w4a16", "fp16-fp32")],
)
def test_rivals_have_the_lanes_of_their_own_trees(mac, design, close):
    found = parts(array().baseline(mac))["array"].typical
    assert found == close(512 * cells(f"tree {design} 16x4 zeros 0.4") / 64 / 1e6 / 0.75)


def test_an_output_stationary_element_holds_its_sum_itself(close):
    grid = array(rows=8, cols=16, organisation="systolic", token_tile=8)
    found = parts(grid)
    assert found["accumulators"].typical == 0
    assert found["array"].typical == close(128 * cells("lane ternary-24 zeros 0.4") / 1e6 / 0.75)


def test_buffers_are_macros_of_cacti_shrunk_to_the_node(close):
    """64 KiB of weights, 256 KiB of activations: CACTI 7 at 22 nm, low standby power cells or those asked for."""
    for cells_, (bank, whole) in {"lstp": (0.0650, 0.2474), "hp": (0.0476, 0.2453)}.items():
        low = (bank + min(4 * bank, whole)) * 0.27
        high = (bank + max(4 * bank, whole)) * 0.39
        asked = {} if cells_ == "lstp" else {"weight_cells": cells_, "activation_cells": cells_}
        assert tuple(parts(array(**asked))["sram"]) == close((low, 5 * bank * 0.33, high))


def test_accumulators_are_two_ported_macros_below_the_smallest_in_proportion(close):
    machine = array(token_tile=128)  # 128 x 16 sums of 24 bits: 6 KiB
    assert parts(machine)["accumulators"].typical == close(0.0650 * 6 / 64 * 0.33 * 1.5)


def block(name, field="area_um2"):
    return next(row[field] for row in VECTOR if row["block"] == name)


def test_a_vector_lane_is_the_measured_datapath_with_two_tables(close):
    """An int8 multiply-accumulate stands beside it where the array cannot take attention; a float lane has one only."""
    tables = block("exponential") + block("glu") - block("dequantize")
    lane, int8, fp16 = block("accumulate") + tables, cells("lane int8-32 zeros 0.4"), cells("lane fp16-fp32 zeros 0.4")
    machine = array(vector_lanes=10)
    assert parts(machine)["vector"].typical == close(10 * (lane + int8) / 1e6 / 0.75)
    assert parts(machine.baseline("int8"))["vector"].typical == close(10 * lane / 1e6 / 0.75)
    assert parts(machine.baseline("fp16"))["vector"].typical == close(10 * (fp16 + tables) / 1e6 / 0.75)
    simplest = block("norm") + block("exponential")
    assert parts(machine)["vector"].low == close(10 * (simplest + int8) / 1e6 / 0.9)
    own = (block("square") + block("norm")) / 3 + block("rotary") / 6 + block("glu") / 5 + block("quantize") / 2
    own += (block("score") + block("exponential")) / 5 + block("hadamard") / 24 + block("residual")
    assert parts(machine)["vector"].high == close(10 * (own + block("dequantize") + int8) / 1e6 / 0.6)


def test_requantizers_stand_only_where_results_are_int8(close):
    assert parts(array())["requantizers"].typical == 0
    product = (cells("lane int8-32 zeros 0.4") - cells("lane ternary-32 zeros 0.4")) / 64
    found = parts(array(results="int8"))["requantizers"].typical
    assert found == close(16 * 24 * 16 * product / 1e6 / 0.75)  # columns x sum bits x scale bits


def test_sequencing_is_a_shadow_tile_and_the_control_that_was_synthesized(close):
    control = 994 / 13.0 * cells("tree ternary-24 16x4 zeros 0.4") / 64
    assert parts(array())["sequencing"].typical == close((512 * 2 * 0.2916 + control) / 1e6 / 0.75)


def test_digits_stand_behind_every_column_and_lane_loading_before_every_stored_bit(close):
    """32 lanes: adders of 15, 18 and 20 bits, each bit as what ternary lanes grow by from 16 to 32 bits."""
    able = {"planes": 5, "digits": True}
    widths = {bits: cells(f"lane ternary-{bits} zeros 0.4") for bits in (16, 20, 24, 32)}
    mean, mean_area = sum(widths) / 4, sum(widths.values()) / 4
    slope = sum((bits - mean) * (area - mean_area) for bits, area in widths.items())
    slope /= sum((bits - mean) ** 2 for bits in widths)
    grown = parts(array(**able))["array"].typical - parts(array())["array"].typical
    assert grown == close(16 * (15 + 18 + 20) * slope / 1e6 / 0.75)
    loads = parts(array(lane_loading=True))["sequencing"].typical - parts(array())["sequencing"].typical
    assert loads == close(512 * 2 * 0.2916 * 0.6 / 1e6 / 0.75)
    recipes = area_of(array(**able, lane_loading=True), load_source("gates:asap7")).recipes
    assert "53 bits of adders per column for digit planes" in recipes["array"]
    assert "behind multiplexers, for lanes or columns" in recipes["sequencing"]


def test_tables_of_the_control_are_those_of_the_committed_synthesis():
    scopes = json.loads((ROOT / "docs" / "results" / "fpga-ecp5-32x32-chain4-ecp5.json").read_text())["scopes"]
    assert LOGIC["control_tables"] == scopes["core"]["tables"] - scopes["datapath"]["tables"]
    assert LOGIC["array_tables_per_lane"] == scopes["array"]["tables_per_mac"]


def test_cores_share_the_buffers_and_nothing_else(close):
    one, three = parts(array()), parts(array(), cores=3)
    for part in AREA_PARTS:
        assert three[part].typical == close((1 if part == "sram" else 3) * one[part].typical)


@pytest.mark.parametrize("costs", [name for name in source_names() if not name.startswith("fpga:")])
@pytest.mark.parametrize("mac", [None, *(name for name, one in ARITHMETICS.items() if not one.stores_trits)])
def test_every_source_and_arithmetic_has_an_ordered_area(costs, mac):
    machine = array(results="int8") if mac is None else array().baseline(mac)
    for name, part in parts(machine, costs).items():
        assert 0 < part.low < part.typical < part.high or (name == "requantizers" and mac), name


def test_operators_take_the_gates_of_their_node(close):
    """7 nm: as they are; 45 nm: SKY130 by squared length."""
    for part in AREA_PARTS:
        assert tuple(parts(array(), "bitnet-7nm")[part]) == tuple(parts(array())[part])
        scaled = parts(array(), "gates:sky130")[part].typical * 0.1198
        assert parts(array(), "horowitz-45nm")[part].typical == close(scaled)
    assert round((45 / 130) ** 2, 4) == 0.1198


def test_costs_without_a_library_have_no_area(tmp_path):
    table = yaml.safe_load((TECH / "bitnet-7nm.yaml").read_text())
    del table["area"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(table))
    assert area_of(array(), load_source(str(tmp_path / "mine.yaml"))) is None


def test_macros_reproduce_cactis_points(close):
    table = load_sram("sram-cacti-lop-45nm")
    assert [table.area_mm2(kib * KIB) for kib in (64, 256, 1024)] == close([0.1990, 1.0368, 3.6772])


def test_the_job_shows_areas_on_the_screen_in_json_and_in_its_reports(capsys, tmp_path):
    job = ["sim", "--model", "stories260K", "--shapes-only", "--prefill", "4", "--decode", "2", "--array", "8x8"]
    main([*job, "--costs", "gates:asap7", "--out", str(tmp_path)])
    screen = capsys.readouterr().out
    assert re.search(r"total area( +0\.\d+){3}", screen)
    document = json.loads((tmp_path / "energy.json").read_text())
    assert all(set(machine["area"]["parts_mm2"]) == set(AREA_PARTS) for machine in document["machines"])
    for report in ("report.md", "report.html"):
        assert "CACTI 7 22 nm macros of lstp cells x 0.33" in (tmp_path / report).read_text()
