"""LiteDRAM's DDR3 controller behind our port on its simulated chip: words, levelling, resets, refusals."""

import importlib.util
import json
import re
import shutil
import sys

import pytest

from hw.__main__ import main
from hw.errors import InputError
from hw.memory.bench import Operation, random_words, sequential
from hw.memory.ddr3.bench import measure_ddr3
from hw.memory.ddr3.chips import load_ddr3
from hw.memory.ddr3.core import ddr3_verilog, pad_widths
from hw.memory.results import MemoryRecord, memory_markdown

CHIP = load_ddr3("mt41k64m16")
compiles = pytest.mark.skipif(not (shutil.which("g++") and shutil.which("make")), reason="needs g++ and make")
generates = pytest.mark.skipif(not importlib.util.find_spec("litedram"), reason="needs litedram==2024.12")


@generates
@compiles
@pytest.mark.slow
def test_every_traffic_comes_right_at_the_clock_of_the_board(capsys):
    main(["memory", "--chip", "mt41k64m16", "--word-bits", "64", "--traffic", "all", "--words", "3000", "--json"])
    rows = {row["traffic"]: row for row in json.loads(capsys.readouterr().out)}
    assert [(row["violations"], row["wrong"], row["cas"]) for row in rows.values()] == [(0, 0, 6)] * 4
    assert rows["sequential"]["efficiency"] > 0.75
    assert rows["mixed"]["written"] == pytest.approx(900, rel=0.1)
    assert rows["ahead"]["efficiency"] > 2 * rows["random"]["efficiency"]
    found = measure_ddr3(CHIP, 48e6, 64, random_words(1 << 24, 4000, 0.5, 3), taken=180, resets=300, seed=3)
    assert found.restarts > 100  # of the port, on any edge; what lies in the chip survives them
    assert (found.wrong, found.hung, found.violations) == (0, False, 0)
    assert (found.delays, found.slips) == ((4, 2), (1, 2))  # middles of delays 2 to 5 and 0 to 3, where slips are right
    assert found.levelled > 700e-6 * 48e6  # reset and quiet
    wrapped = measure_ddr3(
        CHIP, 48e6, 64, [Operation((1 << 24) - 3, 9), Operation(5, 0), Operation(2, 700), *sequential(9)]
    )
    assert (wrapped.wrong, wrapped.words, wrapped.written) == (0, 718, 1)


@generates
def test_the_controllers_verilog_has_the_boards_phy_and_is_the_same_on_every_run():
    one, other = (ddr3_verilog.__wrapped__(CHIP, 48e6, 48e6) for _ in range(2))
    assert one == other
    cells = {name: len(re.findall(rf"^{name} ", one, re.MULTILINE)) for name in ("DQSBUFM", "IDDRX2DQA", "EHXPLLL")}
    assert cells == {"DQSBUFM": 2, "IDDRX2DQA": 16, "EHXPLLL": 1}
    assert len(re.findall(r"^ODDRX2DQA ", one, re.MULTILINE)) == 16 + 2  # data and masks
    assert re.search(r"inout +wire +\[15:0\] ddram_dq,", one)
    assert one.splitlines()[2] == "// SPDX-License-Identifier: BSD-2-Clause"
    assert "BSD" not in one.split("\n", 3)[3]
    assert not re.search(r"20\d\d-\d\d-\d\d", one)


@generates
@pytest.mark.parametrize("clock_hz", [24e6, 48e6, 100e6])
def test_the_simulated_phy_has_the_settings_of_the_boards(clock_hz):
    """Latencies, phases of commands, sizes: what LiteDRAM's controller knows of a PHY, and all that is simulated."""
    from litedram.modules import MT41K64M16
    from litedram.phy import ECP5DDRPHY
    from migen import Record

    from hw.memory.ddr3.phy_model import SkewedPhy

    boards = ECP5DDRPHY(Record(list(pad_widths(CHIP).items())), clock_hz, cl=6, cwl=5)
    simulated = SkewedPhy(CHIP, clock_hz, MT41K64M16(clock_hz, "1:2"), ())
    ours, theirs = ({**vars(phy.settings), "self": None} for phy in (simulated, boards))
    assert ours == theirs


@generates
def test_masks_leave_beside_the_strobe_of_the_other_byte():
    """On the OrangeCrab the low mask's pad stands among the high byte's and the other way round."""
    text = ddr3_verilog(CHIP, 48e6, 48e6)
    low_pad = re.search(r"assign (\w*dm_o_data0)\[0\] = (.*);", text) or re.search(
        r"(\w*dm_o_data0)\[0\] <?= (.*);", text
    )
    assert low_pad
    assert low_pad[2].endswith("p0_wrdata_mask[1]")  # beat 0, byte 1


@generates
def test_a_clock_that_no_pll_makes_is_refused():
    with pytest.raises(InputError, match=r"^the PLL of ecp5 cannot make 97\.3 MHz for DDR3 of 48 MHz; take another"):
        ddr3_verilog(CHIP, 48.65e6, 48e6)


def test_litedram_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "litex.gen.fhdl.verilog", None)
    ddr3_verilog.cache_clear()
    with pytest.raises(InputError, match=r"^a DDR3 controller for mt41k64m16 needs its generator: pip install lite"):
        ddr3_verilog(CHIP, 48e6, 48e6)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--clock-mhz", "200"], "clock of a DDR3 controller must be 24 to 100 MHz, not 200 MHz"),
        (["--clock-mhz", "nan"], "clock of a DDR3 controller must be 24 to 100 MHz, not nan MHz"),
        (["--cas", "3"], "--cas must be left out with --chip mt41k64m16, whose CAS latency is 6"),
        (["--cas", "0"], "--cas must be left out with --chip mt41k64m16, whose CAS latency is 6"),
        (
            ["--compare", "litedram"],
            "--compare must be left out with --chip mt41k64m16, whose controller",
        ),
        (["--verilog", "x.v"], "--verilog must be left out with --chip mt41k64m16, whose Verilog is that of a board"),
        (["--word-bits", "96"], "--word-bits must be one of 32, 64, 128, 256, 512, 1024, not 96"),
        (["--traffic", "slow"], "--traffic must be one of sequential"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(words, error):
    with pytest.raises(InputError, match=f"^{re.escape(error)}"):
        main(["memory", "--chip", "mt41k64m16", *words])


def test_an_unknown_chip_is_refused():
    with pytest.raises(InputError, match=r"^DDR3 chip must be one of mt41k64m16, mt41k128m16, .*, not 'mt41k64m'"):
        load_ddr3("mt41k64m")
    with pytest.raises(InputError, match=r"^chip must be one of as4c.*, mt41k64m16, .*; did you mean 'mt41k64m16'\?$"):
        main(["memory", "--chip", "MT41K64M"])


def test_commands_that_nobody_counted_are_no_number():
    row = MemoryRecord(
        controller="litedram", chip="c", clock_hz=48e6, cas=6, word_bits=64, traffic="sequential", words=10, written=0,
        edges=100, efficiency=0.8, bytes_per_s=80e6, first_edges=13, commands={}, violations=0, messages=(), wrong=0,
    )  # fmt: skip
    assert "| 13.0 | - | 0 | 0 |" in memory_markdown([row])
