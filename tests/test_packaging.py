"""Claims: the wheel is the same bytes twice, holds every data file, and runs outside a checkout without extras."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw", "quant", "sim", "energy")


def tracked():
    """A copy of the packages as git has them, or as they lie where there is no git."""
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return listed.stdout.splitlines()
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return [str(path.relative_to(ROOT)) for path in paths if "__pycache__" not in path.parts]


def build(folder):
    """The wheel of a fresh copy, at a fixed date, with the setuptools that is installed."""
    source = folder / "source"
    for name in [*tracked(), "pyproject.toml", "README.md", "LICENSE"]:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)]
    subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("first"))


@pytest.mark.slow
def test_the_wheel_is_the_same_bytes_twice(wheel, tmp_path):
    again = build(tmp_path)
    assert [hashlib.sha256(one.read_bytes()).hexdigest() for one in (wheel, again)] == [
        hashlib.sha256(wheel.read_bytes()).hexdigest()
    ] * 2


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == set(tracked())


@pytest.mark.slow
def test_it_runs_in_a_clean_environment_from_another_folder(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    bin_folder = tmp_path / "venv" / "bin"
    subprocess.run([bin_folder / "pip", "-q", "install", str(wheel)], check=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def tritforge(*words):
        command = [bin_folder / "tritforge", *words]
        return subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)

    for kind in ("models", "arrays", "memories", "costs", "studies"):
        assert len(json.loads(tritforge("list", kind, "--json").stdout)) > 2, kind
    sizes = ["--model", "stories260K", "--array", "16x16", "--prefill", "4", "--decode", "2"]
    done = tritforge("sim", *sizes, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
    refused = tritforge("verilog", "--array", "4x4")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "pip install 'tritforge[hw]'" in refused.stderr


def test_the_constraints_pin_what_pyproject_asks_for():
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for extra in ("quant", "hw", "boards") for one in extras[extra])]
    for requirement in wanted:
        name, exact = re.match(r"([A-Za-z0-9_-]+)(?:\[[^\]]*\])?(?:==(\S+))?", requirement).groups()
        pinned = pins.get(re.sub("[-_.]+", "-", name).lower())
        assert pinned is not None, f"add {name} to constraints.txt, as it is installed"
        assert exact in (None, pinned), requirement
