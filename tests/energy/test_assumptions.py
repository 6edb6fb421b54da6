"""On what a result rests: figures of the cost files in the words of a reader, with the energy that each carries."""

from pathlib import Path

import pytest
import yaml

from energy.assumptions import assumptions_of
from energy.costs.dram import dram_power
from energy.costs.sources import load_source
from energy.job import Job, Rivals, simulate_machines
from quant.shapes import load_shape

TECH = Path(__file__).parents[2] / "energy" / "tech"
DRAM = yaml.safe_load((TECH / "dram" / "standards.yaml").read_text())


def job(**fields):
    return Job(**{"model": "stories260K", "array": "16x16", "prefill": 8, "decode": 2, "costs": "gates:asap7"} | fields)


def rests(one):
    summary, results = simulate_machines(one, load_shape(one.model), None, Rivals(rivals="int8"))
    return summary, {row.key: row for row in assumptions_of(summary, results[0], load_source(one.costs))}


@pytest.fixture(scope="module")
def default():
    return rests(job())


def ends(cost, unit):
    low, typical, high = (f"{value * unit:.3g}" for value in cost)
    return f"{typical} ({low} to {high})"


def test_dram_is_told_by_bit_row_and_chip(default):
    _, rows = default
    power, chip = dram_power("LPDDR5"), DRAM["standards"]["LPDDR5"]
    row = f"rows of LPDDR5 opened for a row's worth of bits, each {ends(power.row, 1e9)} nJ"
    assert rows["dram"].value == f"{ends(power.read_bit, 1e12)} pJ read, {ends(power.write_bit, 1e12)} pJ written"
    assert (rows["dram_rows"].subject, rows["dram_rows"].value) == (row, "1.1 rows (1 to 2)")
    moving, rest = ends(power.open_w, 1e3), ends(power.idle_w, 1e3)
    assert rows["dram_standby"].value == f"{moving} mW each while bits move, {rest} mW at rest"
    assert rows["dram_standby"].subject == "standby of 4 chips of LPDDR5"
    assert rows["dram_refresh"].value == f"{ends(power.refresh_w, 1e3)} mW each"
    assert rows["dram"].kind == rows["dram_standby"].kind == chip["kind"]
    assert rows["dram"].source.startswith(f"{chip['source']}; interface: {chip['interface']['source']}")


@pytest.mark.parametrize(("memory", "standard"), [("ddr4-3200", "DDR4"), ("hbm2-2000", "HBM2")])
def test_shares_that_chips_draw_are_named_where_data_sheets_give_maxima(memory, standard):
    _, rows = rests(job(memory=memory))
    guarded = DRAM["standards"][standard]["guard_banded"]
    for key, loop in (("dram", "read"), ("dram_standby", "standby"), ("dram_refresh", "refresh")):
        assert (DRAM["measured"][loop]["source"] in rows[key].source) == guarded


def test_every_joule_has_one_cost_and_the_largest_comes_first(default):
    summary, rows = default
    priced = [row for row in rows.values() if row.shares]
    for phase in summary.ternary.phases:
        total = sum(cost.typical for cost in phase.joules_per_token.values())
        for row in priced:
            assert row.shares[phase.name] == pytest.approx(phase.joules_per_token[row.key].typical / total)
        assert sum(row.shares[phase.name] for row in priced) == pytest.approx(1)
    largest = [max(row.shares.values()) for row in priced]
    assert largest == sorted(largest, reverse=True)


def test_operands_are_the_means_over_the_phases_linears(default):
    summary, rows = default
    for phase in ("prefill", "decode"):
        own = [one for name, one in summary.statistics.items() if name.split()[0] == phase]
        zeros, toggles = (sum(getattr(one, name) for one in own) for name in ("zero_fraction", "toggle_rate"))
        told = f"{zeros / len(own):.3f} zeros, {toggles / len(own):.3f} toggles per bit"
        assert (rows[f"operands-{phase}"].value, rows[f"operands-{phase}"].kind) == (told, "assumed")


def test_a_host_is_told_where_it_works(default):
    host = yaml.safe_load((TECH / "host" / "processor.yaml").read_text())
    _, rows = default
    assert not {"host", "host-link"} & set(rows)
    _, rows = rests(job(placement={"rope": "host"}))
    for key, field in (("host", "operation_pj"), ("host-link", "link_pj_per_bit")):
        low, typical, high = (host[field][end] for end in ("low", "typical", "high"))
        assert rows[key].value == f"{typical:g} pJ ({low:g} to {high:g})"
        assert (rows[key].kind, rows[key].source) == (host[field]["kind"], host[field]["source"])
    assert rows["host"].shares["prefill"] > 0
    assert set(rows) > set(default[1])  # beside what is told without it


def test_gates_are_measured_and_operators_derived():
    kinds = {}
    for costs in ("gates:asap7", "horowitz-45nm"):
        _, rows = rests(job(costs=costs))
        kinds[costs] = [rows[key].kind for key in ("array", "vector", "leakage")]
    assert kinds["gates:asap7"] == ["measured", "measured", "derived"]
    assert kinds["horowitz-45nm"] == ["derived", "derived", "assumed"]


def test_buffers_and_bandwidth_are_told(default):
    _, rows = default
    table = yaml.safe_load((TECH / "sram" / "sram-cacti-lstp-22nm.yaml").read_text())
    assert f"weight lstp, activation lstp, accumulator lstp cells at {table['node_nm']:g} nm" in rows["sram"].value
    assert rows["sram"].value.endswith(f"banks of {table['points'][0]['kib']:g} KiB")
    memory = yaml.safe_load((TECH.parents[1] / "sim" / "memories" / "lpddr5-6400.yaml").read_text())
    assert rows["bandwidth"].value == f"{memory['sequential_efficiency']:.0%} of its pins' peak"
    assert rows["bandwidth"].kind == "derived"
