"""`tritforge verilog --for`: what it writes, and what it refuses."""

import hashlib
import json

import pytest

from hw.__main__ import main
from hw.boards.catalog import board_config, load_board
from hw.boards.project import write_board
from hw.config import load_array
from hw.errors import InputError
from hw.integration.kits import KITS, write_kit
from hw.verilog import write_verilog
from hw.verilog_config import write_config

ARRAY = load_array("2x2")


@pytest.mark.parametrize(
    ("kit", "words"),
    [(kit, ["--memories", "macros"] * macros) for kit in KITS for macros in (False, True)]
    + [(kit, ["--top", "axi-dma"]) for kit in ("fusesoc", "vivado")],
)
def test_every_file_that_a_kit_names_is_written_and_not_empty(kit, words, tmp_path, capsys):
    main(["verilog", "--array", "2x2", "--for", kit, "--out", str(tmp_path), "--json", *words])
    files = json.loads(capsys.readouterr().out)["files"]
    assert len(files) == len(set(files)) > 5
    written = {str(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == set(files)
    assert all((tmp_path / file).stat().st_size for file in files)


def test_an_unknown_kit_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"^kit must be one of cocotb, .*, not 'quartus'$"):
        write_kit(ARRAY, "quartus", tmp_path)


def contents(folder):
    """Every file below ``folder``."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kit", KITS)
def test_a_folder_that_is_used_again_holds_nothing_that_only_an_earlier_run_wrote(kit, tmp_path):
    """Benches and modules read every ``tritforge_*.v`` beside them."""
    write_kit(ARRAY, kit, tmp_path, "separate", memories="macros")
    mine = tmp_path / "tritforge_mine.v"
    mine.write_text("module mine; endmodule\n")
    assert list(tmp_path.rglob("tritforge_memories.v"))
    assert {*write_kit(ARRAY, kit, tmp_path), mine} == set(contents(tmp_path))


def test_a_board_in_the_folder_of_a_top_does_without_the_top(tmp_path):
    write_verilog(ARRAY, tmp_path, "axi", memories="macros")
    board = load_board("icebreaker")
    assert set(write_board(board, board_config(board, "2x2"), tmp_path)) == set(contents(tmp_path))
    assert set(write_verilog(ARRAY, tmp_path)) == set(contents(tmp_path))


def test_verilog_that_was_edited_is_refused_by_name_and_nothing_is_touched(tmp_path):
    write_kit(ARRAY, "litex", tmp_path, "separate", memories="macros")
    edited, script = tmp_path / "tritforge_memories.v", tmp_path / "tritforge_clocks.tcl"
    edited.write_text("// a macro of ours\n")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=rf"^{edited}: must go, .* edited .*; move it away or give another --out$"):
        write_kit(ARRAY, "litex", tmp_path)
    assert contents(tmp_path) == before
    edited.rename(tmp_path / "kept.v")
    script.write_text("# of ours\n")
    assert {*write_kit(ARRAY, "litex", tmp_path), tmp_path / "kept.v", script} == set(contents(tmp_path))


def test_a_manifest_removes_nothing_outside_its_folder(tmp_path):
    folder, other = tmp_path / "kit", tmp_path / "other.v"
    other.write_text("")
    empty = hashlib.sha256(b"").hexdigest()
    write_config(folder / "config.json", ARRAY, {"../other.v": empty, str(other): empty, "..": empty})
    write_verilog(ARRAY, folder)
    assert other.exists()


def test_a_kit_is_of_a_top_with_registers(tmp_path):
    words = ["verilog", "--for", "cocotb", "--out", str(tmp_path)]
    with pytest.raises(InputError, match=r"^--for must be left out with --board, whose top is not the AXI top$"):
        main([*words, "--board", "ulx3s-12f"])
    with pytest.raises(InputError, match=r"^--check, --core-clock, --for and --top must be left out with --program$"):
        main([*words, "--program", str(tmp_path)])
    with pytest.raises(InputError, match=r"^--top must be axi or axi-dma with --for, .*, not 'core'$"):
        main([*words, "--top", "core"])
    for kit in ("cocotb", "litex"):
        message = rf"^top must be axi in kit {kit}, .* as streams, not 'axi-dma'; kits fusesoc and vivado take it$"
        with pytest.raises(InputError, match=message):
            main(["verilog", "--for", kit, "--out", str(tmp_path), "--top", "axi-dma"])
    with pytest.raises(InputError, match=r"^--memories must be left out with --board, whose tool infers block RAM; "):
        main(["verilog", "--memories", "macros", "--board", "ulx3s-12f", "--out", str(tmp_path)])
    for others in ([], ["--top", "core"], ["--board", "ulx3s-12f"]):
        with pytest.raises(InputError, match=r"^--core-clock must come with --top axi, --top axi-dma or --for, whose"):
            main(["verilog", "--core-clock", "separate", "--out", str(tmp_path), *others])
    with pytest.raises(InputError, match=r"^--top must be left out with --board, whose top is its own$"):
        main(["verilog", "--top", "axi", "--board", "ulx3s-12f", "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())
