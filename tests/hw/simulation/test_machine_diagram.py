"""The picture of the whole-token machine: every instance of the design, with the bits and memories that it has."""

from xml.etree import ElementTree

import pytest

from hw.__main__ import main
from hw.config import load_array
from hw.errors import InputError
from hw.program.machine import machine_around
from hw.simulation.command import MACHINE_PICTURE
from hw.simulation.machine_diagram import instances, machine_svg
from hw.verilog import machine_rtlil

SMALL = machine_around(load_array("8x8"), 2, scratch_words=64, activation_words=16, weight_packing="5in8")


@pytest.fixture(scope="module")
def top():
    return instances(machine_rtlil(SMALL))


def test_it_is_nested_as_the_design_is(top):
    found = {one.name: one for one in top.inside}
    assert set(found) == {"front", "reader", "loader", "row_reader", "vector", "activations", "core", "unpacker"}
    assert {"datapath", "passes", "scale_unit", "kv_writer", "argmax"} < {one.name for one in found["vector"].inside}
    assert found["activations"].memories == ((16, 8 * 8),)
    datapath = next(one for one in found["vector"].inside if one.name == "datapath")
    assert (64, 2 * 32) in datapath.memories


def test_bits_are_those_of_the_ports(top):
    # tokens 21 and valid, seek 20 and valid, words 64 and valid; ready of next, request, writes
    assert top.inputs == 22 + 21 + 65 + 3
    reader = next(one for one in top.inside if one.name == "reader")
    assert reader.outputs >= 56 + 1 + 1  # request, its valid, ready of words


def test_the_picture_shows_them_all(top):
    svg = ElementTree.fromstring(machine_svg(SMALL))
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    for one in (*top.inside, *(two for block in top.inside for two in block.inside)):
        assert any(text.startswith(one.name) for text in texts), one.name
    assert {"request 56", "words 64", "tokens 21", "status 4"} < set(texts)
    for one in (*top.inside, *(two for block in top.inside for two in block.inside)):
        shown = texts[texts.index(one.name + (f" x {one.count}" if one.count > 1 else "")) + 1]
        assert shown.endswith(f"bits + {len(one.memories) - 1}") == (len(one.memories) > 1), shown


def test_the_command_writes_it(tmp_path, capsys):
    main(["diagram", "--machine", "--array", "8x8", "--out", str(tmp_path / "machine.svg")])
    assert "machine.svg" in capsys.readouterr().out
    assert "<title>whole-token machine of 8 x 8 lanes" in (tmp_path / "machine.svg").read_text()


@pytest.mark.parametrize("words", [["--array", "8x8"], ["--out", "x.svg"]])
@pytest.mark.parametrize("machine", [["--machine"], []])
def test_a_picture_of_the_docs_is_of_no_other_array(words, machine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{words[0]} must be left out with --docs, whose pictures are of one array$"):
        main(["diagram", "--docs", *machine, *words])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_picture_in_the_docs_is_that_of_this_gateware():
    machine = machine_around(load_array("16x16"), 4)
    assert MACHINE_PICTURE.read_text() == machine_svg(machine), "renew it: python -m hw diagram --machine --docs"
