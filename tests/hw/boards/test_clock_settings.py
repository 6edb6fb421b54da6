"""PLL settings against a search over everything that the data sheets allow."""

from types import SimpleNamespace

import pytest

from hw.boards.catalog import board_config, load_board
from hw.boards.clock import Clock, pll_settings
from hw.boards.project import board_rtlil
from hw.errors import InputError


def exhaustive(family, board_hz, clock_hz):
    """Least divider, then the oscillator nearest to the middle of its range, in MHz as the data sheets print it."""
    vco_divides = range(1, 129)
    if family == "ecp5":  # FPGA-DS-02012: oscillator 400 to 800 MHz, detector 10 to 400 MHz, dividers to 40, 80, 128
        divides, multiplies, low, high, detector = range(1, 41), range(1, 81), 400e6, 800e6, (10e6, 400e6)
    elif (
        family == "ice40"
    ):  # FPGA-DS-02008: oscillator 533 to 1066 MHz, detector 10 to 133 MHz, output by a power of two
        divides, multiplies, low, high, detector = range(1, 17), range(1, 129), 533e6, 1066e6, (10e6, 133e6)
        vco_divides = [1 << power for power in range(1, 7)]
    elif family == "gowin":  # UG286 and data sheets: oscillator 500 to 1200 MHz, detector 3 to 400 MHz
        divides, multiplies, low, high, detector = range(1, 65), range(1, 65), 500e6, 1200e6, (3e6, 400e6)
        vco_divides = [2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128]
    else:  # DS181 PLLE2: oscillator 800 to 1600 MHz, detector 19 to 450 MHz, 1 to 5 and 2 to 64
        divides, multiplies, low, high, detector = range(1, 6), range(2, 65), 800e6, 1600e6, (19e6, 450e6)
    found = []
    for divide in divides:
        if detector[0] <= board_hz / divide <= detector[1]:
            for multiply in multiplies:
                for vco_divide in vco_divides:
                    if family in ("ecp5", "gowin"):
                        output = board_hz * multiply / divide
                        vco = output * vco_divide
                    else:
                        vco = board_hz * multiply / divide
                        output = vco / vco_divide
                    if low <= vco <= high and abs(output - clock_hz) <= 1e-6 * clock_hz:
                        found.append((divide, abs(vco - (low + high) / 2), multiply, vco_divide, output, vco))
    return min(found, default=None)


@pytest.mark.parametrize(
    ("family", "board", "clock"),
    [
        ("ecp5", 25e6, 50e6), ("ecp5", 25e6, 62.5e6), ("ecp5", 12e6, 48e6), ("ecp5", 100e6, 75e6),
        ("ecp5", 10e6, 400e6), ("ecp5", 400e6, 10e6), ("ecp5", 48e6, 12e6), ("xc7", 100e6, 150e6),
        ("xc7", 100e6, 62.5e6), ("xc7", 25e6, 1600e6), ("xc7", 19e6, 19e6), ("xc7", 450e6, 900e6),
        ("xc7", 100e6, 6.25e6), ("ice40", 12e6, 24e6), ("ice40", 12e6, 21e6), ("ice40", 48e6, 60e6),
        ("gowin", 27e6, 54e6), ("gowin", 27e6, 67.5e6), ("gowin", 27e6, 30e6),
    ],
)  # fmt: skip
def test_settings_are_the_best_of_all(family, board, clock):
    found = pll_settings(family, board, clock)
    divide, _, multiply, vco_divide, output, vco = exhaustive(family, board, clock)
    assert (found.divide, found.multiply, found.vco_divide) == (divide, multiply, vco_divide)
    assert (found.output_hz, found.vco_hz) == pytest.approx((output, vco))
    assert found.output_hz == pytest.approx(clock, rel=1e-6)


@pytest.mark.parametrize(
    ("family", "board", "clock"),
    [
        ("ecp5", 9.9e6, 20e6),
        ("ecp5", 25e6, 26.3e6),
        ("ecp5", 25e6, 801e6),
        ("xc7", 18.9e6, 50e6),
        ("xc7", 100e6, 5e6),
        ("ice40", 12e6, 13e6),
        ("ice40", 12e6, 8e6),
        ("gowin", 27e6, 10e6),
        ("gowin", 27e6, 601e6),
    ],
)
def test_what_no_setting_gives_is_refused(family, board, clock):
    assert exhaustive(family, board, clock) is None
    with pytest.raises(InputError, match="cannot make"):
        pll_settings(family, board, clock)


def test_a_family_without_pll_keeps_the_boards_clock():
    with pytest.raises(InputError, match=r"clock must be the board's 100 MHz on xcup, not 200 MHz"):
        pll_settings("xcup", 100e6, 200e6)


