"""The core compiled by Verilator: GEMMs on the real Verilog at C++ speed, with its own cycle counters."""

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.gateware.counters import CAUSES
from hw.gateware.ports import descriptor_layout, results_layout
from hw.job import CoreJob, descriptor_bits, matrix, vector_stream, weight_stream
from hw.process.verilator import CACHE, compile_program
from hw.verilog import CORE_NAME, core_verilog

__all__ = ["Product", "VerilatedCore", "build_core"]

_HARNESS = Path(__file__).with_name("verilated.cpp")


class Product(NamedTuple):
    """What a core gave: results int64 as ``hw.job.golden_results`` has them, counters (``cycles``, one per cause)."""

    results: np.ndarray
    counters: dict[str, int]


class VerilatedCore:
    """A running simulation of one core; use it as a context manager."""

    def __init__(self, config: ArrayConfig, program: Path):
        self.config = config
        layout = results_layout(config)
        self._values, self._bits = layout.length, layout.size // layout.length  # of a result beat
        self._descriptor_bits = descriptor_layout(config).size
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> "VerilatedCore":
        """The simulation itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the simulation."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def run(self, job: CoreJob, offers: Sequence[bytes] = (b"", b"", b"")) -> Product:
        """One GEMM on the core.

        ``offers``: patterns of weights, activations and results, one byte 0 or 1 per edge, then all 1; a source keeps
        valid until the transfer.

        Raises:
            InputError: a job that the array cannot do.
            RuntimeError: the core does not end the GEMM.
        """
        config, (m, n, k) = self.config, job.sizes
        job.check(config)
        result_bytes = ceil_divide(self._values * self._bits, 8)
        beats = m * ceil_divide(n, config.cols)
        request = struct.pack("<4I", config.weight_bus_bits // 8, config.rows, result_bytes, beats)
        descriptor = descriptor_bits(job, config)
        descriptor = descriptor.to_bytes(ceil_divide(self._descriptor_bits, 8), "little")
        for part in (descriptor, weight_stream(job, config), vector_stream(job, config), *offers):
            request += struct.pack("<I", len(part)) + part
        self._process.stdin.write(request)
        self._process.stdin.flush()
        answer = self._process.stdout.read(beats * result_bytes + 8 * (1 + len(CAUSES)))
        if len(answer) < beats * result_bytes:
            raise RuntimeError(f"the core did not end the GEMM {m} x {n} x {k}; exit status {self._process.wait()}")
        counters = struct.unpack(f"<{1 + len(CAUSES)}Q", answer[beats * result_bytes :])
        values = self._numbers(answer[: beats * result_bytes], result_bytes)
        return Product(matrix(values, job, config), dict(zip(("cycles", *CAUSES), counters, strict=True)))

    def _numbers(self, data: bytes, beat: int) -> np.ndarray:
        """Signed numbers of result beats, int64 ``(beats, per beat)``."""
        bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, beat), axis=1, bitorder="little")
        bits = bits[:, : self._values * self._bits].reshape(-1, self._values, self._bits).astype(np.int64)
        weights = 1 << np.arange(self._bits, dtype=np.int64)
        weights[-1] = -weights[-1]
        return bits @ weights


def build_core(config: ArrayConfig, cache: Path = CACHE) -> Path:
    """Compile the core of ``config``; the same Verilog and harness are compiled once.

    Raises:
        InputError: Verilator, a C++ compiler or make is missing.
        RuntimeError: the compilation failed.
    """
    return compile_program(core_verilog(config), CORE_NAME, _HARNESS, cache=cache)
