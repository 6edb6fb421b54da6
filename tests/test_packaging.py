"""Claims: wheel and source distribution are the same bytes twice, hold every data file, and run outside a checkout."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.installs.table import PAGE, RESULTS, page_text

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PACKAGES = ("hw", "quant", "sim", "energy")
BESIDE = (
    *("pyproject.toml", "MANIFEST.in", "backend/reproducible.py", "README.md", "LICENSE"),
    *("CHANGELOG.md", "CITATION.cff", "constraints.txt"),
)


def tracked():
    """A copy of the packages as git has them, or as they lie where there is no git."""
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return listed.stdout.splitlines()
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return [str(path.relative_to(ROOT)) for path in paths if "__pycache__" not in path.parts]


def build(folder, written=None):
    """Wheel and source distribution of a fresh copy, at a fixed date; ``written``: seconds at which its files were."""
    source = folder / "source"
    for name in [*tracked(), *BESIDE]:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
        if written:
            os.utime(target, (written, written))
    return built(source, folder, "--sdist"), built(source, folder, "--wheel")


def built(source, folder, kind):
    command = [sys.executable, "-m", "build", kind, "--outdir", str(folder / "dist"), str(source)]
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(command, check=True, env=os.environ | epoch, cwd=folder, capture_output=True)
    (found,) = (folder / "dist").glob("*.whl" if kind == "--wheel" else "*.tar.gz")
    return found


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    return build(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def wheel(distributions):
    return distributions[1]


@pytest.mark.slow
def test_both_are_the_same_bytes_twice_whenever_files_were_written(distributions, tmp_path):
    again = build(tmp_path, written=1_600_000_001)
    assert [*map(sha256, again)] == [*map(sha256, distributions)]


@pytest.mark.slow
def test_a_wheel_built_from_the_source_distribution_is_the_same_bytes(distributions, tmp_path):
    with tarfile.open(distributions[0]) as archive:
        members = archive.getmembers()
        archive.extractall(tmp_path, filter="data")
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members} == {(0, 0, "", "", 1_700_000_000)}
    (source,) = tmp_path.glob("tritforge-*")
    assert sha256(built(source, tmp_path, "--wheel")) == sha256(distributions[1])


@pytest.mark.slow
def test_an_editable_install_runs_from_the_checkouts_files(tmp_path):
    """What every target of make does."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "-e", str(ROOT)], check=True)
    code = "import hw; print(hw.__file__)"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == ROOT / "hw" / "__init__.py"


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


def pins():
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def test_the_constraints_pin_what_pyproject_asks_for():
    pinned_versions = pins()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for extra in ("quant", "hw", "boards") for one in extras[extra])]
    for requirement in wanted:
        name, exact = re.match(r"([A-Za-z0-9_-]+)(?:\[[^\]]*\])?(?:==(\S+))?", requirement).groups()
        pinned = pinned_versions.get(re.sub("[-_.]+", "-", name).lower())
        assert pinned is not None, f"add {name} to constraints.txt, as it is installed"
        assert exact in (None, pinned), requirement


def test_the_bill_of_materials_names_every_pin_and_no_other(tmp_path):
    """As ``make sbom`` writes it."""
    if importlib.util.find_spec("cyclonedx_py") is None:
        pytest.skip("needs cyclonedx-bom")
    command = re.search(r"cyclonedx-py (requirements .*?) -o build", MAKEFILE.replace("\\\n", " "))[1]
    path = tmp_path / "sbom.json"
    run = [sys.executable, "-m", "cyclonedx_py", *command.split(), "-o", str(path)]
    subprocess.run(run, cwd=ROOT, check=True, capture_output=True)
    bill = json.loads(path.read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "tritforge")
    assert {one["name"]: one["version"] for one in bill["components"]} == pins()
    first = path.read_bytes()
    subprocess.run(run, cwd=ROOT, check=True, capture_output=True)
    assert path.read_bytes() == first


def test_the_page_has_the_measured_installation_times():
    assert page_text() == PAGE.read_text(encoding="utf-8"), "run: python -m tests.installs --render"
    named = set(json.loads(RESULTS.read_text(encoding="utf-8"))["extras"])
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert named - {"none"} <= extras


def test_the_workflow_runs_targets_and_scripts_that_exist_on_the_pythons_that_are_allowed():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    for step in steps:
        assert ("run" in step) != ("uses" in step), step
        assert set(re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))) <= targets, step
        assert step.get("uses", "actions/@v").startswith("actions/")
    assert (ROOT / ".ci" / "run").is_file()
    assert any(step.get("run") == ".ci/run" for step in steps)
    for job in workflow["jobs"].values():
        assert set(job.get("needs", "").split()) <= workflow["jobs"].keys()
    pythons = workflow["jobs"]["wheel"]["strategy"]["matrix"]["python"]
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert pythons[0] == lowest
