"""Energy of a token on a board: element by element by hand, and only for the very machine that was placed."""

from dataclasses import replace

import pytest

from energy.reports.sources import boards
from energy.reports.sources.boards import board_watts, token_energy_table
from hw.boards.results import BoardResult
from hw.host.whole.results import WholeRun

PLACED = BoardResult(
    board="ulx3s-85f", part="LFE5U-85F-6BG381C", kind="placed and routed", array={"rows": 16, "cols": 16},
    array_sha256="", rtlil_sha256="", luts=40_000, flip_flops=20_000, block_rams=100, dsps=24, clock_hz=50e6,
    fmax_hz=51e6, seed=1, tools=[], whole={"configuration": "00ab", "lanes": 4},
)  # fmt: skip
RUN = WholeRun(
    board="ulx3s-85f", model="m", machine="16 x 16", lanes=4, packing="5in8", memory="sdram", clock_hz=50e6,
    baud=2_000_000, configuration="00ab", image_bytes=1000, word_bytes=16, prompt=1, tokens=3, first_cycles=200_000,
    cycles=100_000, played_on="simulated board",
)  # fmt: skip


def test_power_is_that_of_every_element_at_the_clock_and_of_the_part_at_rest():
    # per cycle: tables 85 fJ, flip-flops 140 fJ, DSPs 20 pJ, block RAMs 22 pJ
    active = 50e6 * (40_000 * 85e-15 + 20_000 * 140e-15 + 24 * 20e-12 + 100 * 22e-12)
    assert board_watts(PLACED, 50e6, static=False).typical == pytest.approx(active)
    assert board_watts(PLACED, 50e6).typical == pytest.approx(active + 0.298)
    assert board_watts(replace(PLACED, part="LFE5U-12F-6BG381C"), 50e6).typical == pytest.approx(active + 0.125)
    assert board_watts(replace(PLACED, part="GW2AR-LV18QN88C8/I7"), 50e6) is None


def test_a_run_has_a_row_where_its_machine_has_been_placed(monkeypatch):
    monkeypatch.setattr(boards, "load_results", lambda whole: [PLACED])
    monkeypatch.setattr(boards, "read_runs", lambda path: [RUN, RUN.model_copy(update={"lanes": 2})])
    head, _, *rows = token_energy_table().splitlines()
    assert len(rows) == 1
    cells = dict(zip(*([cell.strip() for cell in line.strip("|").split("|")] for line in (head, rows[0])), strict=True))
    assert cells["tokens/s"] == "500.00"
    joules = board_watts(PLACED, 50e6).typical / 500
    assert float(cells["mJ per token"].split()[0]) == pytest.approx(1e3 * joules, rel=1e-2)
