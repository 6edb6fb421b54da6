"""Cost tables: units, interpolation, and every number with a source."""

import re

import pytest
import yaml

from energy.costs.dram import dram_power, load_dram
from energy.costs.tables import TECH_FOLDER, Cost, alike, cost_names, load_costs, load_sram
from hw.errors import InputError
from sim.memory import load_memory, memory_names

KINDS = {"measured", "published", "derived", "assumed"}


def test_operator_energies_are_joules(close):
    assert load_costs("horowitz-45nm").op("fp16_mul").typical == close(1.1e-12)


def test_integer_adder_is_the_line_through_the_published_widths(close):
    table = load_costs("horowitz-45nm")
    assert table.integer_add(8).typical == close(0.03e-12)
    assert table.integer_add(32).typical == close(0.1e-12)
    assert table.integer_add(20).typical == close(0.065e-12)  # half way


def test_costs_have_an_ordered_range():
    for name in cost_names():
        table = load_costs(name)
        for op in table.ops_pj:
            cost = table.op(op)
            assert 0 < cost.low <= cost.typical <= cost.high
    for standard in load_dram().standards:
        for cost in dram_power(standard):
            assert 0 < cost.low <= cost.typical <= cost.high


def test_sram_reproduces_its_points_and_grows_by_a_power_law_between_them(close):
    table = load_sram("sram-cacti-hp-45nm")
    assert table.bit_energy_j(64 * 1024, write=False) == close(41.71e-12 / 256)
    assert table.bit_energy_j(256 * 1024, write=True) == close(107.53e-12 / 256)
    middle = (41.71 * 86.71) ** 0.5  # geometric mean at the geometric mean of the capacities
    assert table.bit_energy_j(128 * 1024, write=False) == close(middle * 1e-12 / 256)
    assert table.leakage_w(128 * 1024) == close(2 * 31.17e-3)


def test_every_memory_preset_has_a_dram_energy():
    for name in memory_names():
        assert load_memory(name).standard in load_dram().standards


def test_every_leaf_number_has_a_kind_and_a_source():
    def check(node, path, inherited):
        if isinstance(node, dict):
            source = node.get("source", inherited)
            if "value" in node or "typical" in node:
                assert node.get("kind") in KINDS, path
                assert source, path
            for key, value in node.items():
                check(value, f"{path}.{key}", source)

    files = list(TECH_FOLDER.rglob("*.yaml"))
    assert files
    for file in files:
        check(yaml.safe_load(file.read_text()), file.name, None)


def test_unknown_table_names_the_known_ones():
    with pytest.raises(InputError, match=r"^costs must be one of bitnet-7nm, horowitz-45nm.* not 'tsmc-3nm'$"):
        load_costs("tsmc-3nm")


def test_unknown_standard_names_the_known_ones():
    with pytest.raises(InputError, match=re.escape("memory standard must be one of SDR, DDR3, DDR4")):
        dram_power("RDRAM")


def test_costs_add_and_scale_end_by_end():
    assert Cost(1, 2, 3) + Cost(10, 20, 30) == Cost(11, 22, 33)
    assert Cost(1, 2, 3).scaled(2) == Cost(2, 4, 6)


@pytest.mark.parametrize(
    ("other", "shared", "others"),
    [
        (Cost(1.9, 3.8, 7.6), False, True),  # less at both ends; the ranges overlap
        (Cost(1.9, 3.9, 8.1), True, True),  # less at one end only
        (Cost(9.0, 9.5, 10.0), False, False),  # no overlap
        (Cost(8.5, 4.01, 9.9), True, True),  # typical figures within half a per cent
        (Cost(2.0, 3.0, 7.0), True, True),  # as low at one end
    ],
)
def test_figures_of_shared_tables_are_told_apart_at_both_ends_and_others_by_overlap(other, shared, others):
    one = Cost(2.0, 4.0, 8.0)
    for pair in ((one, other), (other, one)):
        assert alike(*pair, same_tables=True) is shared
        assert alike(*pair, same_tables=False) is others
