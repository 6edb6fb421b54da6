"""Which memory a whole-token machine gets on a board, and what a board lacks, in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hw.boards.bitstream import route_seeds
from hw.boards.capacity import _LEAST_MACHINE_LUTS, check_machine_room
from hw.boards.catalog import BOARDS, load_board
from hw.boards.whole.choice import whole_design
from hw.boards.whole.design import baud_of, whole_board
from hw.boards.whole.sdram import sdram_of, sdram_sites
from hw.errors import InputError
from hw.memory.chip import chip_names, load_chip
from tests.hw.gateware.whole.test_machine import image


@pytest.fixture(scope="module")
def program():
    return image()[0]


def test_a_board_with_an_sdram_takes_all_of_it_and_another_one_block_ram_for_the_program(program):
    machine, words = program.machine, program.header.memory_words
    large = whole_design(load_board("ulx3s-85f"), machine, program)
    assert (large.memory, large.memory_bytes) == ("sdram", 32 << 20)
    small = whole_design(load_board("icebreaker"), machine, program)
    assert (small.memory, small.memory_words) == ("block", words)
    assert whole_design(load_board("ulx3s-85f"), machine, program, "block").memory == "block"


def test_what_a_board_lacks_is_said(program):
    machine = program.machine
    with pytest.raises(
        InputError,
        match=r"^board icebreaker: --whole must come with --program, whose size the memory takes in "
        r"block RAM of icebreaker, which has no SDRAM here$",
    ):
        whole_design(load_board("icebreaker"), machine, None)
    with pytest.raises(InputError, match=r"^board icebreaker has no SDRAM that is supported here; take --ram block"):
        whole_design(load_board("icebreaker"), machine, program, "sdram")
    with pytest.raises(InputError, match=r"^--ram must be one of auto, sdram, ddr3, block, not 'ddr'$"):
        whole_design(load_board("icebreaker"), machine, program, "ddr")
    header = program.header._replace(memory_words=(32 << 20) // 8 + 1)
    data = program.memory.copy()
    data[:32] = bytearray(header.encoded())
    large = program._replace(memory=data)
    with pytest.raises(
        InputError, match=r"^program needs 33554440 bytes .* the SDRAM of ulx3s-85f .* holds 33554432: "
    ):
        whole_design(load_board("ulx3s-85f"), machine, large)
    with pytest.raises(InputError, match=r"^program needs 33554440 bytes .* block RAM of icebreaker, .* holds 11264: "):
        whole_design(load_board("icebreaker"), machine, large)


def test_another_chip_in_its_place_must_have_the_boards_pins(program):
    board, machine = load_board("ulx3s-85f"), program.machine
    assert whole_design(board, machine, None, chip="as4c32m16sb-7").memory_bytes == 64 << 20
    with pytest.raises(InputError, match=r"^chip on ulx3s-85f must have 16 data and 13 address pins, not 32 and 11 as"):
        whole_design(board, machine, None, chip="gw2ar-18")
    with pytest.raises(InputError, match=r"^--chip must be left out in block RAM of ulx3s-85f$"):
        whole_design(board, machine, program, "block", "as4c32m16sb-7")


@pytest.mark.parametrize(
    ("board", "memory", "mhz", "ratio", "message"),
    [
        ("ulx3s-85f", "auto", 50, 3, r"^--memory-clock: clock of as4c16m16sa-7 must be above 0 and at most 143 MHz, "
         r"not 150 MHz, 3 times the machine's 50 MHz: take 2 times or less$"),
        ("ulx3s-85f", "auto", 0.5, 2, r"^--memory-clock: clock of as4c16m16sa-7 must leave time between refreshes, not "
         r"be 1 MHz, 2 times the machine's 0.5 MHz: take a faster clock$"),
        ("ulx3s-85f", "auto", 50, 0, r"^--memory-clock: memory clock must be 1 to 8 times the machine's, not 0$"),
        ("ulx3s-85f", "auto", 60, 2, r"^the PLL of ecp5 cannot make 120 MHz of 25 MHz exactly; "),
        ("ulx3s-85f", "block", 50, 2, r"^--memory-clock must be left out in block RAM of ulx3s-85f, whose clock "),
        ("orangecrab-85f", "auto", 48, 2, r"^--memory-clock must be left out in the DDR3 of orangecrab-85f "),
        ("icebreaker", "auto", 12, 2, r"^--memory-clock must be left out in block RAM of icebreaker, which has no "),
        ("tang-nano-20k", "auto", 27, 2, r"^--memory-clock must be left out on gowin: a second clock is made by the "
         r"PLL of ecp5 alone, here$"),
    ],
)  # fmt: skip
def test_a_memory_clock_that_chip_pll_or_memory_does_not_bear_is_refused_with_numbers(
    program, board, memory, mhz, ratio, message
):
    with pytest.raises(InputError, match=message):
        whole_design(load_board(board)._replace(clock_hz=1e6 * mhz), program.machine, program, memory, None, ratio)


def test_every_board_with_a_clock_pin_has_a_rate_within_a_hundredth_of_a_bit():
    for board in map(whole_board, BOARDS.values()):
        rate = baud_of(board)
        divisor = round(board.clock_hz / rate)
        assert divisor >= 8
        assert abs(divisor * rate / board.clock_hz - 1) <= 0.0101, board.name


@pytest.mark.parametrize("mhz", [100 / 3, 7.5])
def test_a_clock_that_no_line_divides_into_is_refused_with_the_clocks_that_would_do(mhz):
    board = load_board("ulx3s-85f")._replace(clock_hz=1e6 * mhz)
    with pytest.raises(
        InputError, match=rf"its clock of {mhz:g} MHz must be within 1% of a whole number of MHz, 8 or more,"
    ):
        baud_of(board)


def test_the_chip_that_is_taken_has_clocks_that_suffice_every_chip_of_its_board():
    board = whole_board(load_board("ulx3s-85f"))
    taken = sdram_of(board).chip
    for clock_hz in (board.clock_hz, 100e6):
        clocks = taken.timing(clock_hz)
        for chip in map(load_chip, chip_names()):
            if (chip.data_bits, chip.bytes) == (taken.data_bits, taken.bytes):
                assert clocks.refresh <= chip.timing(clock_hz).refresh
                for name in ("cas", "rcd", "rp", "ras", "rc", "rrd", "wr", "rfc", "mrd", "power_up"):
                    assert getattr(clocks, name) >= getattr(chip.timing(clock_hz), name), (chip.name, name)
                assert taken.init_refreshes >= chip.init_refreshes


def test_pads_of_the_sdram_are_the_pins_of_the_board():
    found = sdram_of(load_board("ulx3s-85f"))
    sites = sdram_sites(found)
    assert sites["sdram_clk"].name == "F19"  # emard/ulx3s doc/constraints/ulx3s_v20.lpf
    assert (sites["sdram_dq[0]"].name, sites["sdram_dq[15]"].name, sites["sdram_a[12]"].name) == ("J16", "J17", "G19")
    assert len(sites) == 4 + 2 + 13 + 16 + 2 + 2
    assert sdram_of(load_board("icebreaker")) is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("bitstream --board icebreaker --program absent", "--program must come with --whole"),
        ("bitstream --board ulx3s-85f --lanes 4", "--lanes must come with --whole"),
        ("bitstream --board ulx3s-85f --ram sdram", "--ram must come with --whole"),
        ("bitstream --board icebreaker --whole", "board icebreaker: --whole must come with --program, whose size"),
        ("bitstream --board ulx3s-85f --whole --program absent", "absent: must hold image.bin and config.json"),
        ("verilog --whole", "--whole needs --board"),
        (
            "verilog --board ulx3s-85f --lanes 4",
            "--lanes, --mhz, --memory-clock, --ram and --chip must come with --whole",
        ),
        (
            "verilog --board ulx3s-85f --memory-clock 2",
            "--lanes, --mhz, --memory-clock, --ram and --chip must come with",
        ),
        ("bitstream --board ulx3s-85f --memory-clock 2", "--memory-clock must come with --whole"),
        ("simulate --board ulx3s-85f --preload", "--preload must come with --whole --program DIR"),
        ("simulate --board kv260 --whole --program absent", "absent: must hold image.bin"),
    ],
)
def test_bad_options_are_one_line(command, message):
    done = subprocess.run([sys.executable, "-m", "hw", *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_a_machine_with_lanes_beside_a_program_is_refused(program, tmp_path):
    program.write(tmp_path)
    words = ["bitstream", "--board", "ulx3s-85f", "--whole", "--program", str(tmp_path), "--lanes", "4"]
    done = subprocess.run([sys.executable, "-m", "hw", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: --lanes must be left out with --program")


def test_boards_without_room_for_any_machine_are_refused_before_synthesis(program, tmp_path):
    for name in (
        "ulx3s-12f",
        "orangecrab-25f",
        "tang-nano-20k",
    ):  # the last lacks 12 % for that one
        check_machine_room(load_board(name))
    board = load_board("icebreaker")
    with pytest.raises(InputError, match=r"^board icebreaker: .* takes 29750 LUTs and iCE40UP5K-SG48 has 5280; take"):
        route_seeds(board, whole_design(board, program.machine, program), tmp_path / "b", [1], print, print)
    assert not (tmp_path / "b").exists()


def test_the_least_machine_is_the_measured_one():
    for board, luts in (("icebreaker", _LEAST_MACHINE_LUTS["ice40"]), ("tang-nano-20k", _LEAST_MACHINE_LUTS["gowin"])):
        row = json.loads((Path("docs/results/boards") / f"{board}-whole-8x4.json").read_text())
        assert (row["luts"], row["whole"]["lanes"]) == (luts, 2)
