"""What an earlier process simulated is recalled to the last digit, without numba; never for other inputs or code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sim.store
from hw.config import ArrayConfig, load_array
from quant.shapes import load_shape
from sim.cores import CoreGroup
from sim.execution import Execution
from sim.gemm.cost import _found
from sim.gemm.schedule import _step
from sim.memory import load_memory
from sim.simulator import simulate, simulate_trace
from sim.trace.build import build_trace
from sim.trace.ops import Formats

FRESH = simulate(load_shape("stories260K"), load_array("8x8"), load_memory("ddr4-3200"), 5, 3)
ROOT = Path(sim.store.__file__).parents[1]
RUN = """
import sys
from sim.__main__ import main
given = sys.argv[1:] if "--prefill" in sys.argv else ["--prefill", "5", *sys.argv[1:]]
main(["run", "--model", "stories260K", "--array", "8x8", "--decode", "3", *given])
print("numba" in sys.modules)
"""


def run(folder, *options):
    """What ``tritforge run`` prints, and whether it loaded numba."""
    environment = os.environ | {"TRITFORGE_CACHE": str(folder)}
    command = [sys.executable, "-c", RUN, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    text, _, numba = done.stdout.rstrip().rpartition("\n")
    return text, numba == "True"


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """This process with a store of its own, which is closed again."""
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path / "store"))
    monkeypatch.setattr(sim.store._State, "store", None)
    monkeypatch.setattr(sim.store._State, "closed", False)
    yield tmp_path / "store" / "results.sqlite"
    sim.store.close()


def reopen():
    """Write what was added, as at the end of a process, and open the store again."""
    sim.store.close()
    sim.store._State.closed = False


def test_a_second_process_prints_the_same_without_numba(tmp_path):
    first, second = run(tmp_path, "--json", "--explain"), run(tmp_path, "--json", "--explain")
    assert first == (second[0], True)
    assert second[1] is False
    off, loaded = run("off", "--json", "--explain")
    assert (off, loaded) == (first[0], True)


class NarrowArray(ArrayConfig):
    """An array with a field of its own, such as the one that tells fewer bits from cheaper arithmetic."""

    narrow_bits: float

    @property
    def weight_bits(self) -> float:
        return self.narrow_bits


def test_a_recalled_run_stands_on_the_array_that_was_given(opened):
    array = NarrowArray(**load_array("8x8").model_dump(), narrow_bits=4.0)
    inputs = load_shape("stories260K"), array, load_memory("ddr4-3200"), 5, 3
    fresh = simulate(*inputs)
    reopen()
    recalled = simulate(*inputs)
    assert recalled.array.weight_bits == fresh.array.weight_bits == 4.0
    assert recalled == fresh


def test_other_inputs_are_simulated(opened, monkeypatch):
    """Another model, size, format, choice, array, memory or group of cores is another run."""
    simulated = []
    monkeypatch.setattr("sim.simulator._simulated", lambda *inputs: simulated.append(inputs) or FRESH)
    shape, array, memory = load_shape("stories260K"), load_array("8x8"), load_memory("ddr4-3200")
    runs = [
        {}, {"prefill": 6}, {"decode": 4}, {"batch": 2}, {"formats": Formats(kv_bits=8)},
        {"execution": Execution(fuse_projections=True)}, {"cores": CoreGroup(count=2)},
        {"shape": shape.model_copy(update={"layers": 4})},
        {"array": array.model_copy(update={"vector_lanes": 3})}, {"memory": memory.with_channels(2)},
    ]  # fmt: skip
    for _ in range(2):
        for other in runs:
            simulate(**{"shape": shape, "array": array, "memory": memory, "prefill": 5, "decode": 3} | other)
        reopen()
    assert len(simulated) == len(runs)


def test_a_recalled_result_equals_the_simulated_one(opened, monkeypatch):
    machine = load_array("mobile-64x64"), load_memory("lpddr5-6400")
    trace = build_trace(load_shape("smollm2-135m"), 17, 3)
    fresh = simulate_trace(trace, *machine)
    reopen()
    monkeypatch.setattr("sim.simulator._simulated", lambda *_: pytest.fail("simulated again"))
    assert simulate_trace(trace, *machine) == fresh
    assert opened.exists()


def test_stepped_gemms_are_recalled_by_other_runs(opened, monkeypatch):
    """Another number of decode steps is another run of the same GEMMs."""
    machine = load_array("8x8"), load_memory("ddr4-3200")
    _found.cache_clear()
    _step.cache_clear()
    simulate(load_shape("stories260K"), *machine, 4, 2)
    reopen()
    _found.cache_clear()
    _step.cache_clear()
    monkeypatch.setattr("sim.kernels.tiles.step_tiles", lambda *_: pytest.fail("stepped again"))
    simulate(load_shape("stories260K"), *machine, 4, 3)


def test_other_code_recalls_nothing(opened, monkeypatch):
    sim.store.remember("key", "text")
    reopen()
    assert sim.store.recall("key") == "text"
    monkeypatch.setattr("sim.store.code_sha256", lambda: "other")
    assert sim.store.recall("key") is None


@pytest.mark.parametrize("edited", ["sim/kernels/tiles.py", "sim/machine/linear.py", "hw/config.py", "quant/shapes.py"])
def test_a_byte_of_any_file_that_computes_makes_other_code(tmp_path, monkeypatch, edited):
    for package in ("sim", "hw", "quant"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.json", "__pycache__"))
    monkeypatch.setattr(sim.store, "_ROOT", tmp_path)
    before = sim.store.code_sha256.__wrapped__()
    assert before == sim.store.code_sha256()
    with open(tmp_path / edited, "ab") as file:
        file.write(b"\n")
    assert sim.store.code_sha256.__wrapped__() != before


def test_every_module_that_a_simulation_imports_is_in_the_hash():
    code = "import sys, sim.simulator, sim.dram, sim.kernels.tiles, sim.kernels.dram; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    modules = [name for name in done.stdout.split() if name.split(".")[0] in ("sim", "hw", "quant")]
    hashed = {path for pattern in sim.store._CODE for path in ROOT.glob(pattern)}
    paths = {name: ROOT / (name.replace(".", "/") + ".py") for name in modules}
    missing = {name for name, path in paths.items() if path.exists() and path not in hashed}
    assert not missing


def test_a_damaged_store_only_costs_time(opened):
    """It is thrown away, and the next process makes a new one."""
    opened.parent.mkdir()
    opened.write_bytes(b"no database")
    sim.store.remember("key", "text")
    assert sim.store.recall("key") is None
    reopen()
    sim.store.remember("key", "text")
    reopen()
    assert sim.store.recall("key") == "text"


def test_a_damaged_value_is_not_believed(opened):
    sim.store.remember("key", "text")
    sim.store._State.store.added = {key: b"damaged" for key in sim.store._State.store.added}
    reopen()
    assert sim.store.recall("key") is None
    assert not opened.exists()


def test_a_folder_that_cannot_be_is_no_error(opened, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITFORGE_CACHE", str(tmp_path / "file" / "folder"))
    sim.store.remember("key", "text")
    assert sim.store.recall("key") is None
    assert not sim.store.active()


@pytest.mark.parametrize("name", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_runs_about_the_kernels_themselves_step_everything(opened, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert not sim.store.active()


def test_a_process_keeps_so_much_and_a_store_too(opened, monkeypatch):
    monkeypatch.setattr(sim.store, "_MOST_ADDED", 3)
    for number in range(5):
        sim.store.remember(f"key {number}", "text")
    reopen()
    assert [sim.store.recall(f"key {number}") is not None for number in range(5)] == [True, True, True, False, False]
    monkeypatch.setattr(sim.store, "_MOST_KEPT", 3)
    sim.store.remember("one more", "text")
    reopen()
    assert sim.store.recall("one more") == "text"
    for key in (f"key {number}" for number in range(3)):
        assert (sim.store.recall(key) is None) == (sim.store._digest(key) < "8")
