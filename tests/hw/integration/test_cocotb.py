"""The cocotb bench, copied to another folder and run there by plain pytest, passes; a wrong golden byte fails it."""

import json
import shutil
from pathlib import Path

import pytest

from hw.config import ArrayConfig
from hw.integration.kits import write_kit
from tests.hw.integration.copied import run

ARRAYS = [
    ArrayConfig(name="4x3", rows=4, cols=3, weight_bus_bits=16, token_tile=4),
    ArrayConfig(
        name="options", rows=5, cols=2, weight_bus_bits=8, token_tile=3, packing="5in8", planes=3, digits=True,
        lane_loading=True, sum_of_x=True, group_exponent_bits=2, results="int8", accumulator_bits=32,
    ),
    ArrayConfig(name="grid", rows=3, cols=3, weight_bus_bits=8, token_tile=3, organisation="systolic"),
]  # fmt: skip


@pytest.fixture(params=ARRAYS, ids=lambda config: config.name)
def copied(request, tmp_path) -> Path:
    write_kit(request.param, "cocotb", tmp_path / "written")
    return Path(shutil.copytree(tmp_path / "written", tmp_path / "elsewhere" / "bench"))


def test_a_copied_bench_passes_and_a_wrong_golden_byte_is_found(copied):
    done = run(copied)
    assert done.returncode == 0, done.stdout[-2000:]
    gemms = json.loads((copied / "gemms.json").read_text())
    first = gemms[0]["results"]
    gemms[0]["results"] = ("01" if first[:2] == "00" else "00") + first[2:]
    (copied / "gemms.json").write_text(json.dumps(gemms))
    done = run(copied)
    assert done.returncode == 1
    assert "gemms_equal_the_golden_model" in done.stdout


@pytest.mark.parametrize("memories", ["inferred", "macros"])
def test_a_bench_drives_a_core_with_a_clock_of_its_own(memories, tmp_path):
    write_kit(ARRAYS[0], "cocotb", tmp_path, "separate", memories=memories)
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_bench_imports_nothing_of_this_project(tmp_path):
    for path in write_kit(ARRAYS[0], "cocotb", tmp_path):
        if path.suffix == ".py":
            text = path.read_text()
            assert not any(f"import {package}" in text or f"from {package}" in text for package in ("hw", "tests"))
