"""Power-up and levelling beside a chip and PHY in Python: JESD79-3F's commands and times, the middle of each window."""

from itertools import pairwise

import pytest

from hw.memory.ddr3.chips import CAS, CAS_WRITE, load_ddr3, mode_registers
from hw.memory.ddr3.levelling import PATTERNS, patterns
from tests.hw.memory.ddr3.bench import level

CHIP = load_ddr3("mt41k64m16")
CLOCK_HZ = 1e6  # so that the microseconds of the power-up are few edges
SCAN = 30_000  # edges that power-up and one scan take at most
MODE, ZQ, ACTIVATE, WRITE, READ, PRECHARGE = 0b000, 0b110, 0b011, 0b100, 0b101, 0b010


@pytest.fixture(scope="module")
def levelled():
    return level(CHIP, CLOCK_HZ, [(1, {2, 3, 4}), (3, {5, 6, 7})], SCAN)


def test_the_chip_is_powered_up_as_jesd79_3f_says(levelled):
    assert levelled["reset_n"] >= 200  # us
    assert levelled["cke"] - levelled["reset_n"] >= 500
    first = levelled["commands"][:6]
    # MR2: CWL 5, writes terminated by 60 ohm. MR3: nothing. MR1: DLL on, 34 ohm (A1), no termination.
    # MR0: bursts of 8, CL 6 (A5), DLL reset (A8), write recovery of 5 (A9). ZQ calibration, long (A10).
    assert [one[1:] for one in first] == [
        (MODE, 2, 1 << 9), (MODE, 3, 0), (MODE, 1, 1 << 1), (MODE, 0, 1 << 5 | 1 << 8 | 1 << 9), (ZQ, 0, 1 << 10),
        (ACTIVATE, 0, 0),
    ]  # fmt: skip
    edges = [one.edge for one in first]
    assert edges[0] - levelled["cke"] >= 5  # tXPR: five clocks, or 120 ns
    assert all(2 * (later - sooner) >= 12 for sooner, later in pairwise(edges[:5]))  # tMOD
    assert 2 * (edges[5] - edges[4]) >= 512  # tZQinit and tDLLK, in clocks of the chip, which is twice as fast


def test_each_byte_gets_the_middle_of_its_window_and_its_slip(levelled):
    phy = levelled["bytes"]
    assert (phy.delay, phy.slip) == ([3, 6], [1, 3])
    assert levelled["delays"] == 3 | 6 << 3
    assert levelled["slips"] == 1 | 3 << 2


def test_rows_are_opened_written_read_and_closed_in_turn_with_time_between(levelled):
    trials = levelled["commands"][5:]
    assert [one.command for one in trials] == [ACTIVATE, WRITE, READ, PRECHARGE] * (len(trials) // 4)
    assert len(trials) == 4 * PATTERNS * (4 * 8 + 1)  # every slip and delay, and what was chosen
    between = [later.edge - sooner.edge for sooner, later in pairwise(trials)]
    assert min(between) >= 8  # 16 clocks of the chip: more than tRCD, tRP, tWTR, tWR and tRTP


@pytest.mark.parametrize(
    ("windows", "middles"),
    [(({0}, {0, 1, 5, 6, 7}), ((0,), (6,))), ((set(range(8)), {3, 4}), ((3, 4), (3, 4)))],
    ids=["one, and the longer of two", "all, and two"],
)
def test_the_longest_run_of_good_delays_decides(windows, middles):
    found = level(CHIP, CLOCK_HZ, [(0, window) for window in windows], SCAN)
    assert found["ready"]
    assert all(delay in middle for delay, middle in zip(found["bytes"].delay, middles, strict=True))


def test_what_comes_right_without_a_strobe_is_not_good():
    found = level(CHIP, CLOCK_HZ, [(0, {6}, {1, 2, 3, 4}), (0, {1})], SCAN)
    assert found["bytes"].delay == [6, 1]


@pytest.mark.slow
def test_a_chip_that_answers_late_is_brought_up_anew():
    def change(edge, phy):
        if edge == 25_000:
            phy.skew[1] = (2, {4})

    found = level(CHIP, CLOCK_HZ, [(1, {2}), (2, set())], 2 * SCAN, change)
    assert found["ready"] > 25_000
    assert found["bytes"].delay == [2, 4]
    assert sum(one.command == ZQ for one in found["commands"]) == 2


def test_patterns_tell_every_slip_of_every_byte_and_each_other_apart():
    beats = [[list(word.to_bytes(16, "little")[i::2]) for i in (0, 1)] for word in patterns(128)]
    for pattern in beats:
        for lane in pattern:
            assert all(lane[slip:] + lane[:slip] != lane for slip in range(1, 8))
    assert len({tuple(lane) for pattern in beats for lane in pattern}) == 2 * PATTERNS


def test_mode_registers_are_those_of_litedram():
    litedram = pytest.importorskip("litedram.init")
    modules = pytest.importorskip("litedram.modules")

    class Phy:
        cl, cwl, nphases, rtt_nom = CAS, CAS_WRITE, 2, "disabled"

    sequence, _ = litedram.get_ddr3_phy_init_sequence(Phy, modules.MT41K64M16(48e6, "1:2").timing_settings)
    theirs = [(bank, address) for what, address, bank, _, _ in sequence if "Mode Register" in what]
    assert theirs == [tuple(one) for one in mode_registers()]


def test_latencies_are_those_that_litedram_takes_at_these_clocks():
    common = pytest.importorskip("litedram.common")
    for clock_hz in (24e6, 48e6, 100e6):
        assert common.get_default_cl_cwl("DDR3", 1 / (2 * clock_hz)) == (CAS, CAS_WRITE)


def test_sizes_are_those_of_the_data_sheets():
    sizes = {name: load_ddr3(name).bytes >> 20 for name in ("mt41k64m16", "mt41k128m16", "mt41k256m16", "mt41k512m16")}
    assert list(sizes.values()) == [128, 256, 512, 1024]
    modules = pytest.importorskip("litedram.modules")
    for name in sizes:
        chip = load_ddr3(name)
        theirs = getattr(modules, chip.litedram)
        assert (chip.rows, chip.banks, chip.columns) == (theirs.nrows, theirs.nbanks, theirs.ncols)
