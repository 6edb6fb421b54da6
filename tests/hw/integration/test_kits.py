"""`tritforge verilog --for`: what it writes, and what it refuses."""

import json

import pytest

from hw.__main__ import main
from hw.config import load_array
from hw.errors import InputError
from hw.integration.kits import KITS, write_kit


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
        write_kit(load_array("2x2"), "quartus", tmp_path)


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
