"""The vector unit's committed measurements are of these blocks; the command measures and writes Verilog."""

import json

import pytest
from amaranth.back import rtlil

from hw.__main__ import main
from hw.gateware.vector import catalog
from hw.synthesis.vector_unit import VECTOR_RESULTS
from hw.synthesis.word_level import MULTIPLIERS, word_level_cells


def test_committed_rows_are_of_the_blocks_of_today():
    rows = {row["block"]: row for row in json.loads(VECTOR_RESULTS.read_text(encoding="utf-8"))["blocks"]}
    assert list(rows) == list(catalog.BLOCKS)
    for name, block in catalog.BLOCKS.items():
        design = block.make()
        cells = word_level_cells(rtlil.convert(design, name=name, emit_src=False))
        multiplications = sum(cells.get(kind, 0) for kind in MULTIPLIERS)
        assert rows[name]["multiplications"] == design.multipliers == multiplications
        assert (rows[name]["latency"], rows[name]["does"]) == (design.latency, block.does)
        assert (rows[name]["dsps"] > 0) == (multiplications > 0)


def test_the_command_measures_and_writes_verilog(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(catalog, "BLOCKS", {"residual": catalog.BLOCKS["residual"]})
    main(["vector", "--json", "--out", str(tmp_path)])
    (row,) = json.loads(capsys.readouterr().out)["blocks"]
    committed = json.loads(VECTOR_RESULTS.read_text(encoding="utf-8"))["blocks"]
    assert row == next(one for one in committed if one["block"] == "residual")
    assert "module tritforge_residual(" in (tmp_path / "tritforge_residual.v").read_text(encoding="utf-8")
    main(["vector"])
    assert "| `residual`: two words added, saturated | element | 1 | 0 |" in capsys.readouterr().out


@pytest.mark.slow
def test_committed_cells_are_measured_again(capsys):
    main(["vector", "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads(VECTOR_RESULTS.read_text(encoding="utf-8"))
