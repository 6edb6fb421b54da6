"""A run that is killed (SIGKILL) at any of its writes, before or after it, ends with the same bits when run again."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.slow]

_ROOT = Path(__file__).parents[2]
# Every file of a run is written beside its place and renamed there: a kill can come before or after os.replace.
_PROGRAM = """
import os, signal, sys
place, real, left = sys.argv.pop(1), os.replace, int(sys.argv.pop(1))

def replace(*arguments, **options):
    global left
    left -= 1
    if left == 0 and place == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(*arguments, **options)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace
from quant.__main__ import main
main(sys.argv[1:])
"""
_MOST_WRITES = 20
_OPTIONS = {
    "pt-bitnet-full": ["epochs=1", "distill_steps=1", "distill_length=16", "generated_windows=2", "window=1"],
    "lrq": ["epochs=1", "grid=5"],
    "peqa": ["tokens_per_step=64"],
    "wkvquant": ["epochs=1"],
    "ptq1.61": ["epochs=1", "preprocess_steps=2", "preprocess_rank=2", "preprocess_windows=0"],
}


def run(place: str, write: int, method: str, model: Path, text: Path, folder: Path) -> int:
    """Quantize in a process of its own that is killed before or after its ``write``-th write, 0 for none of them.

    Returns its exit status, negative for a signal.
    """
    sizes = ["--length", "32", "--windows", "2", "--calibration-windows", "4"]
    options = [word for one in _OPTIONS.get(method, ()) for word in ("--options", one)]
    command = [sys.executable, "-c", _PROGRAM, place, write, "quantize", "--model", model, "--method", method, "--json"]
    done = subprocess.run(
        [*map(str, command), "--text", str(text), "--calib", str(text), *sizes, *options],
        cwd=folder,
        env={"PYTHONPATH": str(_ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()[-500:]
    return done.returncode


def written(folder: Path) -> dict[str, bytes]:
    """Packed weights and recorded integers, by their path."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*/ternary.safetensors"))
    } | {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*/recording.safetensors"))}


@pytest.mark.parametrize("method", ["pt-bitnet", *_OPTIONS])
def test_a_run_killed_at_every_write_ends_with_the_same_bits(method, tiny_folder, tiny_text, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert run("before", 0, method, tiny_folder, tiny_text, whole) == 0
    kills = 0
    for write in range(1, _MOST_WRITES):
        place = ("after", "before")[write % 2]
        if run(place, write, method, tiny_folder, tiny_text, killed) == 0:
            break
        kills += 1
    least = 3 if method in ("lrq", "wkvquant") else 4  # whose runs write neither norms, text nor snapshots
    assert least <= kills < _MOST_WRITES - 1
    assert written(killed) == written(whole)
    assert len(written(whole)) == 2
    assert not list(killed.glob("build/models/*/*/**/*.tmp"))  # of the run; reference-*.json belong to all runs
