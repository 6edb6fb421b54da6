"""Claims: importing sim, energy or an array's config loads neither torch nor Amaranth; no room has over 20 files."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST = 20

HEAVY = {"sim.demo", "energy.notebook.model_to_decision"}  # the core compiled from its Verilog; cells of a notebook


def modules(package):
    paths = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return [name for name in names if name not in HEAVY]


@pytest.mark.parametrize("package", ["sim", "energy", "hw.config"])
def test_importing_it_loads_neither_torch_nor_amaranth(package):
    names = [package] if "." in package else modules(package)
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    code += "print(*sorted({'torch', 'transformers', 'amaranth'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""


def test_a_room_has_at_most_twenty_files():
    rooms = {path.parent for package in ("hw", "quant", "sim", "energy") for path in (ROOT / package).rglob("*.py")}
    found = {room.relative_to(ROOT).as_posix(): len(list(room.glob("*.py"))) for room in rooms}
    assert {name: count for name, count in found.items() if count > LARGEST} == {}
