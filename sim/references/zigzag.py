"""Runs ZigZag, where a Python has it installed, on one GEMM and the machine of ``sim.references.figures``.

Ref: ``zigzag-dse`` 3.9.1 of the package index, in an environment of its own:
``python3 -m venv zigzag && zigzag/bin/pip install zigzag-dse==3.9.1 six``.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from hw.errors import InputError
from quant.shapes import Gemm
from sim.references.scale_sim import ToolRun

__all__ = ["run_zigzag"]

_LANES = 32  # rows and columns
_SRAM_BITS = 256 * 1024 * 8  # of weights, and of activations and results
_BUS_BITS = 256  # 32 bytes per cycle from DRAM and into the array
_PROGRAM = """
import json, sys
from zigzag.api import get_hardware_performance_zigzag
energy, latency, _ = get_hardware_performance_zigzag(
    "workload.yaml", "accelerator.yaml", "mapping.yaml", opt="latency", dump_folder="out",
    pickle_filename="out/cmes.pickle", loma_show_progress_bar=False,
)
json.dump({"cycles": float(latency)}, open("result.json", "w"))
"""


def run_zigzag(python: Path, gemm: Gemm) -> ToolRun:
    """Cycles of one GEMM on 32 x 32 int8 lanes with 256 KiB buffers and 32 bytes of memory per cycle, and its time.

    Raises:
        InputError: ``python`` cannot run the tool.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in (
            ("workload.yaml", _workload(gemm)),
            ("accelerator.yaml", _accelerator()),
            ("mapping.yaml", _mapping()),
        ):
            (folder / file).write_text(json.dumps(content, indent=1), encoding="utf-8")  # JSON is YAML
        start = time.perf_counter()
        try:
            command = [str(Path(python).absolute()), "-c", _PROGRAM]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except OSError as error:
            raise InputError(f"{python}: must be a Python that has zigzag-dse ({error.strerror})") from None
        wall_s = time.perf_counter() - start
        result = folder / "result.json"
        if done.returncode or not result.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"{python}: ZigZag must run, but it stopped with: {last}")
        cycles = json.loads(result.read_text(encoding="utf-8"))["cycles"]
    return ToolRun([round(cycles)], wall_s)


def _workload(gemm: Gemm) -> list[dict]:
    return [
        {
            "id": 0,
            "name": "gemm",
            "operator_type": "Gemm",
            "equation": "O[b][k]+=W[k][c]*I[b][c]",
            "loop_dims": ["B", "K", "C"],
            "loop_sizes": [gemm.m, gemm.n, gemm.k],
            "operand_precision": {"W": 8, "I": 8, "O": 32, "O_final": 8},
            "operand_source": {"I": 0, "W": 0},
        }
    ]


def _mapping() -> list[dict]:
    return [
        {
            "name": "default",
            "spatial_mapping": {"D1": [f"K, {_LANES}"], "D2": [f"C, {_LANES}"]},
            "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
        }
    ]


def _accelerator() -> dict:
    """Registers at the lanes, two buffers, DRAM. Energies are not used and stand for themselves only."""
    return {
        "name": "reference_32x32",
        "memories": {
            "weight_registers": _memory(8, ["I2"], 8, []),
            "sum_registers": _memory(32, ["O"], 32, ["D2"]),
            "weight_buffer": _memory(_SRAM_BITS, ["I2"], _BUS_BITS, ["D1", "D2"]),
            "activation_buffer": _memory(_SRAM_BITS, ["I1", "O"], _LANES * 32, ["D1", "D2"]),
            "dram": _memory(10_000_000_000, ["I1", "I2", "O"], _BUS_BITS, ["D1", "D2"]),
        },
        "operational_array": {"unit_energy": 0.04, "unit_area": 1, "dimensions": ["D1", "D2"], "sizes": [_LANES] * 2},
    }


def _memory(size_bits: int, operands: list[str], bandwidth_bits: int, served: list[str]) -> dict:
    """One memory with a read and a write port of the same width."""
    reads = [f"{operand}, tl" for operand in operands] + [f"{o}, th" for o in operands if o == "O"]
    writes = [f"{operand}, fh" for operand in operands] + [f"{o}, fl" for o in operands if o == "O"]
    ports = [
        {
            "name": f"{kind[0]}_port_1",
            "type": kind,
            "bandwidth_min": min(bandwidth_bits, 8),
            "bandwidth_max": bandwidth_bits,
            "allocation": allocation,
        }
        for kind, allocation in (("read", reads), ("write", writes))
    ]
    return {
        "size": size_bits, "r_cost": 1, "w_cost": 1, "area": 0, "latency": 1, "operands": operands, "ports": ports,
        "served_dimensions": served,
    }  # fmt: skip
