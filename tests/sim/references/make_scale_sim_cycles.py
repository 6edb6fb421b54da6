"""``python -m tests.sim.references.make_scale_sim_cycles PYTHON``: SCALE-Sim's own cycles for test_scale_sim.py.

Random shapes and arrays, primes and ones among them, small enough for the tool.
"""

import random
import sys
from pathlib import Path

from hw.artifact import write_artifact
from quant.shapes import Gemm
from sim.references.scale_sim import run_scale_sim

PATH = Path(__file__).parent / "data" / "scale_sim_cycles.json"
SCHEMA, VERSION = "tritforge.scale_sim_cycles", 1


def cases(count: int, seed: int):
    """``count`` arrays per dataflow, each with several GEMMs."""
    draw = random.Random(seed)
    for dataflow in ("ws", "os", "is"):
        for _ in range(count):
            rows, cols = draw.choice([1, 2, 3, 4, 7, 8, 13, 16]), draw.choice([1, 2, 4, 5, 8, 11, 16])
            gemms = [Gemm(*(draw.choice([1, 2, 7, 16, 23, 40]) for _ in range(3))) for _ in range(4)]
            yield dataflow, rows, cols, gemms


if __name__ == "__main__":
    runs = [
        {
            "dataflow": dataflow,
            "rows": rows,
            "cols": cols,
            "gemms": gemms,
            "cycles": run_scale_sim(Path(sys.argv[1]), gemms, rows, cols, dataflow).cycles,
        }
        for dataflow, rows, cols, gemms in cases(count=8, seed=1)
    ]
    write_artifact(PATH, SCHEMA, VERSION, {"tool": "scalesim 3.0.0", "runs": runs}, {})
