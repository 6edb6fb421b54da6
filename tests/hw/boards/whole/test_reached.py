"""The machine's clock by reports as nextpnr writes them, with one clock and with two."""

import pytest

from hw.boards.whole.reached import reached_hz


def report(clocks, paths=()):
    """``clocks``: name to MHz reached and asked for; ``paths``: from, to, delays in ns."""
    found = [{"from": begin, "to": end, "path": [{"delay": delay} for delay in delays]} for begin, end, delays in paths]
    fmax = {name: {"achieved": mhz, "constraint": asked} for name, (mhz, asked) in clocks.items()}
    return {"fmax": fmax, "critical_paths": found}


def test_with_one_clock_it_is_that_of_the_machine_or_what_the_boards_own_leaves():
    assert reached_hz(report({"sync": (51, 50), "start": (45, 25)}), 50e6) == 51e6
    assert reached_hz(report({"sync": (51, 50), "start": (20, 25)}), 50e6) == 40e6


def test_a_memory_clock_of_which_nothing_is_asked_is_not_taken_for_the_machines():
    bare = report({"clk": (51, 50), "memory_clk": (60, 100)})
    for clock in bare["fmax"].values():
        del clock["constraint"]
    assert reached_hz(bare, 50e6) == 51e6
    assert reached_hz(bare, 50e6, 2) == 25.5e6
    # nextpnr tells its --freq, the machine's clock, where it derives no constraint
    assert reached_hz(report({"clk": (51, 50), "memory_clk": (60, 50)}), 50e6, 2) == 25.5e6


@pytest.mark.parametrize(
    ("chip", "start", "found"),
    [
        (100, 200, 50e6),  # the chip's clock is twice the machine's, and leaves it half
        (130, 200, 55e6),  # the machine itself
        (130, 25, 50e6),  # a clock of half the machine's reaches 25 MHz
    ],
)
def test_a_ddr3s_clocks_count_by_what_is_asked_of_them(chip, start, found):
    clocks = {"sys": (55, 48), "sys2x": (chip, 96), "init": (start, 24)}
    assert reached_hz(report(clocks), 48e6) == pytest.approx(found)


@pytest.mark.parametrize(
    ("machine", "memory", "crossing", "found"),
    [
        (51, 130, 5, 51e6),  # the machine itself
        (60, 90, 5, 45e6),  # the memory reaches 90 MHz, which leaves 45 for the machine
        (60, 130, 12.5, 40e6),  # a path between them of 12.5 ns: 80 MHz, which the memory's period must not exceed
    ],
)
def test_with_two_the_memorys_paths_and_those_between_count_as_often_as_it_is_faster(machine, memory, crossing, found):
    clocks = {"clk": (machine, 50), "memory_clk": (memory, 100), "pin": (300, 25)}
    paths = [
        ("posedge clk", "posedge memory_clk", (crossing / 2, crossing / 2)),
        ("posedge clk", "posedge clk", (30,)),
        ("posedge pin", "posedge clk", (40,)),  # of the start, whose register stands still long before
        ("<async>", "posedge clk", (50,)),
    ]
    assert reached_hz(report(clocks, paths), 50e6, 2) == pytest.approx(found)


def test_the_boards_own_clock_is_no_side_of_the_crossing_though_the_machine_is_as_slow():
    clocks = {"clk": (51, 25), "memory_clk": (240, 100), "pin": (300, 25)}
    paths = [("posedge pin", "posedge clk", (40,)), ("posedge memory_clk", "posedge clk", (5,))]
    assert reached_hz(report(clocks, paths), 25e6, 4) == pytest.approx(50e6)
