"""Cell types of buffers: chosen by leakage where the clock allows, refused where it does not, said where none fits."""

import json

import pytest

from energy.__main__ import main
from energy.costs.sources import load_source
from energy.costs.sram import buffers_of, sram_notes
from energy.job import Job
from hw.config import ArrayConfig
from hw.errors import InputError


def array(**fields):
    return ArrayConfig(name="hand", **{"rows": 16, "cols": 4, "clock_hz": 1e9} | fields)


def cells(machine, costs):
    return [buffer.cell for buffer in buffers_of(machine, load_source(costs).sram, costs)]


@pytest.mark.parametrize(
    ("costs", "clock_hz", "chosen"),
    [
        ("horowitz-45nm", 1e9, "hp"),  # 1.36 ns of lop and 1.89 ns of lstp miss the cycle
        ("horowitz-45nm", 7e8, "lop"),
        ("horowitz-45nm", 5e8, "lstp"),
        ("gates:asap7", 1e9, "lstp"),  # 0.966 ns at 22 nm
        ("gates:asap7", 1.2e9, "lop"),
        ("gates:asap7", 2e9, "hp"),
        ("gates:sky130", 1e8, "lstp"),
    ],
)
def test_auto_is_the_cell_of_least_leakage_that_keeps_up_with_the_clock(costs, clock_hz, chosen):
    assert cells(array(clock_hz=clock_hz), costs) == [chosen] * 3


def test_each_buffer_has_a_cell_type_of_its_own():
    machine = array(weight_cells="hp", accumulator_cells="lop")
    assert cells(machine, "gates:asap7") == ["hp", "lstp", "lop"]
    leakage = [buffer.leakage_w.typical for buffer in buffers_of(machine, load_source("gates:asap7").sram, "")]
    assert leakage[0] == pytest.approx(0.8 * 4 * 4.99e-3)  # 256 KiB of high-performance banks
    assert leakage[1] == pytest.approx(0.8 * 4 * 0.010e-3)


def test_a_cell_that_misses_the_cycle_is_refused_with_the_times_and_the_way_out():
    message = (
        r"^array 'hand': weight_cells must be hp at a clock of 1 ns, not lstp, whose macros take 1.89 ns with costs "
        r"'horowitz-45nm'; or lower clock_hz$"
    )
    with pytest.raises(InputError, match=message):
        cells(array(weight_cells="lstp"), "horowitz-45nm")


def test_where_no_cell_keeps_up_the_fastest_is_priced_and_said():
    """(130 / 45) x 0.795 ns."""
    machine, choice = array(), load_source("gates:sky130").sram
    assert cells(machine, "gates:sky130") == ["hp"] * 3
    (note,) = sram_notes(machine, choice)
    assert "hp does every 2.3 ns" in note
    assert not sram_notes(array(clock_hz=4e8), choice)


def test_the_range_of_leakage_ends_at_a_hot_chip():
    weight = buffers_of(array(weight_cells="hp"), load_source("horowitz-45nm").sram, "")[0]
    assert weight.leakage_w.high == pytest.approx(1.97 * weight.leakage_w.typical)


def test_cells_are_no_part_of_the_gateware():
    assert array(weight_cells="hp").sha256 == array().sha256


def test_a_job_chooses_the_cells_of_every_buffer(capsys, tmp_path):
    job = ["sim", "--model", "stories260K", "--shapes-only", "--prefill", "4", "--decode", "2", "--array", "8x8"]
    leakage = {}
    for chosen in ("hp", "lop"):
        main([*job, "--sram-cells", chosen, "--json", "--out", str(tmp_path / chosen)])
        summary = json.loads(capsys.readouterr().out)["machines"][0]
        assert f"weight {chosen}, activation {chosen}, accumulator {chosen} cells" in summary["energy_recipes"]["sram"]
        leakage[chosen] = summary["phases"][0]["joules_per_token"]["leakage"][1]
    assert leakage["hp"] > 5 * leakage["lop"]
    assert Job(sram_cells="lop").with_cells(array()).weight_cells == "lop"
