"""Organisations and arithmetics: every name has an object, nothing else knows the names, and gateware comes lazily."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.arithmetics import ARITHMETICS, Mac
from hw.config import ArrayConfig, load_array, sized
from hw.organisations import ORGANISATIONS, OrganisationName

ROOT = Path(__file__).parents[2]


def test_every_name_that_a_config_may_hold_has_an_object_of_that_name():
    assert tuple(ORGANISATIONS) == get_args(OrganisationName)
    assert tuple(ARITHMETICS) == get_args(Mac)
    assert all(one.name == name for table in (ORGANISATIONS, ARITHMETICS) for name, one in table.items())


def test_no_code_compares_the_name_of_an_organisation_or_arithmetic():
    """What depends on one is asked of its object, so that a new one needs no edit where it is used."""
    names = "|".join([*ORGANISATIONS, *ARITHMETICS])
    compared = re.compile(rf"""(organisation|mac)\s*(==|!=)\s*["']({names})["']""")
    paths = [path for package in ("hw", "quant", "sim", "energy") for path in (ROOT / package).rglob("*.py")]
    found = [path for path in paths if compared.search(path.read_text(encoding="utf-8"))]
    # hw.gates names its own designs: a lane, or a tree of lanes
    assert [path for path in found if "gates" not in path.parts] == []


@pytest.mark.parametrize("part", ["datapath", "bare_array", "diagram"])
@pytest.mark.parametrize("name", ORGANISATIONS)
def test_the_gateware_that_an_organisation_names_is_there(name, part):
    assert callable(ORGANISATIONS[name].gateware(part))


def test_configs_know_their_organisation_and_arithmetic_without_amaranth():
    program = "import sys, hw.config; hw.config.load_array('8x8').structure; print('amaranth' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_a_reorganised_array_keeps_its_lanes_bus_and_buffers():
    tree = load_array("edge-32x32")
    grid = tree.reorganised("systolic")
    changed = {name for name in ArrayConfig.model_fields if getattr(grid, name) != getattr(tree, name)}
    assert changed == {"name", "organisation", "token_tile"}
    assert (grid.token_tile, grid.chain_lanes) == (32, 1)
    assert grid.reorganised("tree").structure is ORGANISATIONS["tree"]


@pytest.mark.parametrize("mac", [name for name, one in ARITHMETICS.items() if not one.is_float])
@given(k=st.integers(1, 100_000), shift=st.integers(0, 7))
def test_sum_bits_hold_the_extreme_sums_and_not_a_bit_more(mac, k, shift):
    largest = 127 * {"ternary": 1}.get(mac, 127) * k << shift
    bits = ARITHMETICS[mac].sum_bits(k, shift)
    assert 2 ** (bits - 2) - 1 < largest <= 2 ** (bits - 1) - 1
    assert ARITHMETICS[mac].max_k(bits, shift) >= k > ARITHMETICS[mac].max_k(bits - 1, shift)


def test_an_int8_array_refuses_accumulators_that_only_trits_would_fit():
    with pytest.raises(ValueError, match="accumulator_bits must be at least 18 for a tile of 8 lanes, not 12"):
        ArrayConfig(**sized(8, 8).baseline("int8").model_dump() | {"accumulator_bits": 12})


def test_trees_complete_negations_by_a_count_and_grids_element_by_element():
    tree = load_array("edge-32x32")
    assert tree.structure.counts_negatives
    assert not tree.reorganised("systolic").structure.counts_negatives
