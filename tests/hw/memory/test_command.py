"""``tritforge memory``: bandwidth, checked commands, refusals; the compiled bench sees what breaks a rule."""

import json
import re
import shutil
import sys

import pytest

from hw.__main__ import main
from hw.errors import InputError
from hw.memory.bench import Operation, Setup, measure, random_words, sequential
from hw.memory.chip import load_chip
from hw.memory.controller import SdramController
from hw.memory.litedram import litedram_verilog
from hw.memory.results import MemoryRecord, add_memory_rows, memory_markdown, memory_rows

compiles = pytest.mark.skipif(not (shutil.which("g++") and shutil.which("make")), reason="needs g++ and make")


@compiles
@pytest.mark.slow
def test_a_sequential_read_gets_95_percent_of_peak_and_random_words_come_right(capsys):
    main(["memory", "--clock-mhz", "100", "--traffic", "all", "--words", "20000", "--json"])
    rows = {row["traffic"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["sequential"]["efficiency"] > 0.95
    assert rows["sequential"]["words"] == rows["sequential"]["commands"]["read"] == 20_000
    # one refresh in 781 clocks, and eight of the initialisation
    assert rows["sequential"]["commands"]["refresh"] == pytest.approx(8 + rows["sequential"]["edges"] / 781, abs=2)
    assert rows["ahead"]["efficiency"] > 2 * rows["random"]["efficiency"]  # the next row opens behind the data
    assert rows["mixed"]["written"] == pytest.approx(6000, rel=0.05)
    assert [(row["violations"], row["wrong"]) for row in rows.values()] == [(0, 0)] * 4


@compiles
@pytest.mark.slow
def test_a_port_on_a_third_of_the_clock_gets_95_percent_of_peak_too(capsys):
    asked = ["--clock-mhz", "87.5", "--ratio", "3", "--word-bits", "64", "--traffic", "all", "--words", "10000"]
    main(["memory", *asked, "--json"])
    rows = {row["traffic"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["sequential"]["efficiency"] > 0.95
    assert rows["sequential"]["edges"] % 3 == 0
    assert [(row["violations"], row["wrong"], row["ratio"]) for row in rows.values()] == [(0, 0, 3)] * 4
    assert rows["random"]["first_edges"] > rows["random"]["cas"] + 6 + 4 + 6  # and the crossing, there and back


@compiles
@pytest.mark.slow
def test_the_compiled_chip_sees_a_controller_for_another_chip():
    chip = load_chip("as4c16m16sa-7")
    hasty = chip.model_copy(update={"rcd_ns": 7.0, "refresh_ns": 20_000.0})
    controller = SdramController(hasty, 143e6, 128)  # tRCD is 4 clocks, and a command is found again within 3
    controller.chip = chip  # the bench's chip keeps the data sheet
    found = measure(Setup.of(controller, 143e6), [*sequential(2000), *random_words(1 << 21, 300, 0.5)])
    assert {message.split(":")[0] for message in found.messages} == {"tRCD", "refresh"}


@compiles
@pytest.mark.slow
def test_words_that_are_taken_late_and_asked_for_with_pauses_come_right():
    setup = Setup.of(SdramController(load_chip("as4c16m16sa-7"), 100e6, 128), 100e6)
    asked = [Operation(5, 200), *(one._replace(gap=7) for one in random_words(1 << 21, 300, 0.3))]
    swift, slow = measure(setup, asked), measure(setup, asked, taken=20)
    assert [(one.words, one.wrong, one.messages) for one in (swift, slow)] == [(swift.words, 0, [])] * 2
    assert slow.edges > 200 * 256 / 20 > swift.edges / 10  # a word is taken on one edge of 13


@compiles
@pytest.mark.slow
def test_litedram_moves_the_same_words_through_the_same_chip(capsys):
    pytest.importorskip("litedram")
    main(["memory", "--clock-mhz", "100", "--traffic", "all", "--words", "5000", "--compare", "litedram", "--json"])
    rows = {(row["controller"], row["traffic"]): row for row in json.loads(capsys.readouterr().out)}
    assert [(row["violations"], row["wrong"]) for row in rows.values()] == [(0, 0)] * 8
    for traffic in ("sequential", "random", "ahead", "mixed"):
        ours, theirs = rows["tritforge", traffic], rows["litedram", traffic]
        assert (ours["words"], ours["written"]) == (theirs["words"], theirs["written"])
        assert ours["efficiency"] > theirs["efficiency"] > 0.3
    assert rows["litedram", "sequential"]["efficiency"] > 0.95


def test_litedram_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "litex.gen.fhdl.verilog", None)
    chip = load_chip("as4c16m16sa-7")
    with pytest.raises(InputError, match=re.escape("pip install litedram==2024.12")):
        litedram_verilog(chip, 50e6, chip.timing(50e6), 128, "top")


def test_an_operation_is_a_line_of_the_bench():
    assert [Operation(3, 5, 1).line(), Operation(3).line()] == ["r 3 5 1", "w 3 0"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--traffic", "slow"], "--traffic must be one of sequential, random, ahead, mixed, all, not 'slow'"),
        (["--clock-mhz", "200"], "must be above 0 and at most 143 MHz, not 200 MHz"),
        (["--clock-mhz", "nan"], "not nan MHz"),
        (["--word-bits", "96"], "word_bits must be 16 x a power of two"),
        (["--words", "0"], "--words must be 1 to 100000000, not 0"),
        (["--chip", "ddr4"], "chip must be one of as4c16m16sa-7"),
        (["--cas", "4"], "CAS latency must be 2 or 3, not 4"),
        (["--ratio", "9"], "--ratio: memory clock must be 1 to 8 times the machine's, not 9"),
        (["--ratio", "0"], "--ratio: memory clock must be 1 to 8 times the machine's, not 0"),
        (["--ratio", "2", "--compare", "litedram"], "--compare must be left out with --ratio"),
        (["--ratio", "2", "--chip", "mt41k64m16"], "--ratio must be left out with --chip mt41k64m16"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(words, error):
    with pytest.raises(InputError, match=re.escape(error)):
        main(["memory", *words])


def test_a_row_takes_the_place_of_an_older_one(tmp_path):
    row = MemoryRecord(
        controller="tritforge", chip="c", clock_hz=50e6, cas=2, word_bits=128, traffic="sequential", words=10,
        written=0, edges=100, efficiency=0.8, bytes_per_s=80e6, first_edges=13,
        commands={"read": 10}, violations=0, messages=(), wrong=0,
    )  # fmt: skip
    path = tmp_path / "rows.json"
    add_memory_rows(path, [row, row.model_copy(update={"traffic": "random"})])
    add_memory_rows(path, [row.model_copy(update={"efficiency": 0.9})])
    assert [(one.traffic, one.efficiency) for one in memory_rows(path)] == [("random", 0.8), ("sequential", 0.9)]
    assert "| 90.0 % | 80.0 | 13.0 |" in memory_markdown(memory_rows(path))
