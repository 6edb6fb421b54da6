"""Operands, the resumable table, the generated document and the command line."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("amaranth")

from hw.errors import InputError
from hw.gates import table
from hw.gates.designs.candidates import Design
from hw.gates.designs.operands import recorded, synthetic
from hw.gates.document import _key, _ratios, document
from hw.gates.mapped import mapped_module
from hw.gates.measure import Measurement
from tests.hw.conftest import TINY

ROOT = Path(__file__).parents[3]


def test_synthetic_trits_have_the_share_of_zeros():
    operands = synthetic("ternary", 64_000, 1, 1, 1, zero_fraction=0.3)
    assert (operands.w == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert abs((operands.w > 0).mean() - (operands.w < 0).mean()) < 0.02


def test_recorded_tiles_are_cut_from_the_matrices(tmp_path):
    q, t = np.arange(20 * 6).reshape(20, 6) % 100, np.tile([1, 0, -1], (4, 2))
    np.save(tmp_path / "q.npy", q.astype(np.int8))
    np.save(tmp_path / "t.npy", t.astype(np.int8))
    operands = recorded(tmp_path / "q.npy", tmp_path / "t.npy", 16, 4, 3, 2)
    assert operands.run == 4
    assert operands.x[0].tolist() == [0, 1, 2]
    assert operands.x[5].tolist() == (q[5, 3:6]).tolist()  # the second tile: next K
    assert operands.zero_fraction == pytest.approx(1 / 3)


def test_faulty_recordings_are_named(tmp_path):
    np.save(tmp_path / "q.npy", np.zeros((4, 8), np.int8))
    np.save(tmp_path / "t.npy", np.full((4, 8), 2, np.int8))
    np.save(tmp_path / "short.npy", np.zeros((4, 7), np.int8))
    np.save(tmp_path / "float.npy", np.zeros((4, 8)))
    (tmp_path / "text.npy").write_text("not an array")
    for weights, message in [
        ("t.npy", "must hold trits"),
        ("short.npy", "as many columns"),
        ("float.npy", "2-D integer array"),
        ("text.npy", r"readable \.npy"),
    ]:
        with pytest.raises(InputError, match=message):
            recorded(tmp_path / "q.npy", tmp_path / weights, 8, 4, 2, 2)


def test_a_table_resumes_where_it_was_cut(tiny, tmp_path, monkeypatch):
    measured = []

    def fake(design, library, operands, cache, only, progress):
        if len(measured) == 3:
            raise KeyboardInterrupt
        measured.append((design.name, only))
        zeros = operands.zero_fraction
        common = (design.name, design.organisation, design.format, design.accumulator_bits, design.rows, design.cols)
        return Measurement("tiny", *common, "synthetic", zeros, "winner", {}, 1, 1, 0, 1.0, 1e-9, *[1e-15] * 4, 9, 9)

    plan = [table.Point(Design("lane", "ternary", bits), 0.4) for bits in (20, 16, 24, 32)]
    monkeypatch.setattr(table, "points", lambda with_recorded: iter(plan))
    monkeypatch.setattr(table, "best", fake)
    with pytest.raises(KeyboardInterrupt):
        table.run_table(tiny, "tiny", tmp_path, tmp_path)
    assert len(table.read_table(tmp_path / "tiny.json")["rows"]) == 3
    measured.clear()
    path = table.run_table(tiny, "tiny", tmp_path, tmp_path)
    assert measured == [("lane ternary-32", "winner")]  # the one that was missing, in the structure that won
    assert len(table.read_table(path)["rows"]) == 4


def test_the_document_is_current():
    assert (ROOT / "docs" / "gates.md").read_text(encoding="utf-8") == document()


def run(*arguments):
    command = [sys.executable, "-m", "hw", "gates", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "needs --lib"),
    (["--lib", "absent.lib"], "no such Liberty file"),
    (["--lib", TINY, "--format", "int3"], "--format must be one of"),
    (["--lib", TINY, "--array", "0x4"], "array size must be"),
    (["--lib", TINY, "--zeros", "1.5"], "--zeros must be a share"),
    (["--lib", TINY, "--lanes", "4"], "--lanes must come with --machine"),
    (["--lib", TINY, "--cycles", "8"], "--cycles must be at least 256"),
    (["--lib", TINY, "--activations", "q.npy"], "must be given together"),
])  # fmt: skip
def test_bad_input_is_one_line_and_status_2(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_array_is_measured_from_the_command_line(tmp_path):
    pytest.importorskip("pyosys")
    done = run("--lib", TINY, "--array", "2x2", "--cycles", 256, "--json")
    assert done.returncode == 0, done.stderr
    assert '"outputs_checked"' in done.stdout


def test_changes_are_of_libraries_that_have_both_designs():
    low, high = (_key("lane", "ternary", zeros=share) for share in (0.3, 0.6))
    tables = {"both": {low: {"dynamic_j": 2.0}, high: {"dynamic_j": 3.0}}, "one": {low: {"dynamic_j": 1.0}}}
    assert _ratios(tables, "lane", {"zeros": 0.6}, {"zeros": 0.3}) == [0.5]
    assert _ratios(tables, "tree", {"zeros": 0.6}, {"zeros": 0.3}) == []


def test_a_mapped_module_is_kept_and_not_made_twice(tmp_path, monkeypatch):
    made = []

    def synthesize(rtlil, library, recipe):
        made.append(rtlil)
        return {"ports": {"a": 1}, "cells": {}, "more": 0}

    monkeypatch.setattr("hw.gates.mapped.synthesize", synthesize)
    monkeypatch.setattr("hw.gates.mapped.flow_text", lambda library, recipe: "flow")
    library = SimpleNamespace(sha256="0")
    found = [mapped_module("module", library, None, tmp_path) for _ in range(2)]
    assert [one["ports"] for one in found] == [{"a": 1}] * 2
    assert made == ["module"]
    mapped_module("another", library, None, tmp_path)
    assert made == ["module", "another"]
    mapped_module("another", library, None, None)
    assert len(made) == 3
