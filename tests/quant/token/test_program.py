"""``tritforge program`` and ``tritforge disassemble`` as a person types them."""

import json

import pytest

from hw.__main__ import main as hw
from hw.errors import InputError
from hw.program.results import read_sizes
from quant import pipeline
from quant.__main__ import main as quant


@pytest.fixture
def program(tiny_folder, tiny_text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")

    def typed(*arguments):
        given = ("--calib", str(tiny_text), "--calibration-windows", "1", "--out", str(tmp_path / "out"))
        for option, value in (("--array", "8x8"), ("--context", "24"), ("--block", "16")):
            given += (option, value) if option not in arguments else ()
        quant(["program", str(tiny_folder), *given, *arguments])
        return capsys.readouterr().out

    return typed


def test_it_compiles_checks_and_can_be_read(program, tmp_path, capsys):
    printed = program("--check", "20")
    assert "20 greedy tokens of the program equal the integer model's" in printed
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["form"]["block"] == 16
    assert config["image"]["bytes"] == (tmp_path / "out" / "image.bin").stat().st_size
    hw(["disassemble", str(tmp_path / "out")])
    listing = capsys.readouterr().out
    assert listing == (tmp_path / "out" / "program.txt").read_text()
    hw(["disassemble", str(tmp_path / "out"), "--json"])
    assert len(json.loads(capsys.readouterr().out)) == len(listing.splitlines())
    assert json.loads(program("--json"))["instructions"]["STOP"] == 1
    hw(["verilog", "--program", str(tmp_path / "out")])
    assert "module tritforge_machine(" in (tmp_path / "out" / "tritforge_machine.v").read_text()
    with pytest.raises(
        InputError,
        match=r"^--array must be left out with --program, whose machine is written, but for --board with --whole$",
    ):
        hw(["verilog", "--program", str(tmp_path / "out"), "--array", "8x8"])
    capsys.readouterr()
    hw(["disassemble", str(tmp_path / "out"), "--regions"])
    sizes = tmp_path / "sizes.json"
    program("--weight-packing", "5in8", "--check", "5", "--options", "digits=1", "--add", str(sizes))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["machine"]["weight_packing"], config["options"]) == ("5in8", {"digits": 1})
    (row,) = read_sizes(sizes)
    assert (row.method, row.options, row.rotate, row.context, row.block) == ("digits", {"digits": 1}, True, 24, 16)
    hw(["disassemble", str(tmp_path / "out"), "--regions"])
    assert "layer 0, K scales" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--context", "1"), "context must be at least 2 tokens, not 1"),
        (("--check", "24"), "--check must be 0 to 23 tokens, not 24"),
        (("--array", "12x8"), "array '12x8': rows of a whole-token machine must be a power of two, not 12"),
        (("--block", "4"), "the machine needs blocks of a power of two of at least 8 tokens, not 4: give --block 64"),
        (("--scratch-words", "32"), "scratch memory must hold [0-9]+ words of 2 lanes for this model, not 32"),
    ],
)
def test_what_does_not_fit_is_refused(program, arguments, message):
    with pytest.raises(InputError, match=f"^{message}"):
        program(*arguments)


def test_a_folder_without_a_program_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold image\.bin and config\.json of `tritforge program`"):
        hw(["disassemble", str(tmp_path)])
