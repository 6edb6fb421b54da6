"""Clock distribution and wires: by hand from the committed shares, the clock of idle cycles, what is published."""

import json
from pathlib import Path

import pytest

from energy.costs.gates import Work, gate_names
from energy.costs.placed import load_placed, placed_shares
from energy.costs.sources import load_source
from energy.costs.tables import ZERO, Cost
from hw.arithmetics import ARITHMETICS
from hw.config import load_array
from sim.counts import ActionCounts

ROOT = Path(__file__).parents[3]
WIRES = {row["design"]: row for row in json.loads((ROOT / "hw/gates/results/wires-asap7.json").read_text())["designs"]}
TREE = WIRES["tree ternary-24 16x4"]
ROW = json.loads((ROOT / "hw/gates/results/asap7.json").read_text())["rows"]["tree ternary-24 16x4 zeros 0.4"]
COSTS = load_source("gates:asap7")
ARRAY = load_array("mobile-64x64")


def test_full_use_takes_distribution_of_its_clock_pins_and_wires_of_the_rest(close):
    macs = 4096 * 1000.0
    array = Cost.exact(macs * ROW["dynamic_j"])
    clock, wires = COSTS.placed(ARRAY, ActionCounts(array_macs=macs), Work(array, ZERO, 1000, 1))
    for end in ("low", "typical", "high"):
        assert getattr(clock, end) == close(macs * ROW["clock_j"] * TREE["clock_share"][end])
        assert getattr(wires, end) == close(macs * (ROW["logic_j"] + ROW["registers_j"]) * TREE["wires_share"][end])


def test_cycles_without_work_keep_a_tenth_of_the_clock_or_none_or_all_of_it(close):
    idle = ActionCounts()
    clock, wires = COSTS.placed(ARRAY, idle, Work(ZERO, ZERO, 1000, 2))
    slots = 2 * 4096 * 1000 * ROW["clock_j"]
    assert wires == ZERO
    assert clock.low == 0
    assert clock.typical == close(0.1 * slots * (1 + TREE["clock_share"]["typical"]))
    assert clock.high == close(slots * (1 + TREE["clock_share"]["high"]))


@pytest.mark.parametrize("library", gate_names())
@pytest.mark.parametrize("mac", ["ternary", "int8", "fp16"])
def test_every_library_and_arithmetic_has_ordered_shares(library, mac):
    shares = placed_shares(library, ARITHMETICS[mac])
    for share in (shares.wires, shares.clock):
        assert 0 < share.low < share.typical < share.high < 1.5


def test_the_clock_network_of_the_ternary_tree_is_as_large_as_published_ones():
    """Pins and distribution over all dynamic energy, wires included: a fifth to two fifths of a chip's is the clock."""
    pins, rest = ROW["clock_j"], ROW["logic_j"] + ROW["registers_j"]
    network = pins * (1 + TREE["clock_share"]["typical"])
    share = network / (network + rest * (1 + TREE["wires_share"]["typical"]))
    published = load_placed().published_clock
    assert published.low / 2 < share < published.high


def test_operators_have_neither():
    source = load_source("horowitz-45nm")
    assert source.placed(ARRAY, ActionCounts(array_macs=1e6), Work(Cost.exact(1.0), ZERO, 1000, 1)) == (ZERO, ZERO)
    assert source.placed_recipe(ARRAY).startswith("none")
