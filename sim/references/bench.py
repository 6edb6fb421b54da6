"""How fast the simulator is, measured in one process; beside SCALE-Sim and ZigZag where a Python has them."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

from hw.config import load_array
from quant.shapes import Gemm, load_shape
from sim.execution import Execution
from sim.gemm.closed_form import scale_sim_cycles
from sim.gemm.cost import forget_gemms, gemm_cost
from sim.gemm.cycles import count_cycles
from sim.gemm.schedule import GemmJob, stepped_schedules
from sim.memory import load_memory
from sim.references.figures import zigzag_machine
from sim.references.scale_sim import run_scale_sim
from sim.references.zigzag import run_zigzag
from sim.simulator import simulate

__all__ = ["BenchRow", "CurvePoint", "bench", "cost_curve"]

Result = TypeVar("Result")

_ARRAY, _MEMORY = "edge-32x32", "lpddr5-6400"
_TOOL_GEMM = Gemm(1, 512, 512)  # small enough to wait for the tool: its time grows with the product


class BenchRow(NamedTuple):
    """One measured call. ``wall_s``: after kernels were compiled, with nothing remembered from earlier calls."""

    what: str
    wall_s: float
    cycles: int  # simulated
    note: str = ""


class CurvePoint(NamedTuple):
    """What a run costs and what it repeats."""

    layers: int
    steps: int  # of decode
    prompts: int  # lengths that were simulated, one run each
    stepped: int  # distinct GEMMs, every mapping of each
    wall_s: float


_ANY_SIZE = Execution(beyond_capacity=True)  # 70B does not fit the memory


def bench(
    scale_sim_python: Path | None = None, zigzag_python: Path | None = None, commands: bool = False
) -> tuple[list[BenchRow], int]:
    """Rows of the benchmark and this process's peak memory in bytes; ``commands``: whole commands among them.

    Raises:
        InputError: a Python that cannot run its tool.
    """
    array, memory = load_array(_ARRAY), load_memory(_MEMORY)

    def model(name: str, prefill: int, decode: int) -> BenchRow:
        wall_s, result = _timed(lambda: simulate(load_shape(name), array, memory, prefill, decode, execution=_ANY_SIZE))
        return BenchRow(f"{name}, prefill {prefill} + decode {decode}", wall_s, sum(p.cycles for p in result.phases))

    forget_gemms()
    simulate(load_shape("stories260K"), array, memory, 2, 2)  # kernels come from the cache, or are compiled
    projection = Gemm(1, 4096, 4096)
    rows = [
        model("llama2-7b", 512, 128),
        model("llama2-7b", 2048, 128),
        model("llama2-70b", 2048, 128),
        model("llama3-70b", 4096, 1024),
        *(model("llama2-7b", 512, steps) for steps in (1, 1024)),
    ]
    wall_s, cost = _timed(lambda: gemm_cost(GemmJob(projection), array, memory))
    rows.append(BenchRow("decode q_proj 1x4096x4096, tile by tile", wall_s, cost.cycles))
    count_cycles(Gemm(1, 1, 1), array)
    wall_s, counts = _timed(lambda: count_cycles(projection, array))
    rows.append(BenchRow("decode q_proj 1x4096x4096, edge by edge", wall_s, counts.cycles))
    if commands:
        rows += _commands()
    if scale_sim_python is not None:
        rows += _beside_scale_sim(scale_sim_python)
    if zigzag_python is not None:
        rows += _beside_zigzag(zigzag_python)
    return rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _commands() -> list[BenchRow]:
    """Whole commands with a store of their own, which is empty first, by the CPU time that they take."""
    rows = []
    for command in ("sim run", "energy sim --shapes-only"):
        words = [sys.executable, "-m", *command.split(), "--model", "llama2-7b", "--json"]
        with TemporaryDirectory() as folder:
            environment = os.environ | {"TRITFORGE_CACHE": folder}
            for note in ("CPU time, new store, kernels compiled", "CPU time, again"):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                done = subprocess.run(words, capture_output=True, check=True, env=environment, text=True)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                document = json.loads(done.stdout)
                phases = document.get("phases") or document["machines"][0]["phases"]
                rows.append(BenchRow(f"{command}, llama2-7b", cpu_s, sum(phase["cycles"] for phase in phases), note))
    return rows


def cost_curve() -> list[CurvePoint]:
    """LLaMA-2-7B's shapes with more and more layers and steps, then with more and more lengths of prompts.

    Layers and steps repeat the same GEMMs; a prompt of another length brings a set of its own. Wall times are the
    least of three.
    """
    array, memory = load_array(_ARRAY), load_memory(_MEMORY)
    shape = load_shape("llama2-7b").model_copy(update={"max_positions": 1 << 16})
    work = [(layers, steps, [512]) for layers, steps in ((1, 1), (8, 16), (32, 128), (80, 1024), (320, 16384))]
    work += [(32, 128, [512 + extra for extra in range(prompts)]) for prompts in (4, 16, 64)]
    points = []
    for layers, steps, prompts in work:

        def run(layers=layers, steps=steps, prompts=prompts) -> int:
            deep = shape.model_copy(update={"layers": layers})
            for prefill in prompts:
                simulate(deep, array, memory, prefill, steps)
            return stepped_schedules()

        timed = [_timed(run) for _ in range(3)]
        points.append(CurvePoint(layers, steps, len(prompts), timed[0][1], min(wall_s for wall_s, _ in timed)))
    return points


def _beside_scale_sim(python: Path) -> list[BenchRow]:
    """The same small GEMM in the tool and in the edge-by-edge stepping, and the ratio of their times."""
    array = load_array(_ARRAY)
    tool = run_scale_sim(python, [_TOOL_GEMM], array.rows, array.cols, "ws")
    wall_s, counts = _timed(lambda: count_cycles(_TOOL_GEMM, array))
    m, n, k = _TOOL_GEMM
    agrees = tool.cycles[0] == scale_sim_cycles(_TOOL_GEMM, array.rows, array.cols, "ws")
    equal = "equal to" if agrees else "DIFFERENT FROM"
    return [
        BenchRow(f"{m}x{n}x{k} in SCALE-Sim, ws", tool.wall_s, tool.cycles[0], f"cycles {equal} our closed form"),
        BenchRow(f"{m}x{n}x{k} here, edge by edge", wall_s, counts.cycles, f"{tool.wall_s / wall_s:,.0f} times faster"),
    ]


def _beside_zigzag(python: Path) -> list[BenchRow]:
    """The decode projection on ZigZag's machine, there and here."""
    gemm = Gemm(1, 4096, 4096)
    ternary, memory = zigzag_machine()
    tool = run_zigzag(python, gemm)
    wall_s, cost = _timed(lambda: gemm_cost(GemmJob(gemm), ternary.baseline("int8"), memory))
    difference = f"{cost.cycles / tool.cycles[0] - 1:+.2%} of its cycles"
    return [
        BenchRow("1x4096x4096 int8 in ZigZag", tool.wall_s, tool.cycles[0]),
        BenchRow(
            "1x4096x4096 int8 here", wall_s, cost.cycles, f"{tool.wall_s / wall_s:,.0f} times faster, {difference}"
        ),
    ]


def _timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Wall seconds of ``call`` with no schedule remembered."""
    forget_gemms()
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value
