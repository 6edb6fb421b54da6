"""Resource results: the folded array stays as small as published, and the page shows the committed results."""

import json

import pytest

from hw.__main__ import main
from hw.arithmetic.adders import Cells
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.synthesis import resources
from hw.synthesis.command import PAGE, RESULTS, rendered, resource_table
from hw.synthesis.families import family_of
from hw.synthesis.resources import Accumulated, synthesize

PEER = ArrayConfig(
    name="16x4", rows=16, cols=4, chain_lanes=4, adders_per_register=1, accumulator_bits=20, weight_bus_bits=16
)


@pytest.mark.parametrize(("cells", "chain", "most", "adder"), [("ecp5", 4, 14.0, "CCU2C"), ("lut6", 1, 10.0, "LUT6_2")])
def test_a_16x4_array_takes_few_tables_per_mac_and_no_dsp(cells: Cells, chain: int, most: float, adder: str):
    found = synthesize(Accumulated(PEER.model_copy(update={"chain_lanes": chain}), cells), family_of(cells))
    assert found.tables / PEER.lanes <= most
    assert found.cells[adder] > 15 * 4 * 4  # the adders are really in there
    assert found.dsps == 0


def test_the_page_shows_the_committed_results():
    text = PAGE.read_text(encoding="utf-8")
    assert rendered(text, RESULTS) == text
    assert "| ecp5 | 16 x 4 | tree, chains of 4 | ecp5 |" in text


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("ice40", "^--cells of ice40 must be portable, not 'ecp5'$"),
        ("xc7", "^--cells of xc7 must be portable or lut6, not 'ecp5'$"),
    ],
)
def test_adders_of_another_family_are_refused_before_synthesis_fails_on_their_cells(family, message):
    with pytest.raises(InputError, match=message):
        main(["resources", "--family", family, "--cells", "ecp5"])


def test_a_family_has_its_own_adders_unless_told_otherwise(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(resources, "measure", lambda config, cells, family, *_: taken.append((family, cells)) or {})
    for words in (["--family", "ice40"], ["--family", "xc7"], ["--cells", "lut6"], []):
        main(["resources", *words, "--json", "--out", str(tmp_path)])
    assert taken == [("ice40", "portable"), ("xc7", "lut6"), ("xc7", "lut6"), ("ecp5", "ecp5")]


def test_router_and_placer_are_nextpnrs_and_are_handed_on(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(resources, "measure", lambda *arguments: given.append(arguments[-2:]) or {})
    for words in ([], ["--router", "router2", "--placer", "static"]):
        main(["resources", *words, "--json", "--out", str(tmp_path)])
    assert given == [("router1", "heap"), ("router2", "static")]
    with pytest.raises(InputError, match=r"^--placer must be one of heap, static, not 'sa'$"):
        main(["resources", "--placer", "sa"])


def test_a_row_names_the_placer_and_the_spread_where_they_are_not_the_usual_ones(tmp_path):
    row = json.loads((RESULTS / "fpga-ecp5-32x32-chain4-ecp5.json").read_text(encoding="utf-8"))
    row |= {"placer": "static", "array": row["array"] | {"spread_stages": 2}}
    (tmp_path / "fpga-a.json").write_text(json.dumps(row), encoding="utf-8")
    table = resource_table(tmp_path)
    assert "tree, chains of 4, spread by 2" in table
    assert "(LFE5U-85F, router2, placer static)" in table
