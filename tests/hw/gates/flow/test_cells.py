"""Liberty files: SI units, tables, cache, and files that cannot be used."""

import gzip
from functools import partial

import numpy as np
import pytest

from hw.errors import InputError
from hw.gates.flow.cell_choice import buffer_cell, clock_gate_cell, flip_flop_cells
from hw.gates.flow.cells import Table
from hw.gates.flow.library import load_library
from tests.hw.conftest import TINY

# The default absolute tolerance, 1e-12, is larger than a femtojoule.
close = partial(pytest.approx, rel=1e-6, abs=0)


def test_units_are_si(tiny):
    inv = tiny.cells["INV"]
    assert inv.pins["A"].capacitance == close(1e-15)
    assert inv.leakage == close(1e-9)
    arc = inv.pins["Y"].timing[0]
    assert arc.rise.at(0.02e-9, 0.02e-12) == close(0.3e-9)  # 0.10 ns + 10 ns/pF x 0.02 pF
    assert inv.pins["Y"].power[0].rise.at(0.02e-9, 0.0) == close(2e-15)  # 0.002 pF V^2
    assert tiny.voltage == 1.0


def test_constraint_axes_are_data_slew_then_clock_slew():
    text = TINY.read_text().replace(
        'rise_constraint (c) { values ("0.05, 0.05", "0.05, 0.05"); }',
        'rise_constraint (c) { values ("1, 2", "3, 4"); }',
    )
    setup = _load(text).cells["DFF"].pins["D"].timing[0].rise
    assert setup.at(1e-9, 0.01e-9) == close(2e-9)  # slow data, sharp clock: row of the clock, column of the data


def test_interpolation_is_bilinear_and_extrapolates():
    table = Table((0.0, 1.0), (0.0, 2.0), ((0.0, 2.0), (10.0, 14.0)))
    points = [(0.5, 1.0, 6.5), (1.0, 2.0, 14.0), (2.0, 0.0, 20.0), (0.0, 4.0, 4.0)]
    for slew, load, value in points:
        assert table.at(slew, load) == close(value)
    slews, loads, values = np.array(points).T
    assert table.at_each(slews, loads) == close(values)


def test_cache_gives_the_same_library(tmp_path):
    fresh = load_library([TINY], tmp_path)
    assert list(tmp_path.glob("*.json"))
    assert load_library([TINY], tmp_path) == fresh


def test_gzip_is_read(tmp_path):
    path = tmp_path / "tiny.lib.gz"
    path.write_bytes(gzip.compress(TINY.read_bytes()))
    assert load_library([path]).cells == load_library([TINY]).cells


def test_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "cut.lib.gz"
    path.write_bytes(gzip.compress(TINY.read_bytes())[:-200])
    with pytest.raises(InputError, match=r"cut\.lib\.gz: .*truncated"):
        load_library([path])


def test_truncated_text_names_the_cell(tmp_path):
    path = tmp_path / "cut.lib"
    text = TINY.read_text()
    path.write_text(text[: text.index("cell (DFF)") - 300])
    with pytest.raises(InputError, match=r"cut\.lib: the file ends inside cell NAND2: it is truncated"):
        load_library([path])


def test_every_truncation_is_refused(tmp_path):
    text = TINY.read_text()
    path = tmp_path / "cut.lib"
    for end in range(200, len(text.rstrip()) - 1, 97):
        path.write_text(text[:end])
        with pytest.raises(InputError):
            load_library([path])


def test_missing_file_and_other_text_are_named(tmp_path):
    with pytest.raises(InputError, match="no such Liberty file"):
        load_library([tmp_path / "absent.lib"])
    (tmp_path / "other.lib").write_text("module top; endmodule")
    with pytest.raises(InputError, match="must be a Liberty file"):
        load_library([tmp_path / "other.lib"])


def test_needed_cells_that_are_missing_are_named(tiny):
    text = TINY.read_text()
    without_flop = _load(text[: text.index("  cell (DFF)")] + "}\n")
    with pytest.raises(InputError, match="needs a rising-edge D flip-flop"):
        flip_flop_cells(without_flop)
    without_buffer = _load(text.replace('function : "A";', 'function : "!A";'))
    with pytest.raises(InputError, match="needs a buffer"):
        buffer_cell(without_buffer)
    with pytest.raises(InputError, match="needs cell 'XOR9'"):
        tiny.cell("XOR9")
    assert clock_gate_cell(tiny) is None


def _load(text):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "changed.lib"
        path.write_text(text)
        return load_library([path])
