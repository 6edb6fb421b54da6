"""Clocks of a chip from its nanoseconds, and what is refused."""

import pytest
import yaml

from hw.errors import InputError
from hw.memory.chip import chip_names, load_chip
from hw.memory.geometry import Geometry


def test_clocks_are_the_times_rounded_up():
    timing = load_chip("as4c16m16sa-7").timing(100e6)  # 10 ns
    assert timing[:9] == (
        2,
        3,
        3,
        5,
        7,
        2,
        2,
        7,
        2,
    )  # CL, tRCD 21, tRP 21, tRAS 42, tRC 63, tRRD, tWR 14, tRFC 63, tMRD
    assert (timing.refresh, timing.power_up) == (781, 20_000)  # 64 ms / 8192 rounded down, 200 us


def test_a_whole_number_of_clocks_is_not_one_more():
    assert load_chip("w9825g6kh-6").timing(1e9 / 15).rcd == 1
    assert load_chip("w9825g6kh-6").timing(1e9 / 14.9).rcd == 2


def test_the_least_latency_that_the_clock_allows_is_taken():
    chip = load_chip("as4c16m16sa-7")
    assert [chip.timing(hz).cas for hz in (50e6, 100e6, 101e6, 143e6)] == [2, 2, 3, 3]
    assert chip.timing(50e6, 3).cas == 3


@pytest.mark.parametrize(("name", "megabytes"), [("as4c16m16sa-7", 32), ("is42s16160g-7", 32), ("gw2ar-18", 8)])
def test_capacity_is_what_the_board_has(name, megabytes):
    assert load_chip(name).bytes == megabytes << 20


def test_every_shipped_chip_keeps_its_own_times():
    for name in chip_names():
        chip = load_chip(name)
        assert chip.name == name
        assert chip.ras_ns < chip.rc_ns
        assert chip.refresh_ns * chip.rows <= 64e6  # every row within 64 ms


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda chip: chip.timing(200e6), "must be above 0 and at most 143 MHz, not 200 MHz"),
        (lambda chip: chip.timing(120e6, 2), "with CAS latency 2 must be above 0 and at most 100 MHz, not 120 MHz"),
        (lambda chip: chip.timing(50e6, 4), "CAS latency must be 2 or 3, not 4"),
        (lambda chip: chip.timing(0), "not 0 MHz"),
        (lambda chip: chip.timing(1e6), "must leave time between refreshes, not be 1 MHz"),
        (lambda chip: chip.timing(2.1e6), "must leave time between refreshes, not be 2.1 MHz"),  # for a burst of 8, too
        (lambda chip: Geometry.of(chip, 96), "word_bits must be 16 x a power of two up to 512"),
        (lambda chip: Geometry.of(chip, 8), "word_bits must be 16"),
        (lambda _: load_chip("as4c16m16sa-6"), "chip must be one of .* did you mean 'as4c16m16sa-7'"),
    ],
)
def test_what_no_chip_does_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call(load_chip("as4c16m16sa-7"))


def test_rows_are_a_power_of_two(tmp_path):
    fields = load_chip("gw2ar-18").model_dump() | {"rows": 2000}
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(fields))
    with pytest.raises(InputError, match="rows must be a power of two, not 2000"):
        load_chip(str(tmp_path / "odd.yaml"))