def made(family, board_hz, clock_hz, pack_options=""):
    """The PLL of a board's clock, and its settings."""
    board = SimpleNamespace(
        family=family, board_hz=board_hz, clock_hz=clock_hz, ports={"clk": "pin"}, pack_options=pack_options
    )
    return Clock(board).elaborate(None).submodules.pll, pll_settings(family, board_hz, clock_hz)


def test_an_ecp5_pll_divides_as_the_settings_say():
    """Frequencies in MHz; the output's phase is its divider less one, so that it rises with its input."""
    pll, settings = made("ecp5", 25e6, 62.5e6)
    found = pll.parameters
    assert (found["CLKI_DIV"], found["CLKFB_DIV"], found["CLKOP_DIV"]) == (
        settings.divide, settings.multiply, settings.vco_divide
    )  # fmt: skip
    assert (found["CLKOP_CPHASE"], found["CLKOP_FPHASE"]) == (settings.vco_divide - 1, 0)
    assert (pll.attrs["FREQUENCY_PIN_CLKI"], pll.attrs["FREQUENCY_PIN_CLKOP"]) == ("25", "62.5")


@pytest.mark.parametrize(("mhz", "ratio"), [(50, 2), (43.75, 2), (125 / 3, 3), (25, 4)])
def test_an_ecp5_pll_makes_a_memory_clock_whose_every_nth_edge_is_one_of_the_machines(mhz, ratio):
    """An output rises where the oscillator's count is its phase modulo its divider: both at each edge of the slower."""
    board = load_board("ulx3s-85f")._replace(clock_hz=1e6 * mhz)
    made = Clock(board, ratio).elaborate(None).submodules
    found = made.pll.parameters
    memory_hz = board.board_hz * found["CLKFB_DIV"] / found["CLKI_DIV"]
    assert memory_hz == pytest.approx(ratio * board.clock_hz)
    assert found["CLKOS_DIV"] == ratio * found["CLKOP_DIV"] <= 128
    fast, slow = ((found[f"CLKO{name}_CPHASE"] + 1) % found[f"CLKO{name}_DIV"] for name in "PS")
    assert (fast, slow, found["CLKOS_FPHASE"], found["CLKOS_ENABLE"]) == (0, 0, 0, "ENABLED")
    assert 400e6 <= memory_hz * found["CLKOP_DIV"] <= 800e6
    # both stand still until the PLL has locked, and each begins on an edge of its own
    assert (made.gate.type, made.memory_gate.type) == ("DCCA", "DCCA")


def test_a_series_7_pll_divides_as_the_settings_say():
    """The period of its input in ns."""
    pll, settings = made("xc7", 100e6, 62.5e6)
    found = pll.parameters
    assert found["CLKIN1_PERIOD"] == pytest.approx(10.0)
    assert (found["DIVCLK_DIVIDE"], found["CLKFBOUT_MULT"], found["CLKOUT0_DIVIDE"]) == (
        settings.divide, settings.multiply, settings.vco_divide
    )  # fmt: skip


def test_an_ice40_pll_divides_as_icepll_says():
    """``icepll -i 12 -o 24`` of Project IceStorm; and 48 MHz lies in its fourth filter range."""
    pll, _ = made("ice40", 12e6, 24e6)
    names = ("DIVR", "DIVF", "DIVQ", "FILTER_RANGE")
    assert [pll.parameters[name].value for name in names] == [0, 63, 5, 1]
    assert made("ice40", 48e6, 60e6)[0].parameters["FILTER_RANGE"].value == 4


def test_a_gowin_pll_names_its_part_and_counts_from_zero():
    """27 MHz times 2; the packer refuses a device that it does not know."""
    for options, device in (("-d GW1N-9C", "GW1NR-9C"), ("-d GW2A-18C", "GW2AR-18C")):
        found = made("gowin", 27e6, 54e6, options)[0].parameters
        assert (found["IDIV_SEL"], found["FBDIV_SEL"], found["FCLKIN"], found["DEVICE"]) == (0, 1, "27", device)
        assert 500 <= 54 * found["ODIV_SEL"] <= 1200


def test_behind_a_pll_of_an_ecp5_the_clock_stands_until_it_is_good_and_nothing_is_reset():
    """One net to every register of the chip was the longest path; with the board's own clock there is a reset."""
    still, running = load_board("ulx3s-12f"), load_board("icebreaker")._replace(clock_hz=12e6)
    for board, gated in ((still, True), (running, False)):
        text = board_rtlil(board, board_config(board, "1x1"))
        assert ("cell \\DCCA " in text) == gated
        assert ("\\rst" in text) != gated
