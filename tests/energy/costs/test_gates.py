"""Gate-level figures as a cost source: the right row, its range, and what the join does with it."""

import pytest

from energy.costs.gates import GateRow, GateSource, gate_names, load_gates
from energy.costs.sources import load_source, source_names
from energy.model import energy_of
from energy.reports.rows import gating_line
from energy.summary import summarize
from hw.config import ArrayConfig, load_array
from hw.errors import InputError
from sim.counts import ActionCounts
from sim.trace.statistics import assumed_statistics
from tests.energy.test_model import COUNTS, CYCLES, _result

SRAM = load_source("horowitz-45nm").sram


def row(organisation, format_, bits, dynamic_j, operands="synthetic", zeros=0.4):
    return GateRow(
        organisation=organisation,
        format=format_,
        accumulator_bits=bits,
        rows=4,
        cols=16,
        operands=operands,
        zero_fraction=zeros,
        dynamic_j=dynamic_j,
        clock_j=1e-12,
        leakage_w=1e-9,
        area_um2=640.0,
    )


@pytest.fixture
def source():
    rows = [
        row("tree", "ternary", 20, 3e-12),
        row("tree", "ternary", 32, 9e-12),
        row("tree", "ternary", 20, 2e-12, zeros=0.6),
        row("tree", "ternary", 20, 4e-12, operands="recorded", zeros=0.33),
        row("lane", "int8", 32, 20e-12, zeros=None),
        row("lane", "fp16-fp32", 32, 60e-12, zeros=None),
    ]
    return GateSource("hand", rows, SRAM)


def test_nearest_width_and_recorded_operands_are_typical_the_others_its_range(source, close):
    cost = source.mac(load_array("edge-32x32").model_copy(update={"accumulator_bits": 24})).energy
    assert (cost.low, cost.typical, cost.high) == (close(2e-12), close(4e-12), close(4e-12))


def test_a_wide_accumulator_takes_the_wide_row(source, close):
    array = load_array("edge-32x32").model_copy(update={"accumulator_bits": 30})
    assert source.mac(array).energy.typical == close(9e-12)


def test_join_counts_useful_macs_and_measured_leakage(source, close):
    result = _result()
    parts = energy_of(result, source).phase("decode").parts
    assert parts["array"].typical == close(COUNTS.array_macs * (1e-12 + 1e-12 * _line(0.2)))
    assert parts["vector"].typical == close((30 * 20 + 5 * 60 + 20 * 30 + 10 * 60) * 1e-12)
    sram_w = 3 * 31.17e-3
    assert parts["leakage"].typical == pytest.approx((sram_w + 16e-9) * CYCLES / 1e9, rel=1e-3, abs=0)


def _line(toggles):
    """Two figures of 20 bits: at 0.4 zeros, 0.3 toggles, 2 pJ beside the clock; at 0.6 zeros, 0.2 toggles, 1 pJ."""
    return 1 + (toggles - 0.2) / 0.1


@pytest.mark.parametrize(("bits", "scale"), [(20, 1), (32, 4)])
def test_switching_follows_the_operands_toggles(source, close, bits, scale):
    """400 active of 1000 toggle 0.2 per bit; 32 bits have one figure, 8 pJ beside the clock at 0.3: the line scaled."""
    array = load_array("edge-32x32").model_copy(update={"accumulator_bits": bits})
    for active in (400, 500, 800):
        counts = ActionCounts(array_macs=1000, array_macs_active=active)
        expected = 1e-12 + scale * 1e-12 * _line(0.5 * active / 1000)
        assert source.array_energy(array, counts).typical == close(1000 * expected)
    assert source.clock_share(array) == close(1 / 4 if bits == 20 else 1 / 9)


def test_a_design_with_one_figure_keeps_it(source, close):
    rows = [row("tree", "int8", 20, 7e-12, zeros=None), row("lane", "ternary", 24, 5e-12)]
    single = GateSource("one", rows, SRAM)
    counts = ActionCounts(array_macs=1000, array_macs_active=10)
    assert single.array_energy(load_array("edge-32x32").baseline("int8"), counts).typical == close(7e-9)
    assert single.array_energy(load_array("edge-32x32").reorganised("systolic"), counts).typical == close(5e-9)


def test_a_format_that_was_not_measured_is_refused_with_the_way_out(source):
    with pytest.raises(InputError, match=r"^costs gates:hand: no tree of int8 was measured; run make gates$"):
        source.mac(load_array("edge-32x32").baseline("int8"))


def test_unknown_library_names_the_known_ones():
    with pytest.raises(InputError, match=r"^costs gates:LIBRARY must be one of .*, not 'tsmc3'$"):
        load_source("gates:tsmc3")


@pytest.mark.parametrize("name", gate_names())
def test_committed_tables_price_every_array(name):
    source = load_gates(name)
    array = load_array("edge-32x32")
    rivals = [array.baseline(mac) for mac in ("w2a8", "w4a8", "int8", "fp16")]
    ternary, w2a8, w4a8, int8, fp16 = (source.mac(machine).energy.typical for machine in (array, *rivals))
    assert 0 < ternary < w2a8 < w4a8 < int8 < fp16
    assert source.mac(array.baseline("w4a16")).energy.typical == fp16
    assert f"gates:{name}" in source_names()


def test_clock_gating_is_bounded_by_recorded_operands_and_measured_clocks(source, close):
    """3 of 4 operands stay, a quarter of the array's energy is its clocks; assumed statistics bound nothing."""
    result = _result()
    phase = result.phases[0]
    assert summarize([result], source, [], None).clock_gating == []
    measured = assumed_statistics("decode").model_copy(update={"steady_operands": 0.75, "measured": True})
    ops = [op.model_copy(update={"statistics": measured}) for op in phase.ops]
    recorded = result.model_copy(update={"phases": [phase.model_copy(update={"ops": ops})]})
    (gating,) = summarize([recorded], source, [], None).clock_gating
    assert (gating.phase, gating.steady_operands, gating.saved) == ("decode", close(0.75), close(0.75 / 4))
    assert "75 % of the lanes' operands stay" in gating_line(gating)
    assert summarize([recorded], load_source("horowitz-45nm"), [], None).clock_gating == []


def test_the_width_of_an_accumulator_is_told_where_one_has_it():
    source = load_gates("asap7")
    ternary, floats = (ArrayConfig(name="", rows=16, cols=4, mac=mac) for mac in ("ternary", "fp16"))
    assert source.area_recipe(ternary).endswith("-bit accumulator")
    assert "accumulator" not in source.area_recipe(floats)
