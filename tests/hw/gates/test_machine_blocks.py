"""Logic of the whole-token machine in gates: registers are those that the block declares; rows say of what they are."""

import json

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from hw.config import load_array
from hw.gates import machine_blocks
from hw.gates.flow.library import load_library
from hw.gates.machine_blocks import run_machine_blocks
from hw.program.machine import machine_around
from tests.hw.conftest import TINY


def test_the_unpacker_of_trits_is_that_of_five_trits_a_byte_on_any_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_blocks, "_DESIGNS", {"unpacker": machine_blocks._DESIGNS["unpacker of trits"]})
    rows = [
        run_machine_blocks(
            machine_around(load_array("8x8"), 2, weight_packing=packing), load_library([TINY]), tmp_path / packing, None
        )
        for packing in ("2bit", "5in8")
    ]
    assert rows[0] == rows[1]
    assert rows[0][0]["flip_flops"] == 64 + 5  # the parts of a beat that wait, and one for each count of them


def test_a_block_has_the_registers_that_it_declares(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_blocks, "_DESIGNS", {"passes": machine_blocks._DESIGNS["passes"]})
    machine, path = machine_around(load_array("8x8"), 2), tmp_path / "machine-tiny.json"
    (row,) = run_machine_blocks(machine, load_library([TINY]), path, None)
    assert row["flip_flops"] == 1 + 16 + 8 + 16 + 4  # issue, word, row, offset, and the edges left of at most 13
    assert row["area_um2"] > 0
    assert 0 < row["critical_s"] < 1e-6
    document = json.loads(path.read_text())
    assert (document["rows"], document["lanes"], document["blocks"]) == (8, 2, [row])
