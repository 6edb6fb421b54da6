"""How fast the simulator is, measured in one process; beside SCALE-Sim where a Python has it."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from hw.config import load_array
from quant.shapes import Gemm, load_shape
from sim.analytic import scale_sim_cycles
from sim.cycles import count_cycles
from sim.gemm import GemmJob, forget_schedules, gemm_cost
from sim.memory import load_memory
from sim.scale_sim import run_scale_sim
from sim.simulator import simulate

__all__ = ["BenchRow", "bench"]

Result = TypeVar("Result")

_ARRAY, _MEMORY = "edge-32x32", "lpddr5-6400"
_TOOL_GEMM = Gemm(1, 512, 512)  # small enough to wait for the tool: its time grows with the product


class BenchRow(NamedTuple):
    """One measured call. ``wall_s``: after kernels were compiled, with nothing remembered from earlier calls."""

    what: str
    wall_s: float
    cycles: int  # simulated
    note: str = ""


def bench(scale_sim_python: Path | None = None) -> tuple[list[BenchRow], int]:
    """Rows of the benchmark and this process's peak memory in bytes.

    Raises:
        InputError: ``scale_sim_python`` cannot run SCALE-Sim.
    """
    array, memory = load_array(_ARRAY), load_memory(_MEMORY)

    def model(name: str, prefill: int, decode: int) -> BenchRow:
        wall_s, result = _timed(lambda: simulate(load_shape(name), array, memory, prefill, decode))
        return BenchRow(f"{name}, prefill {prefill} + decode {decode}", wall_s, sum(p.cycles for p in result.phases))

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
    if scale_sim_python is not None:
        rows += _beside_scale_sim(scale_sim_python)
    return rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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


def _timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Wall seconds of ``call`` with no schedule remembered."""
    forget_schedules()
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value
