"""Runs SCALE-Sim, where a Python has it installed, as the reference of ``sim.gemm.closed_form`` and of the benchmark.

Ref: ``scalesim`` 3.0.0 of the package index; it wants numpy 1.26, so it lives in an environment of its own:
``python3 -m venv scale && scale/bin/pip install scalesim==3.0.0 numpy==1.26.4``.
"""

import csv
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from hw.errors import InputError
from quant.shapes import Gemm

__all__ = ["Dataflow", "ToolRun", "run_scale_sim"]

Dataflow = Literal["ws", "os", "is"]

_SRAM_KIB = 256
_CONFIG = """[general]
run_name = run
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {cols}
IfmapSramSzkB = {sram}
FilterSramSzkB = {sram}
OfmapSramSzkB = {sram}
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Dataflow = {dataflow}
Bandwidth = 32
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
SparseRep = ellpack_block
OptimizedMapping = false
BlockSize = 4
RandomNumberGeneratorSeed = 40
"""


class ToolRun(NamedTuple):
    """What the tool reported and how long it took."""

    cycles: list[int]  # of each GEMM, without memory stalls
    wall_s: float


def run_scale_sim(python: Path, gemms: Sequence[Gemm], rows: int, cols: int, dataflow: Dataflow) -> ToolRun:
    """Compute cycles of each GEMM on a ``rows`` x ``cols`` array, by the tool that ``python`` can import.

    Raises:
        InputError: ``python`` cannot run the tool.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _CONFIG.format(rows=rows, cols=cols, sram=_SRAM_KIB, dataflow=dataflow)
        (folder / "run.cfg").write_text(config, encoding="utf-8")
        rows_of_topology = [f"gemm{i}, {gemm.m}, {gemm.n}, {gemm.k},\n" for i, gemm in enumerate(gemms)]
        (folder / "gemms.csv").write_text("Layer, M, N, K,\n" + "".join(rows_of_topology), encoding="utf-8")
        layout = [f"gemm{i}, {', '.join('1' * 17)},\n" for i in range(len(gemms))]
        (folder / "layout.csv").write_text("Layer\n" + "".join(layout), encoding="utf-8")
        files = ["-c", "run.cfg", "-t", "gemms.csv", "-l", "layout.csv", "-p", "out", "-i", "gemm", "-s", "Y"]
        command = [str(Path(python).absolute()), "-m", "scalesim.scale", *files]
        start = time.perf_counter()
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except OSError as error:
            raise InputError(f"{python}: must be a Python that has scalesim ({error.strerror})") from None
        wall_s = time.perf_counter() - start
        report = folder / "out" / "run" / "COMPUTE_REPORT.csv"
        if done.returncode or not report.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"{python}: SCALE-Sim must run, but it stopped with: {last}")
        with open(report, newline="", encoding="utf-8") as stream:
            lines = [[cell.strip() for cell in line] for line in csv.reader(stream)]
    column = lines[0].index("Total Cycles")
    return ToolRun([int(float(line[column])) for line in lines[1:]], wall_s)
