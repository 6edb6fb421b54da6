"""The block diagram: its widths are those of the elaborated core, and the docs hold the present one."""

import json
import re
from xml.etree import ElementTree

import pytest

from hw.__main__ import main
from hw.config import ArrayConfig, load_array
from hw.errors import InputError
from hw.simulation.block_diagram import block_svg
from hw.simulation.command import PICTURE
from hw.simulation.timing_diagram import example
from hw.verilog import core_rtlil

OPTIONS = {"planes": 2, "group_exponent_bits": 2, "sum_of_x": True, "results": "int8", "packing": "5in8"}
CONFIGS = {
    "plain": ArrayConfig(name="p", rows=5, cols=3, chain_lanes=2, weight_bus_bits=16, token_tile=6),
    "options": ArrayConfig(name="o", rows=5, cols=3, weight_bus_bits=16, token_tile=6, **OPTIONS),
    "systolic": ArrayConfig(name="s", rows=5, cols=3, weight_bus_bits=16, token_tile=5, organisation="systolic"),
}


def texts(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def widths(rtlil: str) -> dict[str, int]:
    """Bits of the signals of the top module, its ports among them."""
    body = rtlil[re.search(r"^module \\tritforge_core$", rtlil, re.MULTILINE).end() :]
    signals = re.findall(
        r"wire width (\d+) (?:signed )?(?:(?:input|output) \d+ +)?\\(\S+)", body[: body.index("\nend\n")]
    )
    return {name: int(bits) for bits, name in signals}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_stream_is_as_wide_as_the_ports_of_the_core(config):
    ports, told = widths(core_rtlil(config)), texts(block_svg(config))
    for name in ("descriptor", "weights", "activations", "results"):
        assert told[told.index(name) + 1] == f"{ports[f'{name}__payload']} bits"


def test_inside_the_widths_are_those_between_the_modules():
    config = CONFIGS["options"]
    signals, told = widths(core_rtlil(config)), texts(block_svg(config))
    behind = {told[i - 2]: told[i + 1] for i, text in enumerate(told) if text.startswith("edge")}
    assert int(behind["vectors, their sum"]) == signals["vector"]
    assert int(behind["3 columns"]) == signals["totals"]
    assert int(behind["shifters"]) == signals["shifted"]
    assert int(behind["requantizer"]) == signals["results__payload"]
    assert f"{config.tiles_in_flight} x {signals['queued']} bits" in told


def test_only_an_array_of_gateware_has_a_core_to_draw():
    with pytest.raises(InputError, match=r"^array '4x4/int8': mac must be ternary for gateware, not int8$"):
        block_svg(load_array("4x4").baseline("int8"))


def test_the_command_draws_any_array(tmp_path, capsys):
    path = tmp_path / "one.svg"
    main(["diagram", "--array", "8x32", "--out", str(path), "--json"])
    assert json.loads(capsys.readouterr().out) == {"array": "8x32", "file": str(path)}
    assert "32 columns" in texts(path.read_text())


def test_the_picture_in_the_docs_is_that_of_this_gateware():
    assert PICTURE.read_text() == block_svg(example()[0]), "renew it: python -m hw diagram --docs"
