"""A whole job on random weights that lie in files, as ``quant`` runs it for anybody, killed once and started again.

Reading, quantizing block by block, evaluation and recording are those of a process of its own. It is killed (SIGKILL)
once so many blocks are finished; the next one goes on behind them, and ends with the bits of one that never was.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from hw.artifact import sha256_file
from hw.errors import InputError
from hw.progress import StageReport
from quant.llama.loading import usable_device
from quant.procedures.cost import finished_blocks, read_cost
from quant.registry import options_for
from quant.results.bench_job import BenchJob
from quant.results.random_files import write_random_model, write_random_text
from quant.results.whole_report import WholeReport
from quant.shapes import load_shape

__all__ = ["run_whole"]

_LOOK_S = 0.05  # between looks at the finished blocks


def run_whole(job: BenchJob, progress: StageReport) -> WholeReport:
    """Write the weights that are not there yet, and run the job from them.

    Raises:
        InputError: unknown model, method, option or device, a folder that cannot be used, or a process that failed.
    """
    shape, device = load_shape(job.model), usable_device(job.device)
    if options_for(job.method, job.options).procedure == "stored":
        raise InputError(f"bench: method must be one that quantizes, not {job.method!r}")
    layers = min(job.blocks or shape.layers, shape.layers)
    if job.kill_after is not None and job.kill_after >= layers:
        raise InputError(f"kill_after must be below the {layers} blocks that run, not {job.kill_after}")
    shape = shape.model_copy(update={"layers": layers})
    folder = job.files.absolute()
    progress("write random weights", 0, 1)
    start = time.perf_counter()
    write_random_model(folder, shape, device)
    write_random_text(folder / "text.txt", shape, (job.windows + 1) * job.length)
    weights_seconds = time.perf_counter() - start
    progress("write random weights", 1, 1)
    seconds, whole = [], None
    if job.kill_after is not None:
        seconds.append(_run(job, folder / "run", job.kill_after))
    seconds.append(_run(job, folder / "run"))
    result = _result(folder / "run")
    if job.compare:
        _run(job, folder / "unkilled")
        whole = _hashes(_result(folder / "unkilled")) == _hashes(result)
    cost = read_cost(result)
    return WholeReport(
        **job.model_dump(include={"model", "method", "options", "windows", "length", "kill_after"}),
        blocks=layers,
        weight_bytes=(folder / "model.safetensors").stat().st_size,
        weights_seconds=weights_seconds,
        seconds=seconds,
        quantize_seconds=cost.quantize_seconds,
        finished_blocks=cost.finished_blocks,
        host_bytes=cost.host_bytes,
        device_bytes=cost.device_bytes,
        weights_sha256=_hashes(result)[0],
        equal=whole,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
    )


def _run(job: BenchJob, folder: Path, kill_after: int | None = None) -> float:
    """One process in ``folder``, which keeps what it finishes; its seconds. Killed once so many blocks are finished."""
    files, text = job.files.absolute(), job.files.absolute() / "text.txt"
    if kill_after is not None:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    words = ["--model", files, "--method", job.method, "--text", text, "--calib", text, "--windows", 1]
    words += ["--length", job.length, "--calibration-windows", job.windows, "--device", job.device, "--json"]
    words += [word for name, value in job.options.items() for word in ("--options", f"{name}={value}")]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "quant", "quantize", *map(str, words)],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            if kill_after is not None and sum(map(finished_blocks, folder.rglob("parts"))) >= kill_after:
                process.kill()
            time.sleep(_LOOK_S)
    if kill_after is not None and process.returncode == 0:
        raise InputError(f"kill_after must leave time to kill the job, which ended first, not {kill_after}")
    if process.returncode != (-signal.SIGKILL if kill_after is not None else 0):
        raise InputError(f"bench: the run in {folder} must end well, not with status {process.returncode}; see above")
    return time.perf_counter() - start


def _result(folder: Path) -> Path:
    """Where the finished run is."""
    return next(folder.rglob("manifest.json")).parent


def _hashes(result: Path) -> list[str]:
    """Of the packed weights and of what was recorded."""
    return [sha256_file(result / name) for name in ("ternary.safetensors", "recording.safetensors")]
